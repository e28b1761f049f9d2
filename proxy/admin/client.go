package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/approovia/edge/proxy/control"
)

// maxAnswer bounds what a client reads of one answer, or of one event, in bytes.
const maxAnswer = 64 << 20

// Client speaks with a running edge. Its methods may be called from any goroutine; how long they may take is their context's business.
// Their errors wrap control.ErrNotFound, ErrConflict, ErrInvalid or ErrBusy where the edge said so, and ErrNotRunning.
type Client struct {
	addr string
	http *http.Client
}

// ErrNotRunning says that nobody answers on the socket.
var ErrNotRunning = errors.New("edge is not running")

// Dial makes a client for the edge behind "unix:/path". It connects when it is first used.
func Dial(addr string) (*Client, error) {
	name, err := socketPath(addr)
	if err != nil {
		return nil, err
	}
	return &Client{addr, &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", name)
			},
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the state on one screen.
func (c *Client) Status(ctx context.Context) (s control.Status, err error) {
	return s, c.call(ctx, "GET", "/v1/status", nil, &s)
}

// Report is the whole state.
func (c *Client) Report(ctx context.Context) (*control.Report, error) {
	r := &control.Report{}
	return r, c.call(ctx, "GET", "/v1/report", nil, r)
}

// Reload asks for the configuration to be read again. A configuration that is refused is a result that is not OK, and no error.
func (c *Client) Reload(ctx context.Context) (r control.ReloadResult, err error) {
	return r, c.call(ctx, "POST", "/v1/reload", nil, &r)
}

// Server is one server and the generation to expect when changing it.
func (c *Client) Server(ctx context.Context, backend, server string) (s Server, err error) {
	return s, c.call(ctx, "GET", serverPath(backend, server), nil, &s)
}

// ChangeServer changes a server, if the generation is still the expected one (nil: whatever it is), and returns how it is now.
func (c *Client) ChangeServer(ctx context.Context, backend, server string, change control.Change, expect *uint64) (s Server, err error) {
	body := struct {
		control.Change
		Generation *uint64 `json:"generation,omitempty"`
	}{change, expect}
	return s, c.call(ctx, "PUT", serverPath(backend, server), body, &s)
}

// Inflight counts what a server is working on.
func (c *Client) Inflight(ctx context.Context, backend, server string) (n control.Inflight, err error) {
	return n, c.call(ctx, "GET", "/v1/servers/"+url.PathEscape(backend)+"/"+url.PathEscape(server)+"/inflight", nil, &n)
}

// Config is the configuration in force.
func (c *Client) Config(ctx context.Context) (f Config, err error) {
	return f, c.call(ctx, "GET", "/v1/config", nil, &f)
}

// Mesh is the state of the tunnels; control.ErrNotFound if there is no mesh.
func (c *Client) Mesh(ctx context.Context) (m control.MeshReport, err error) {
	return m, c.call(ctx, "GET", "/v1/mesh", nil, &m)
}

func serverPath(backend, server string) string {
	return "/v1/backends/" + url.PathEscape(backend) + "/servers/" + url.PathEscape(server)
}

// call sends one request and reads the answer into out.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	res, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode != http.StatusOK && (res.StatusCode != http.StatusUnprocessableEntity || path != "/v1/reload") {
		return refusal(method, path, res, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: not an edge's answer: %w", method, path, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://edge"+path, &text)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nobody answers on %s", ErrNotRunning, c.addr)
	case err != nil:
		return nil, fmt.Errorf("ask the edge on %s: %w", c.addr, err)
	}
	return res, nil
}

// refusal turns an answer back into the error it was made of.
func refusal(method, path string, res *http.Response, text []byte) error {
	var p problem
	if json.Unmarshal(text, &p) != nil || p.Error == "" {
		return fmt.Errorf("%s %s: unexpected answer %s", method, path, res.Status)
	}
	for _, s := range statuses {
		if res.StatusCode == s.status {
			return &control.Error{Kind: s.kind, Text: p.Error, Generation: p.Generation}
		}
	}
	return errors.New(p.Error)
}

// Events tells of what happens from the moment the loop over it begins, until ctx is done, the loop is left, or the stream
// breaks off: that is the one pair with an error, and the last.
func (c *Client) Events(ctx context.Context) iter.Seq2[control.Event, error] {
	return func(yield func(control.Event, error) bool) {
		err := c.events(ctx, func(e control.Event) bool { return yield(e, nil) })
		if err != nil && ctx.Err() == nil {
			yield(control.Event{}, err)
		}
	}
}

// events calls f for each event until f is false (no error) or the stream ends.
func (c *Client) events(ctx context.Context, f func(control.Event) bool) error {
	const path = "/v1/events"
	res, err := c.send(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
		if err != nil {
			return fmt.Errorf("GET %s: %w", path, err)
		}
		return refusal("GET", path, res, text)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue // comments; id and event are in the data as well
		}
		var e control.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("GET %s: not an edge's event: %w", path, err)
		}
		if !f(e) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return fmt.Errorf("GET %s: the edge has ended the stream", path)
}
