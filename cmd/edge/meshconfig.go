package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/mesh"
)

// meshConfig turns a mesh section into a node's settings: the one place where key files are read. All that is wrong is told where it
// was written.
func meshConfig(m *configs.Mesh) (mesh.Config, configs.Errors) {
	var errs configs.Errors
	fail := func(at configs.Pos, what string, err error) {
		errs = append(errs, &configs.Error{Pos: at, Msg: fmt.Sprintf("mesh: %s: %v", what, err), Err: err})
	}
	cfg := mesh.Config{Address: m.Address, ListenPort: m.Listen, MTU: m.MTU}
	errs = append(errs, unreadableKeys(m)...)
	var err error
	cfg.PrivateKey, _ = mesh.LoadKey(m.PrivateKeyFile.S)
	for _, p := range m.Peers {
		peer := mesh.Peer{Name: p.Name, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs, Keepalive: p.Keepalive}
		if peer.PublicKey, err = mesh.ParseKey(p.PublicKey); err != nil {
			fail(p.Pos, fmt.Sprintf("peer %q: public_key", p.Name), err)
		}
		if p.PresharedKeyFile.S != "" {
			peer.PresharedKey, _ = mesh.LoadKey(p.PresharedKeyFile.S)
		}
		cfg.Peers = append(cfg.Peers, peer)
	}
	if len(errs) > 0 {
		return cfg, errs
	}
	if err := cfg.Validate(); err != nil {
		for line := range strings.Lines(err.Error()) {
			errs = append(errs, &configs.Error{Pos: m.Pos, Msg: "mesh: " + strings.TrimSpace(line)})
		}
	}
	return cfg, errs
}

// unreadableKeys tells which of the key files that a mesh section names cannot be read.
func unreadableKeys(m *configs.Mesh) (errs configs.Errors) {
	read := func(file configs.Text, what string) {
		if file.S == "" {
			return // none is wanted, or its absence has been told
		}
		_, err := mesh.LoadKey(file.S)
		if errors.Is(err, fs.ErrNotExist) && file == m.PrivateKeyFile {
			err = fmt.Errorf("%w: edge mesh keygen %s makes one", err, file.S)
		}
		if err != nil {
			errs = append(errs, &configs.Error{Pos: file.Pos, Msg: fmt.Sprintf("mesh: %s: %v", what, err), Err: err})
		}
	}
	read(m.PrivateKeyFile, "private_key_file")
	for _, p := range m.Peers {
		read(p.PresharedKeyFile, fmt.Sprintf("peer %q: preshared_key_file", p.Name))
	}
	return errs
}
