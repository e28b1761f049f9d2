package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/approovia/edge/mesh"
	"github.com/approovia/edge/services/service"
)

// vm is a machine of the demonstration: a member of the mesh with its own keys, and services that listen on its mesh address only.
type vm struct {
	Name    string
	Address netip.Addr
	Public  mesh.Key
	node    *mesh.Node
	ports   []net.Listener // in the mesh
	offers  []string       // services by name, one for each port
}

// newVM makes a machine whose only peer is the edge, which has to call first. services are names by port.
func newVM(name, address string, edge mesh.Key, services map[string]string) (*vm, error) {
	key, err := mesh.NewPrivateKey()
	if err != nil {
		return nil, err
	}
	v := &vm{Name: name, Address: netip.MustParseAddr(address), Public: key.Public()}
	v.node, err = mesh.New(mesh.Config{
		PrivateKey: key,
		Address:    netip.PrefixFrom(v.Address, 24),
		Peers:      []mesh.Peer{{Name: "edge", PublicKey: edge, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/32")}}},
	})
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	for _, port := range slices.Sorted(maps.Keys(services)) {
		l, err := v.node.Listen("tcp", ":"+port)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make %s: %w", name, err), v.node.Close())
		}
		v.ports = append(v.ports, l)
		v.offers = append(v.offers, services[port])
	}
	return v, nil
}

// Endpoint is where its WireGuard is found.
func (v *vm) Endpoint() string { return fmt.Sprintf("127.0.0.1:%d", v.node.Status().ListenPort) }

// Run serves until ctx ends.
func (v *vm) Run(ctx context.Context) error {
	carried := make(chan error, 1)
	go func() { carried <- v.node.Run(context.WithoutCancel(ctx)) }() // the services stop first, then the tunnel
	served := make(chan error, len(v.ports))
	for i, l := range v.ports {
		go func() { served <- service.Run(ctx, l, service.Handler(v.offers[i], v.Name, "demo")) }()
	}
	var errs []error
	for range v.ports {
		errs = append(errs, <-served)
	}
	errs = append(errs, v.node.Close(), <-carried)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", v.Name, err)
	}
	return nil
}

// Close ends a machine, run or not.
func (v *vm) Close() { _ = v.node.Close() } // there is nothing to lose in it
