package mesh

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestPeerChangesMentionOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	literal := func(p Peer) (netip.AddrPort, bool) { return literalEndpoint(p.Endpoint) }
	b := Peer{Name: "b", PublicKey: Key{1}, Endpoint: "127.0.0.1:1", AllowedIPs: []netip.Prefix{prefix("10.0.0.2/32")}}
	c := Peer{Name: "c", PublicKey: Key{2}, AllowedIPs: []netip.Prefix{prefix("10.0.0.3/32")}, Keepalive: 25 * time.Second}
	named := c
	named.Endpoint = "vm3.example.net:1"
	edit := func(p Peer, f func(*Peer)) Peer { f(&p); return p }
	hexB, hexC := "public_key="+b.PublicKey.hex()+"\n", "public_key="+c.PublicKey.hex()+"\n"

	for _, x := range []struct {
		what      string
		old, next []Peer
		want      string
	}{
		{"nothing", []Peer{b, c}, []Peer{b, c}, ""},
		{"another order", []Peer{b, c}, []Peer{c, b}, ""},
		{"another name", []Peer{b}, []Peer{edit(b, func(p *Peer) { p.Name = "x" })}, ""},
		{"all new", nil, []Peer{b, c}, hexB + "allowed_ip=10.0.0.2/32\nendpoint=127.0.0.1:1\n" + hexC + "allowed_ip=10.0.0.3/32\npersistent_keepalive_interval=25\n"},
		{"gone", []Peer{b, c}, []Peer{c}, hexB + "remove=true\n"},
		{"new with a host name", nil, []Peer{named}, hexC + "allowed_ip=10.0.0.3/32\n"},
		{"keepalive with a host name that is not known yet", []Peer{edit(named, func(p *Peer) { p.Keepalive = 0 })}, []Peer{named}, ""},
		{"endpoint to a host name", []Peer{c}, []Peer{named}, ""},
		{"endpoint", []Peer{b}, []Peer{edit(b, func(p *Peer) { p.Endpoint = "[::1]:2" })}, hexB + "endpoint=[::1]:2\n"},
		{"keepalive off", []Peer{c}, []Peer{edit(c, func(p *Peer) { p.Keepalive = 0 })}, hexC + "persistent_keepalive_interval=0\n"},
		{"preshared key off", []Peer{edit(c, func(p *Peer) { p.PresharedKey = Key{9} })}, []Peer{c}, hexC + "preshared_key=" + strings.Repeat("0", 64) + "\n"},
		{"an address passes on", []Peer{b, c},
			[]Peer{edit(b, func(p *Peer) { p.AllowedIPs = c.AllowedIPs }), edit(c, func(p *Peer) { p.AllowedIPs = b.AllowedIPs })},
			hexB + "update_only=true\nallowed_ip=-10.0.0.2/32\n" + hexC + "update_only=true\nallowed_ip=-10.0.0.3/32\n" +
				hexB + "allowed_ip=10.0.0.3/32\n" + hexC + "allowed_ip=10.0.0.2/32\n"},
	} {
		if got := peerChanges(x.old, x.next, literal); got != x.want {
			t.Errorf("%s:\n got %q\nwant %q", x.what, got, x.want)
		}
	}
}

const stateSample = `private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a
listen_port=12912
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52
protocol_version=1
endpoint=[abcd:23::33%2]:51820
last_handshake_time_sec=1500000000
last_handshake_time_nsec=500
tx_bytes=38333
rx_bytes=2224
persistent_keepalive_interval=111
allowed_ip=192.168.4.4/32
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
tx_bytes=1212111
rx_bytes=1929999999
last_handshake_time_sec=0
last_handshake_time_nsec=0
`

func TestParseStateReadsWhatWireGuardAnswers(t *testing.T) {
	t.Parallel()
	state, err := parseState(stateSample)
	if err != nil {
		t.Fatal(err)
	}
	if state.listenPort != 12912 || len(state.peers) != 2 {
		t.Fatalf("port %d, %d peers", state.listenPort, len(state.peers))
	}
	for key, p := range state.peers {
		want := peerState{rx: 1929999999, tx: 1212111}
		if strings.HasPrefix(key.hex(), "b859") {
			want = peerState{netip.MustParseAddrPort("[abcd:23::33%2]:51820"), time.Unix(1500000000, 500), 2224, 38333}
		}
		if p != want {
			t.Errorf("peer %s: %+v, want %+v", key.hex()[:4], p, want)
		}
	}
}

func TestParseStateRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"listen_port", "listen_port=x", "listen_port=65536", "public_key=00", "public_key=zz",
		"public_key=" + strings.Repeat("0", 64) + "\nendpoint=nowhere",
		"public_key=" + strings.Repeat("0", 64) + "\nrx_bytes=-1",
	} {
		if _, err := parseState(text); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: error %v, want one with a line number", text, err)
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add(stateSample)
	f.Add("listen_port=1\n\nlisten_port=2\n")
	f.Add("public_key=\n")
	f.Fuzz(func(t *testing.T, text string) {
		state, err := parseState(text)
		if err != nil {
			return
		}
		if state.listenPort < 0 || state.listenPort > 65535 {
			t.Fatalf("port %d", state.listenPort)
		}
		if n := strings.Count(text, "public_key="); len(state.peers) > n {
			t.Fatalf("%d peers of %d", len(state.peers), n)
		}
	})
}

func FuzzSplitEndpoint(f *testing.F) {
	f.Add("vm2.example.net:51820")
	f.Add("[fe80::1%eth0]:51820")
	f.Add("a\nb:1")
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := splitEndpoint(s)
		if err != nil {
			return
		}
		if host == "" || port == 0 || strings.ContainsAny(host, "\n\r= \x00") {
			t.Fatalf("%q gave host %q port %d", s, host, port)
		}
		if at, ok := literalEndpoint(s); ok && strings.ContainsAny(at.String(), "\n\r") {
			t.Fatalf("%q gave %q", s, at)
		}
	})
}
