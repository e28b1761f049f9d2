package blackbox

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a server that reads requests as a lenient one would, notes what came and answers each with 200. What the proxy lets
// pass by mistake should show here as the request that it would be elsewhere.
type recorder struct {
	net.Listener
	mu    sync.Mutex
	talks []*talk
	list  []*arrival // in the order their heads came
}

// talk is one connection. mu of the recorder guards it.
type talk struct {
	busy  bool // within a request
	ended bool
}

// arrival is one request as it came.
type arrival struct {
	top      []byte // the head, without its last line end
	body     []byte
	trailer  []byte
	complete bool
}

func (a *arrival) line() string {
	line, _, _ := bytes.Cut(a.top, []byte("\r\n"))
	return string(line)
}

func (a *arrival) String() string {
	return fmt.Sprintf("%.600q body %.200q trailer %q complete %v", a.top, a.body, a.trailer, a.complete)
}

func newRecorder(t testing.TB) *recorder {
	r := &recorder{Listener: listen(t)}
	go func() {
		for {
			c, err := r.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

// arrivals returns all requests so far but the first n.
func (r *recorder) arrivals(n int) (list []*arrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.list[n:] {
		b := *a
		list = append(list, &b)
	}
	return list
}

// quiet says whether no connection is within a request.
func (r *recorder) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.talks {
		if t.busy && !t.ended {
			return false
		}
	}
	return true
}

var lengthField = regexp.MustCompile(`(?i)\r\ncontent-length:[ \t]*(\d+)`)
var codingField = regexp.MustCompile(`(?i)\r\ntransfer-encoding:[^\r]*chunked`)

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	t := &talk{}
	do := func(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }
	do(func() { r.talks = append(r.talks, t) })
	defer do(func() { t.ended = true })

	var buf []byte
	more := func() bool {
		p := make([]byte, 64<<10)
		n, err := c.Read(p)
		buf = append(buf, p[:n]...)
		if n > 0 {
			do(func() { t.busy = true })
		}
		return n > 0 || err == nil
	}
	take := func(n int) (part []byte, ok bool) {
		for len(buf) < n {
			if !more() {
				part, buf = buf, nil
				return part, false
			}
		}
		part, buf = buf[:n], buf[n:]
		return part, true
	}
	until := func(end string) (part []byte, ok bool) {
		for {
			if i := bytes.Index(buf, []byte(end)); i >= 0 {
				part, buf = buf[:i], buf[i+len(end):]
				return part, true
			}
			if !more() {
				return nil, false
			}
		}
	}
	for {
		top, ok := until("\r\n\r\n")
		if !ok {
			return
		}
		a := &arrival{top: top}
		do(func() { r.list = append(r.list, a) })
		if regexp.MustCompile(`(?i)\r\nexpect:[ \t]*100-continue`).Match(top) {
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		var body, trailer []byte
		if m := lengthField.FindSubmatch(top); codingField.Match(top) {
			for {
				line, ok := until("\r\n")
				if !ok {
					return
				}
				size, _, _ := strings.Cut(string(line), ";")
				n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
				if err != nil {
					return
				}
				if n == 0 {
					buf = append([]byte("\r\n"), buf...)
					if trailer, ok = until("\r\n\r\n"); !ok {
						return
					}
					break
				}
				data, ok := take(int(n) + 2)
				if !ok {
					return
				}
				body = append(body, data[:n]...)
				do(func() { a.body = bytes.Clone(body) })
			}
		} else if m != nil {
			n, err := strconv.Atoi(string(m[1]))
			if err != nil || n > 1<<28 {
				return
			}
			if body, ok = take(n); !ok {
				do(func() { a.body = body })
				return
			}
		}
		left := len(buf)
		do(func() { a.body, a.trailer, a.complete, t.busy = bytes.Clone(body), trailer, true, left > 0 })
		text := "ok"
		if bytes.HasPrefix(top, []byte("HEAD ")) {
			text = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nX-Answers: %s\r\n\r\n%s", strings.TrimSuffix(a.line(), " HTTP/1.1"), text)
	}
}

// The client's side, and what all tests share.

// long is how long a test waits for what must happen; it only ever passes when something is broken.
const long = 20 * time.Second

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(long); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// client is a connection to the proxy.
type client struct {
	t testing.TB
	*net.TCPConn
	got    []byte // not yet taken
	closed bool   // the stream has ended,
	reset  bool   // and not in good order
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	return dialFrom(t, "127.0.0.1", addr)
}

// dialFrom connects from an address of this machine.
func dialFrom(t testing.TB, from, addr string) *client {
	t.Helper()
	d := net.Dialer{Timeout: long, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t: t, TCPConn: c.(*net.TCPConn)}
}

func (c *client) send(s string) {
	c.t.Helper()
	_ = c.SetWriteDeadline(time.Now().Add(long))
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// more reads what there is until the deadline.
func (c *client) more(until time.Time) bool {
	_ = c.SetReadDeadline(until)
	p := make([]byte, 64<<10)
	n, err := c.Read(p)
	c.got = append(c.got, p[:n]...)
	if e, ok := err.(net.Error); err != nil && !(ok && e.Timeout()) {
		c.closed, c.reset = true, err != io.EOF
	}
	return err == nil
}

// answer takes the next answer that is to come; toHead says that it answers a HEAD request. If the stream ends before that, what there
// is of it is not complete.
func (c *client) answer(toHead bool) answer {
	c.t.Helper()
	for until := time.Now().Add(long); ; {
		a, rest, err := parseAnswer(c.got, toHead, c.closed && !c.reset)
		switch {
		case err == nil && (a.complete || c.closed):
			c.got = rest
			return a
		case err != nil && err != errCut:
			c.t.Fatalf("no valid answer: %v: %.300q", err, c.got)
		case c.reset:
			return answer{}
		case c.closed:
			c.t.Fatalf("the connection was closed without an answer: %.300q", c.got)
		}
		if !c.more(until) && !c.closed {
			c.t.Fatalf("no whole answer: %.300q", c.got)
		}
	}
}

// end reads to the end of the stream and returns what else came.
func (c *client) end() string {
	c.t.Helper()
	for until := time.Now().Add(long); !c.closed; {
		if !c.more(until) && !c.closed {
			c.t.Fatalf("the connection was not closed; got %.300q", c.got)
		}
	}
	return string(c.got)
}

// ask sends one request on a new connection and returns its answer.
func ask(t testing.TB, addr, request string) answer {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	c.send(request)
	return c.answer(strings.HasPrefix(request, "HEAD "))
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: example.com\r\n\r\n" }

// deadline is when to give up what begins now.
func deadline() time.Time { return time.Now().Add(long) }

// soon is a moment from now, for reads that are to find out whether something is there.
func soon() time.Time { return time.Now().Add(20 * time.Millisecond) }

// await takes what a server has to tell.
func await[T any](t testing.TB, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(long + long/2): // what the server waits for itself comes first
		t.Fatal("the server never got that far")
	}
	return v
}
