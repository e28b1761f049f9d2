package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/mesh"
)

// section is a mesh section as the document would give it.
func section(t *testing.T, dir, text string) *configs.Mesh {
	t.Helper()
	file := put(t, "mesh: {private_key_file: mesh.key, "+text+"}\n"+plainConfig, dir, "edge.yaml")
	cfg, err := configs.Load(file)
	must(t, err)
	return cfg.Mesh
}

const peers = `, peers: {vm2: {public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", endpoint: "127.0.0.1:9", allowed_ips: [10.0.0.12/32], keepalive: 25s}}`

// keyed is a directory with a key, and tunnels that end with the test.
func keyed(t *testing.T) (dir string, m *tunnels) {
	t.Helper()
	dir = t.TempDir()
	key, err := mesh.NewPrivateKey()
	must(t, err, writeKey(filepath.Join(dir, "mesh.key"), key))
	m = &tunnels{log: slog.New(slog.DiscardHandler)}
	t.Cleanup(m.Close)
	return dir, m
}

// put in force what has been staged.
func stage(t *testing.T, m *tunnels, s *configs.Mesh) {
	t.Helper()
	commit, _, err := m.Stage(s)
	must(t, err)
	commit()
}

func TestAMeshComesChangesAndGoes(t *testing.T) {
	t.Parallel()
	dir, m := keyed(t)
	vm2, vm3 := netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("10.0.0.13")
	owns := func(step string, two, three bool) {
		t.Helper()
		if m.Owns(vm2) != two || m.Owns(vm3) != three {
			t.Errorf("%s: vm2 %t, vm3 %t", step, m.Owns(vm2), m.Owns(vm3))
		}
	}
	none := func(step string) {
		t.Helper()
		owns(step, false, false)
		if r := m.Report(); r != nil {
			t.Errorf("%s: %+v", step, r)
		}
		if _, err := m.Begin(netip.AddrPortFrom(vm2, 80)); !errors.Is(err, errNoMesh) {
			t.Errorf("%s: begin: %v", step, err)
		}
		if _, err := m.Dial(context.Background(), "tcp", "10.0.0.12:80"); !errors.Is(err, errNoMesh) {
			t.Errorf("%s: dial: %v", step, err)
		}
	}

	stage(t, m, nil)
	none("without a section")

	_, discard, err := m.Stage(section(t, dir, "address: 10.0.0.11/24"+peers))
	must(t, err)
	none("before the commit")
	discard()
	none("discarded")

	stage(t, m, section(t, dir, "address: 10.0.0.11/24"+peers))
	owns("first section", true, false)
	r := m.Report()
	if r == nil || r.Address != "10.0.0.11/24" || r.ListenPort == 0 || len(r.Peers) != 1 || r.Peers[0].Name != "vm2" || r.Peers[0].Keepalive.Float() != 25 {
		t.Fatalf("report: %+v", r)
	}
	node := m.node.Load().Node

	more := section(t, dir, `address: 10.0.0.11/24, peers: {vm3: {public_key: "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=", allowed_ips: [10.0.0.13/32]}}`)
	commit, discard, err := m.Stage(more)
	must(t, err)
	discard()
	owns("a discarded change", true, false)
	commit()
	owns("another peer", false, true)
	if m.node.Load().Node != node {
		t.Error("the node was replaced: every tunnel lost its session")
	}

	stage(t, m, nil)
	none("taken away")
	stage(t, m, more)
	owns("brought back", false, true)
	m.Close()
	none("closed")
}

func TestWhatANodeKeepsForLifeIsRefused(t *testing.T) {
	t.Parallel()
	dir, m := keyed(t)
	stage(t, m, section(t, dir, "address: 10.0.0.11/24"))
	for change, want := range map[string]string{
		"address: 10.0.0.14/24":               "address 10.0.0.14/24: it was 10.0.0.11/24",
		"address: 10.0.0.11/24, listen: 4711": "listen 4711: it was 0",
		"address: 10.0.0.11/24, mtu: 1300":    "mtu 1300: it was 1420",
	} {
		_, _, err := m.Stage(section(t, dir, change))
		if errs := places(err); len(errs) != 1 || !strings.Contains(errs[0].Error(), "edge.yaml:1:7: mesh: "+want+" when edge started: restart edge to change it") {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestAUDPPortInUseIsToldWithItsPlace(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp", ":0")
	must(t, err)
	defer taken.Close()
	dir, m := keyed(t)
	port := taken.LocalAddr().(*net.UDPAddr).Port
	_, _, err = m.Stage(section(t, dir, fmt.Sprintf("address: 10.0.0.11/24, listen: %d", port)))
	if errs := places(err); len(errs) != 1 || !strings.Contains(errs[0].Error(), fmt.Sprintf("edge.yaml:1:7: mesh: listen %d: ", port)) || !strings.Contains(errs[0].Error(), "in use") {
		t.Errorf("%v", err)
	}
}

func TestPresharedKeysAreReadFromTheirFiles(t *testing.T) {
	t.Parallel()
	dir, m := keyed(t)
	text := strings.Replace("address: 10.0.0.11/24"+peers, "keepalive", "preshared_key_file: shared.key, keepalive", 1)
	_, _, err := m.Stage(section(t, dir, text))
	if errs := places(err); len(errs) != 1 || !strings.Contains(errs[0].Msg, `mesh: peer "vm2": preshared_key_file: `) || errs[0].Pos.Col < 100 {
		t.Errorf("missing: %v", err)
	}
	key, err := mesh.NewPrivateKey()
	must(t, err, writeKey(filepath.Join(dir, "shared.key"), key))
	cfg, errs := meshConfig(section(t, dir, text))
	if len(errs) > 0 || cfg.Peers[0].PresharedKey != key || cfg.Peers[0].Keepalive != 25*time.Second {
		t.Errorf("%v: %v", cfg, errs)
	}
}
