package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/approovia/edge/mesh"
	"github.com/approovia/edge/proxy/control"
	"github.com/spf13/cobra"
)

// How long the demonstration takes at most, to begin and to end.
const (
	demoReady = 4 * time.Second
	demoDrain = 500 * time.Millisecond
)

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole system on this machine, to try",
		Long: "Run the whole system on this machine: an edge, and behind it two VMs, vm2 and vm3, which it reaches through WireGuard\n" +
			"alone. Everything is in this process and needs no root; the UDP packets between the three are real. Its files, edge.yaml\n" +
			"among them, are in a temporary directory and go when it ends. Ctrl-C ends it.",
		Example: "  edge demo\n  edge demo --once                     # call every route, print what came back, end\n  edge demo --listen 127.0.0.1:9000",
		Args:    cobra.NoArgs,
	}
	listen := c.Flags().String("listen", "127.0.0.1:8080", "`ADDRESS` of the edge; if its port is taken, another one is used")
	once := c.Flags().Bool("once", false, "call every route, print what came back, and end: with status 0 if all was right")
	asJSON := c.Flags().Bool("json", false, "with --once: print JSON")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if *asJSON && !*once {
			return usageError{errors.New("--json goes with --once")}
		}
		if _, _, err := net.SplitHostPort(*listen); err != nil {
			return usageError{fmt.Errorf("listen: %w", err)}
		}
		d, err := newDemo(*listen, c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		if d.busy != "" {
			fmt.Fprintf(c.ErrOrStderr(), "%s is taken; using %s instead\n", d.busy, d.address())
		}
		var show func(outcome) error
		switch {
		case *once && *asJSON:
			show = func(o outcome) error { return printJSON(c.OutOrStdout(), o) }
		case *once:
			show = func(o outcome) error { return o.print(c.OutOrStdout()) }
		}
		return d.Run(c.Context(), c.OutOrStdout(), show)
	}
	return c
}

// demo is an edge and the machines behind it.
type demo struct {
	dir  string // of all its files
	vms  []*vm
	edge *daemon
	busy string // the address that was wished for, if it was taken
}

// demoConfig is the edge's configuration: nothing in it is particular to a demonstration but its ports and short intervals.
var demoConfig = template.Must(template.New("edge.yaml").Parse(`# The configuration of edge demo. Change it and save: it is reloaded at once.
global:
  admin: unix:admin.sock
  metrics: 127.0.0.1:0
  state_dir: state
  log: {access: {format: json, to: ./access.log}, level: warn}

mesh:
  private_key_file: mesh.key
  address: 10.0.0.11/24
  peers:
{{- range .VMs}}
    {{.Name}}: {public_key: "{{.Public}}", endpoint: "{{.Endpoint}}", allowed_ips: [{{.Address}}/32], keepalive: 25s}
{{- end}}

frontends:
  web:
    bind: [{address: "{{.Listen}}"}]
    acls:
      office: src 10.0.0.0/8
      admin: path_dir /service-a/admin
    request:
      - deny deny_status 403 if admin !office
    routes:
      - {path: /service-a, backend: service-a}
      - {path: /service-b, backend: service-b, strip_prefix: true}

backends:
  service-a:
    balance: roundrobin
    health: {http: GET /healthz, interval: 1s, fast: 100ms, rise: 2, fall: 3, timeout: 1s}
    servers:
      vm2: 10.0.0.12:8001
      vm3: 10.0.0.13:8001
  service-b:
    health: {http: GET /healthz, interval: 1s, fast: 100ms, rise: 2, fall: 3, timeout: 1s}
    servers:
      vm3: 10.0.0.13:8002
`))

// newDemo builds all of it.
func newDemo(listen string, stderr io.Writer) (*demo, error) {
	dir, err := os.MkdirTemp("", "edge-demo-")
	if err != nil {
		return nil, fmt.Errorf("make the demo's directory: %w", err)
	}
	d := &demo{dir: dir}
	if err := d.build(listen, stderr); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// build makes keys, machines, the configuration and the edge. After an error, Close frees what was made before it.
func (d *demo) build(listen string, stderr io.Writer) error {
	key, err := mesh.NewPrivateKey()
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(d.dir, "mesh.key"), key); err != nil {
		return err
	}
	for _, m := range []struct {
		name, address string
		services      map[string]string
	}{
		{"vm2", "10.0.0.12", map[string]string{"8001": "A"}},
		{"vm3", "10.0.0.13", map[string]string{"8001": "A", "8002": "B"}},
	} {
		v, err := newVM(m.name, m.address, key.Public(), m.services)
		if err != nil {
			return err
		}
		d.vms = append(d.vms, v)
	}
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	start := func(listen string) error {
		if err := d.configure(listen); err != nil {
			return err
		}
		d.edge, err = newDaemon(d.config(), settings{Drain: demoDrain, Log: log, Level: level})
		return err
	}
	err = start(listen)
	if host, _, _ := net.SplitHostPort(listen); errors.Is(err, syscall.EADDRINUSE) {
		d.busy = listen
		err = start(net.JoinHostPort(host, "0"))
	}
	return err
}

