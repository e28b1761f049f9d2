package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/approovia/edge/proxy/control"
)

// call is a request of the demonstration and what has to come back.
type call struct {
	url, path string
	status    int
	body      string   // begins so
	nodes     []string // one of these answers; none: the edge itself
}

// answer is what came back.
type answer struct {
	status int
	body   string // its first line
	node   string // the field X-Node, "" if there is none
}

// outcome is what a demonstration has to show.
type outcome struct {
	Calls   []called            `json:"calls"`
	Tunnels *control.MeshReport `json:"tunnels"`
}

type called struct {
	Request string `json:"request"`
	Status  int    `json:"status"`
	Body    string `json:"body"`
	Node    string `json:"node,omitempty"`
}

// wrong says what an answer is not as it should be, "" if it is.
func (c call) wrong(a answer) string {
	switch {
	case a.status != c.status:
		return fmt.Sprintf("status %d was expected", c.status)
	case !strings.HasPrefix(a.body, c.body):
		return fmt.Sprintf("%q was expected", c.body)
	case len(c.nodes) == 0 && a.node != "", len(c.nodes) > 0 && !slices.Contains(c.nodes, a.node):
		return fmt.Sprintf("an answer of %q was expected", strings.Join(c.nodes, " or "))
	}
	return ""
}

// calls are every route, and what is denied.
func (d *demo) calls() []call {
	web, ops := "http://"+d.address(), "http://"+d.edge.metrics.Addr().String()
	a, b := []string{"vm2", "vm3"}, []string{"vm3"}
	return []call{
		{web, "/service-a", 200, "Hello from A", a},
		{web, "/service-a", 200, "Hello from A", a},
		{web, "/service-a/any/page", 200, "Hello from A", a},
		{web, "/service-a?x=1", 200, "Hello from A", a},
		{web, "/service-b", 200, "Hello from B", b},
		{web, "/service-b", 200, "Hello from B", b},
		{web, "/service-b/version", 200, "demo", b}, // the service sees /version
		{web, "/service-a/admin", 403, "", nil},
		{web, "/service-a/admin/users", 403, "", nil},
		{ops, "/readyz", 200, "ok", nil},
	}
}

// callAll makes the calls. The error tells everything that is not as it should be.
func (d *demo) callAll(ctx context.Context) (outcome, error) {
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	var (
		out  outcome
		errs []error
	)
	answered := map[string]bool{} // by whom
	for _, c := range d.calls() {
		got, err := fetch(ctx, client, c.url+c.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if wrong := c.wrong(got); wrong != "" {
			errs = append(errs, fmt.Errorf("GET %s: %s", c.path, wrong))
		}
		answered[got.body+" from "+got.node] = true
		out.Calls = append(out.Calls, called{"GET " + c.path, got.status, got.body, got.node})
	}
	for _, node := range []string{"vm2", "vm3"} {
		if !answered["Hello from A from "+node] {
			errs = append(errs, fmt.Errorf("service-a: %s has not answered any request", node))
		}
	}
	if out.Tunnels = d.edge.Mesh(); out.Tunnels == nil {
		return out, errors.Join(append(errs, errNoMesh)...)
	}
	for _, p := range out.Tunnels.Peers {
		if p.LastHandshake.IsZero() {
			errs = append(errs, fmt.Errorf("%s: there has been no handshake", p.Name))
		}
	}
	return out, errors.Join(errs...)
}

// print writes an outcome for people.
func (o outcome) print(w io.Writer) error {
	t := table(w)
	fmt.Fprintf(t, "REQUEST\tSTATUS\tBODY\tNODE\n")
	for _, c := range o.Calls {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", c.Request, c.Status, c.Body, cmp.Or(c.Node, "-"))
	}
	if err := t.Flush(); err != nil || o.Tunnels == nil {
		return err
	}
	fmt.Fprintln(w)
	return printPeers(w, o.Tunnels, time.Now())
}

// fetch gets a page.
func fetch(ctx context.Context, client *http.Client, url string) (answer, error) {
	const most = 64 << 10
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, fmt.Errorf("GET %s: %w", url, err)
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err // it has the method and the address
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return answer{}, fmt.Errorf("GET %s: %w", url, err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return answer{res.StatusCode, first, res.Header.Get("X-Node")}, nil
}
