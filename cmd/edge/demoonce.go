package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
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
	node   string
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

// callAll calls every route, and those that are denied, prints what came back and how the tunnels are, and fails if anything is not as
// it should be.
func (d *demo) callAll(ctx context.Context, w io.Writer) error {
	web, ops := "http://"+d.address(), "http://"+d.edge.metrics.Addr().String()
	a, b := []string{"vm2", "vm3"}, []string{"vm3"}
	calls := []call{
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
	if d.busy != "" {
		fmt.Fprintf(w, "%s is taken; using %s instead.\n\n", d.busy, d.address())
	}
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	var errs []error
	answered := map[string]bool{}
	t := table(w)
	fmt.Fprintf(t, "REQUEST\tSTATUS\tBODY\tNODE\n")
	for _, c := range calls {
		got, err := fetch(ctx, client, c.url+c.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if wrong := c.wrong(got); wrong != "" {
			errs = append(errs, fmt.Errorf("GET %s: %s", c.path, wrong))
		}
		if c.url == web && c.status == 200 && c.body == "Hello from A" {
			answered[got.node] = true
		}
		node := got.node
		if node == "" {
			node = "-"
		}
		fmt.Fprintf(t, "GET %s\t%d\t%s\t%s\n", c.path, got.status, got.body, node)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the answers: %w", err)
	}
	for _, node := range a {
		if !answered[node] {
			errs = append(errs, fmt.Errorf("service-a: %s has not answered any of the requests", node))
		}
	}
	fmt.Fprintln(w)
	tunnels := d.edge.Mesh()
	if tunnels == nil {
		return errors.Join(append(errs, errNoMesh)...)
	}
	for _, p := range tunnels.Peers {
		if p.LastHandshake.IsZero() {
			errs = append(errs, fmt.Errorf("%s: there has been no handshake", p.Name))
		}
	}
	return errors.Join(append(errs, printPeers(w, tunnels, time.Now()))...)
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