func (d *demo) config() string { return filepath.Join(d.dir, "edge.yaml") }

// configure writes edge.yaml.
func (d *demo) configure(listen string) error {
	var text strings.Builder
	if err := demoConfig.Execute(&text, struct {
		Listen string
		VMs    []*vm
	}{listen, d.vms}); err != nil {
		return fmt.Errorf("write edge.yaml: %w", err)
	}
	if err := os.WriteFile(d.config(), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write edge.yaml: %w", err)
	}
	return nil
}

// Run brings the edge and the machines up. Then it calls every route once and shows what came back, or, with nothing to show it by, tells
// what there is to see and waits for the signal to stop.
func (d *demo) Run(ctx context.Context, stdout io.Writer, show func(outcome) error) error {
	machines, stop := context.WithCancel(context.WithoutCancel(ctx)) // they end after the edge
	running := make(chan error, len(d.vms))
	for _, v := range d.vms {
		go func() { running <- v.Run(machines) }()
	}
	edge, stopEdge := context.WithCancel(ctx)
	defer stopEdge()
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = untilSignal(edge, d.edge)
	}()

	healthy, err := d.healthy(ctx, ended)
	switch {
	case show != nil && healthy:
		var out outcome
		out, err = d.callAll(ctx)
		err = errors.Join(err, show(out))
	case show != nil && err == nil:
		err = errors.New("stopped before its servers were healthy")
	case healthy:
		d.introduce(stdout)
		<-ended
	}
	stopEdge()
	<-ended
	err = errors.Join(err, failed)
	stop()
	for range d.vms {
		err = errors.Join(err, <-running)
	}
	return err
}

// Close removes what is left on the disk, and ends machines that never ran.
func (d *demo) Close() error {
	for _, v := range d.vms {
		v.Close()
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove the demo's directory: %w", err)
	}
	return nil
}

// healthy waits until every server has passed its checks: true, or the edge has ended.
func (d *demo) healthy(ctx context.Context, ended <-chan struct{}) (bool, error) {
	limit := time.After(demoReady)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		down, err := d.down(context.WithoutCancel(ctx)) // an edge that ends says so itself
		if err != nil || down == "" {
			return err == nil, err
		}
		select {
		case <-ended:
			return false, nil
		case <-limit:
			return false, fmt.Errorf("after %s a server is not healthy yet: %s", demoReady, down)
		case <-look.C:
		}
	}
}

// down names a server that has not passed its checks, "" if there is none.
func (d *demo) down(ctx context.Context) (string, error) {
	if !d.edge.Ready() {
		return "the edge does not serve yet", nil
	}
	r, err := d.edge.Report(ctx)
	if err != nil {
		return "", err
	}
	for _, b := range r.Backends {
		for _, s := range b.Servers {
			if s.Status != control.StatusUp || s.Check == nil || !s.Check.OK {
				return fmt.Sprintf("%s/%s: %s, %+v", b.Name, s.Name, s.Status, s.Check), nil
			}
		}
	}
	return "", nil
}

// address is where the edge listens.
func (d *demo) address() string {
	_, address, _ := strings.Cut(d.edge.Addrs()[0], "=")
	return address
}

// introduce tells what there is to see.
func (d *demo) introduce(w io.Writer) {
	web := "http://" + d.address()
	fmt.Fprintf(w, "An edge and two machines behind it, reached through WireGuard:\n\n")
	t := table(w)
	fmt.Fprintf(t, "  edge\t10.0.0.11\t%s\n", web)
	for _, v := range d.vms {
		fmt.Fprintf(t, "  %s\t%s\tWireGuard on UDP %s\t%s\n", v.Name, v.Address, v.Endpoint(), "service-"+strings.ToLower(strings.Join(v.offers, ", service-")))
	}
	_ = t.Flush() // as with the lines around it: nobody is there to be told
	fmt.Fprintf(w, "\nTry:\n")
	for _, try := range [][2]string{
		{"curl -i " + web + "/service-a", "Hello from A, from vm2 and vm3 in turn (X-Node)"},
		{"curl -i " + web + "/service-b", "Hello from B, from vm3"},
		{"curl -i " + web + "/service-a/admin", "403: for 10.0.0.0/8 only"},
		{"curl -s http://" + d.edge.metrics.Addr().String() + "/metrics", "and /healthz, /readyz"},
		{"edge status --admin unix:" + d.edge.admin.Addr().String(), "and edge server list, edge mesh status, edge reload"},
	} {
		fmt.Fprintf(t, "  %s\t# %s\n", try[0], try[1])
	}
	_ = t.Flush()
	fmt.Fprintf(w, "\nConfiguration: %s (change it: it is reloaded at once)\nAccess log: %s\n\nCtrl-C ends it.\n",
		d.config(), filepath.Join(d.dir, "access.log"))
}
