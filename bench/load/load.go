// Package load answers: how does a proxy take what wrk cannot ask of it? It uploads over persistent
// connections (Upload) and holds many idle ones (Hold). It knows nothing of the proxies compared.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Result is what a load saw.
type Result struct {
	Requests int           // answered, with whatever status
	Failed   int           // connections refused, cut or timed out, and answers other than 2xx and 3xx
	Elapsed  time.Duration // from the first request to the last answer
	P50, P99 time.Duration // the half and the 99 % of the answers came within
}

// patience bounds every single request.
const patience = 10 * time.Second

// Upload sends POSTs of size bytes to the path at addr (HOST:PORT) for d, over conns connections, each
// one request after the other. It returns an error if a connection cannot be opened or ctx ends; what
// fails later is counted, and its connection opened anew.
func Upload(ctx context.Context, addr, path string, conns, size int, d time.Duration) (Result, error) {
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", path, size)
	request = append(request, bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]...)

	var clients []*client
	defer func() {
		for _, c := range clients {
			c.conn.Close()
		}
	}()
	for range conns {
		c, err := dial(ctx, addr)
		if err != nil {
			return Result{}, err
		}
		clients = append(clients, c)
	}

	start := time.Now()
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() { c.repeat(ctx, addr, request, start.Add(d)) })
	}
	wg.Wait()
	sum := Result{Elapsed: time.Since(start)}
	var took []time.Duration
	for _, c := range clients {
		took = append(took, c.took...)
		sum.Failed += c.failed
	}
	sum.Requests = len(took)
	if len(took) > 0 {
		slices.Sort(took)
		sum.P50, sum.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return sum, ctx.Err()
}

// client is one connection and what it has seen.
type client struct {
	conn   net.Conn
	in     *bufio.Reader
	took   []time.Duration
	failed int
}

func dial(ctx context.Context, addr string) (*client, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open a connection of the load: %w", err)
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 1024)}, nil
}

func (c *client) repeat(ctx context.Context, addr string, request []byte, end time.Time) {
	for ctx.Err() == nil && time.Now().Before(end) {
		start := time.Now()
		status, closes, err := c.exchange(request)
		if err == nil {
			c.took = append(c.took, time.Since(start))
		}
		if err != nil || status >= 400 {
			c.failed++
		}
		if err == nil && !closes {
			continue
		}
		c.conn.Close()
		fresh, err := dial(ctx, addr)
		if err != nil {
			c.failed++
			return
		}
		c.conn, c.in = fresh.conn, fresh.in
	}
}

// exchange sends the request, reads the whole answer and says whether the connection ends with it.
func (c *client) exchange(request []byte) (status int, closes bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, true, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, true, err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, true, err
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0, true, err
	}
	return answer.StatusCode, answer.Close, nil
}

// Hold opens n connections to addr, does one GET of the path on each, and leaves them open and idle
// until release is called.
func Hold(ctx context.Context, addr, path string, n int) (release func(), err error) {
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path)
	const workers = 16
	conns := make([]net.Conn, n)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				conns[i], errs[w] = askOnce(ctx, addr, request)
			}
		})
	}
	wg.Wait()
	release = func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		release()
		return nil, fmt.Errorf("hold %d connections: %w", n, err)
	}
	return release, nil
}

func askOnce(ctx context.Context, addr string, request []byte) (net.Conn, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	status, closes, err := c.exchange(request)
	if err == nil && (status != http.StatusOK || closes) {
		err = fmt.Errorf("status %d, connection closes: %t", status, closes)
	}
	if err == nil {
		err = c.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return c.conn, nil
}
