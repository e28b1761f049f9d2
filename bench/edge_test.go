package main

import (
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/mesh"
)

func TestEdgeAcceptsItsConfigurationWithEveryRouteAndTheTunnel(t *testing.T) {
	t.Parallel()
	private, err := mesh.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, logs := range []bool{false, true} {
		j := job{dir: t.TempDir(), addr: "127.0.0.1:1", stats: "127.0.0.1:2", logs: logs, routes: 25}
		j.tunnel = &tunnel{private: private, peerPublic: private.Public(), endpoint: "127.0.0.1:3", listen: "4"}
		j.servers = j.tunnel.servers()
		p := edgeProgram(j, binaries{edge: "edge"})
		conf := p.argv[len(p.argv)-1]
		doc, err := configs.Parse(conf, []byte(p.files[conf]), configs.Options{})
		if err != nil || len(doc.Warnings) > 0 {
			t.Fatalf("%v, warnings %v, of\n%s", err, doc.Warnings, p.files[conf])
		}
		if n := len(doc.Frontends[0].Routes); n != 1+25 {
			t.Errorf("%d routes, want /api and 25", n)
		}
		for _, b := range doc.Backends {
			if len(b.Servers) != 2 || b.Servers[0].Address != meshS1 || b.Servers[1].Address != meshS2 || b.Health == nil {
				t.Errorf("backend %s has servers %v, checked by %v", b.Name, b.Servers, b.Health)
			}
		}
		if doc.Mesh.Listen != 4 || p.files[doc.Mesh.PrivateKeyFile.S] != private.String()+"\n" {
			t.Errorf("the tunnel is %+v", doc.Mesh)
		}
		if access := doc.Global.Log.Access; access.Off == logs || logs && access.To != j.logFile() {
			t.Errorf("the access log is %+v, wanted: %v", access, logs)
		}
	}
}

func TestThePeerCarriesRequestsThroughTheTunnelToTheOrigin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := options{proxies: []string{"edge-mesh"}, bin: binaries{edge: os.Args[0], nginx: "nginx"}}
	bin, err := findBinaries(t.Context(), o, scenarios, dir)
	if err != nil {
		t.Fatal(err)
	}
	origin, err := startSink()
	if err != nil {
		t.Fatal(err)
	}
	defer origin.stop()
	way, peer, err := dig(t.Context(), bin.meshpeer, filepath.Join(dir, "peer"), origin.servers())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := peer.stop(); err != nil {
			t.Error(err)
		}
	}()
	node, err := mesh.New(mesh.Config{
		PrivateKey: way.private,
		Address:    netip.MustParsePrefix(meshEdge + "/24"),
		Peers: []mesh.Peer{{
			Name: "origin", PublicKey: way.peerPublic, Endpoint: way.endpoint,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix(meshPeer + "/32")},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	go node.Run(t.Context()) // ends with the test; what it fails at shows below

	client := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: node.Dial}}
	for _, server := range way.servers() {
		answer, err := client.Post("http://"+server+pathUpload, "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", server, answer.Status)
		}
	}
	if n := origin.count.Load(); n != 2 {
		t.Errorf("%d uploads reached the origin, want 2", n)
	}
}
