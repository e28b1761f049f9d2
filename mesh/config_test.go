package mesh

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestValidateNamesEveryFault(t *testing.T) {
	t.Parallel()
	own, k1, k2 := newKey(t), newKey(t).Public(), newKey(t).Public()
	prefixes := func(s ...string) (out []netip.Prefix) {
		for _, p := range s {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	peer := func(name string, k Key, ips ...string) Peer {
		return Peer{Name: name, PublicKey: k, AllowedIPs: prefixes(ips...)}
	}
	for _, c := range []struct {
		what string
		edit func(*Config)
		want []string // each in the error; none: valid
	}{
		{"as it is", func(c *Config) {}, nil},
		{"no peers", func(c *Config) { c.Peers = nil }, nil},
		{"hub that holds us", func(c *Config) { c.Peers = []Peer{peer("hub", k1, "10.0.0.0/24")} }, nil},
		{"unmasked prefix", func(c *Config) { c.Peers = []Peer{peer("b", k1, "10.0.1.7/24")} }, nil},
		{"no private key", func(c *Config) { c.PrivateKey = Key{} }, []string{"private key: missing"}},
		{"no address", func(c *Config) { c.Address = netip.Prefix{} }, []string{"address: missing"}},
		{"address of nobody", func(c *Config) { c.Address = netip.MustParsePrefix("0.0.0.0/24") }, []string{"0.0.0.0/24"}},
		{"loopback address", func(c *Config) { c.Address = netip.MustParsePrefix("::1/128") }, []string{"::1/128"}},
		{"port", func(c *Config) { c.ListenPort = 65536 }, []string{"listen port 65536"}},
		{"mtu", func(c *Config) { c.MTU = 500 }, []string{"mtu 500", "576-65455"}},
		{"mtu too large", func(c *Config) { c.MTU = 65456 }, []string{"mtu 65456"}},
		{"mtu of IPv6", func(c *Config) { c.Address = netip.MustParsePrefix("fd00::1/64"); c.MTU = 1279 }, []string{"mtu 1279", "1280-65455"}},
		{"nameless", func(c *Config) { c.Peers[1].Name = "" }, []string{"peer number 2", "no name"}},
		{"same name", func(c *Config) { c.Peers[1].Name = "b" }, []string{`peer "b"`, "two peers"}},
		{"no key", func(c *Config) { c.Peers[0].PublicKey = Key{} }, []string{`peer "b"`, "public key missing"}},
		{"same key", func(c *Config) { c.Peers[1].PublicKey = k1 }, []string{`peer "c"`, `peer "b"`, "same public key"}},
		{"own key", func(c *Config) { c.Peers[1].PublicKey = own.Public() }, []string{`peer "c"`, "this node's own", "10.0.0.1/24"}},
		{"endpoint", func(c *Config) { c.Peers[0].Endpoint = "vm2.example.net" }, []string{`peer "b"`, "host:port"}},
		{"endpoint port", func(c *Config) { c.Peers[0].Endpoint = "vm2:0" }, []string{`peer "b"`, `"0"`}},
		{"endpoint host", func(c *Config) { c.Peers[0].Endpoint = "vm2\nremove=true:1" }, []string{`peer "b"`, "no host name"}},
		{"keepalive", func(c *Config) { c.Peers[0].Keepalive = 1500 * time.Millisecond }, []string{`peer "b"`, "1.5s"}},
		{"keepalive too long", func(c *Config) { c.Peers[0].Keepalive = 65536 * time.Second }, []string{`peer "b"`, "65535s"}},
		{"no ips", func(c *Config) { c.Peers[0].AllowedIPs = nil }, []string{`peer "b"`, "no allowed ips"}},
		{"all ips", func(c *Config) { c.Peers[0].AllowedIPs = prefixes("::/0") }, []string{`peer "b"`, "::/0", "every address"}},
		{"own ip", func(c *Config) { c.Peers[0].AllowedIPs = prefixes("10.0.0.1/32") }, []string{`peer "b"`, "own address"}},
		{"same ip", func(c *Config) { c.Peers[1].AllowedIPs = prefixes("10.0.0.2/32") }, []string{"overlap", `"b"`, `"c"`, "10.0.0.2/32"}},
		{"ip within", func(c *Config) { c.Peers[1].AllowedIPs = prefixes("9.0.0.0/8", "10.0.0.0/16") }, []string{"overlap", "10.0.0.2/32", `"b"`, "10.0.0.0/16", `"c"`}},
		{"twice its own", func(c *Config) { c.Peers[0].AllowedIPs = prefixes("10.0.0.2/32", "10.0.0.2/31") }, []string{`peer "b"`, "overlap"}},
		{"several", func(c *Config) { c.MTU = 1; c.ListenPort = -1; c.Peers[0].Name = "c" }, []string{"mtu 1", "listen port -1", "two peers"}},
	} {
		cfg := Config{PrivateKey: own, Address: netip.MustParsePrefix("10.0.0.1/24"),
			Peers: []Peer{peer("b", k1, "10.0.0.2/32"), peer("c", k2, "10.0.0.3/32", "fd00::3/128")}}
		c.edit(&cfg)
		err := cfg.Validate()
		if len(c.want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: accepted", c.what)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", c.what, err, want)
			}
		}
	}
}

func TestOneWidePrefixIsComparedWithAllItHolds(t *testing.T) {
	t.Parallel()
	peers := []Peer{
		{Name: "wide", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Name: "x", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		{Name: "y", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}},
		{Name: "z", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("11.0.0.0/16")}},
	}
	if errs := overlaps(peers); len(errs) != 2 {
		t.Fatalf("%d overlaps, want 2: %v", len(errs), errs)
	}
}
