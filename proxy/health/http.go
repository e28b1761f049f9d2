package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/message"
)

// HTTPOptions is the request of an HTTP check and what its answer must be.
type HTTPOptions struct {
	Method    string              // "" = OPTIONS, as in HAProxy
	Path      string              // with query; "" = "/"
	Host      string              // "" = the address
	UserAgent string              // "" = the field is not sent
	Expect    func(code int) bool // nil = 200 to 399
}

// maxInterim is how many 1xx answers a check reads before the real one.
const maxInterim = 8

type httpCheck struct {
	dial Dial
	addr func() string
	o    HTTPOptions
	bad  error
}

// NewHTTP checks that the address answers one HTTP/1.1 request with an expected status. The head of the answer is held to the same
// strictness and limits as that of any answer (package http1); the content is not read. The connection is closed after it.
//
// Options that cannot be sent as they are (a space in the path, a line break) make a check that always fails and says so.
func NewHTTP(dial Dial, addr func() string, o HTTPOptions) Check {
	if o.Method == "" {
		o.Method = "OPTIONS"
	}
	if o.Path == "" {
		o.Path = "/"
	}
	if o.Expect == nil {
		o.Expect = func(code int) bool { return 200 <= code && code <= 399 }
	}
	return &httpCheck{dial, addr, o, o.validate()}
}

// validate refuses what would make another request of ours, or two.
func (o *HTTPOptions) validate() error {
	for _, part := range []struct{ name, value, refused string }{
		{"method", o.Method, " "},
		{"path", o.Path, " "},
		{"host", o.Host, " "},
		{"user agent", o.UserAgent, ""},
	} {
		if strings.ContainsFunc(part.value, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.ContainsAny(part.value, part.refused) {
			return fmt.Errorf("the check's %s cannot be sent: %q", part.name, part.value)
		}
	}
	return nil
}

func (c *httpCheck) Run(ctx context.Context) Result {
	if c.bad != nil {
		return Result{Status: L7RSP, Why: c.bad.Error()}
	}
	addr := c.addr()
	conn, fail := connect(ctx, c.dial, addr)
	if conn == nil {
		return fail
	}
	defer conn.Close()
	// The end of ctx, whatever it comes from, ends the reads and writes.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if _, err := io.WriteString(conn, c.request(addr)); err != nil && expired(ctx, err) {
		return Result{Status: L7TOUT, Why: "the request could not be sent in time"}
	}
	// A server may answer and close before it has read the request: after a failed write the answer still counts.
	code, err := c.answer(conn)
	switch {
	case err == nil && c.o.Expect(code):
		return Result{OK: true, Status: L7OK, Code: code}
	case err == nil:
		return Result{Status: L7STS, Code: code, Why: fmt.Sprintf("status %d", code)}
	case expired(ctx, err):
		return Result{Status: L7TOUT, Why: "no complete answer in time"}
	case handshake(err):
		return Result{Status: L6RSP, Why: err.Error()}
	}
	return Result{Status: L7RSP, Code: code, Why: err.Error()}
}

func (c *httpCheck) request(addr string) string {
	host := c.o.Host
	if host == "" && !strings.HasPrefix(addr, "/") {
		host = addr
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", c.o.Method, c.o.Path, host)
	if c.o.UserAgent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", c.o.UserAgent)
	}
	b.WriteString("Accept: */*\r\nConnection: close\r\n\r\n")
	return b.String()
}

// answer reads heads until that of the final answer, and returns its status.
func (c *httpCheck) answer(conn net.Conn) (int, error) {
	var (
		buf    = make([]byte, http1.MaxHead)
		n      int
		parser http1.ResponseParser
		res    message.Response
	)
	for interim := 0; ; {
		used, bad := parser.Parse(buf[:n], &res, c.o.Method == "HEAD")
		switch {
		case bad != nil:
			return 0, fmt.Errorf("read the answer: %w", bad)
		case used == 0 && n == len(buf):
			return 0, errors.New("read the answer: the head is too large")
		case used == 0:
			m, err := conn.Read(buf[n:])
			n += m
			switch {
			case m == 0 && err == io.EOF && n == 0:
				return 0, errors.New("the connection was closed without an answer")
			case m == 0 && err == io.EOF:
				return 0, errors.New("the connection was closed within the head of the answer")
			case m == 0 && err != nil:
				return 0, fmt.Errorf("read the answer: %w", err)
			}
		case res.Status >= 200 || res.Status == 101:
			return res.Status, nil
		case interim == maxInterim:
			return 0, fmt.Errorf("more than %d interim answers", maxInterim)
		default:
			interim++
			n = copy(buf, buf[used:n])
			parser = http1.ResponseParser{}
			res.Reset()
		}
	}
}

// handshake says whether an error comes from TLS.
func handshake(err error) bool {
	var (
		record tls.RecordHeaderError
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
	)
	return errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &alert)
}
