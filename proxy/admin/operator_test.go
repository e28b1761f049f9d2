package admin

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/approovia/edge/proxy/control"
)

// operator is a small proxy in memory: two backends, a generation, and nothing behind it.
type operator struct {
	feed       control.Feed
	subscribed chan struct{} // gets a word for each call of Events

	mu      sync.Mutex
	report  control.Report
	reload  control.ReloadResult // the next reload's verdict
	err     error                // the next call's failure
	reloads int
	noMesh  bool
}

func newOperator() *operator {
	return &operator{
		subscribed: make(chan struct{}, 8),
		reload:     control.ReloadResult{OK: true},
		report: control.Report{
			Version: "test", PID: 7, Started: time.Unix(1700000000, 0).UTC(), Uptime: control.Seconds(90 * time.Second), Generation: 5,
			ConfigFile: "edge.yaml",
			Frontends:  []control.Frontend{{Name: "web", Binds: []string{":80"}, Connections: 2, Requests: 10}},
			Backends: []control.Backend{
				{Name: "service-a", Servers: []control.Server{
					{Name: "vm2", Address: "10.0.0.12:8001", Status: control.StatusUp, Operator: control.Ready, Weight: 1, Inflight: 3},
					{Name: "vm3", Address: "10.0.0.13:8001", Status: control.StatusDown, Operator: control.Ready, Weight: 1,
						Check: &control.Check{Status: "L4CON", Took: control.Seconds(1500 * time.Microsecond), Why: "refused"}},
				}},
				{Name: "odd/name", Servers: []control.Server{{Name: "a b%?#", Status: control.StatusUp}}},
			},
		},
	}
}

func (o *operator) Report(ctx context.Context) (*control.Report, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil, o.err
	}
	r := o.report
	r.Backends = nil
	for _, b := range o.report.Backends {
		b.Servers = append([]control.Server(nil), b.Servers...)
		r.Backends = append(r.Backends, b)
	}
	return &r, ctx.Err()
}

func (o *operator) Reload(context.Context) (control.ReloadResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return control.ReloadResult{}, o.err
	}
	o.reloads++
	if o.reload.OK {
		o.report.Generation++
	}
	r := o.reload
	r.Generation = o.report.Generation
	o.feed.Publish(control.Event{Kind: control.ReloadEvent, Reload: &r, Text: "configuration loaded"})
	return r, nil
}

func (o *operator) ChangeServer(_ context.Context, backend, server string, c control.Change, expect *uint64) (uint64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, err := o.report.Server(backend, server)
	if err != nil {
		return 0, err
	}
	if expect != nil && *expect != o.report.Generation {
		return 0, control.Conflict(*expect, o.report.Generation)
	}
	if c.State != nil {
		s.Operator = *c.State
		s.Status = map[control.OperatorState]control.ServerStatus{
			control.Ready: control.StatusUp, control.Drain: control.StatusDrain, control.Maint: control.StatusMaint}[*c.State]
	}
	if c.Weight != nil {
		s.Weight = *c.Weight
	}
	if c.Address != nil {
		s.Address = *c.Address
	}
	if c.Maxconn != nil {
		s.Maxconn = *c.Maxconn
	}
	s.Changed = true
	o.report.Generation++
	o.feed.Publish(control.Event{Kind: control.ServerEvent, Backend: backend, Server: server, Status: s.Status, Text: "by the operator"})
	return o.report.Generation, nil
}

func (o *operator) Inflight(_ context.Context, backend, server string) (control.Inflight, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, err := o.report.Server(backend, server)
	if err != nil {
		return control.Inflight{}, err
	}
	return control.Inflight{HTTP: s.Inflight, Tunnels: 1}, nil
}

func (o *operator) Config() (string, []byte) { return "edge.yaml", []byte("frontends: {}\n") }

func (o *operator) Mesh() *control.MeshReport {
	if o.noMesh {
		return nil
	}
	return &control.MeshReport{Address: "10.0.0.11/24", ListenPort: 51820, Peers: []control.Peer{{Name: "vm2", AllowedIPs: []string{"10.0.0.12/32"}}}}
}

func (o *operator) Events(ctx context.Context) <-chan control.Event {
	defer func() { o.subscribed <- struct{}{} }()
	return o.feed.Subscribe(ctx)
}

func (o *operator) generation() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.report.Generation
}

var errBroken = errors.New("the proxy is broken")
