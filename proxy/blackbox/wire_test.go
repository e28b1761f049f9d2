package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What must hold of every message that leaves the proxy, read as strictly as RFC 9112 can be read. Everything here works on the bytes
// and shares nothing with the program.

// head is a start line and its fields, in order.
type head struct {
	line   string
	fields []field
}

type field struct{ name, value string }

func (h head) all(name string) (values []string) {
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

func (h head) get(name string) string { return strings.Join(h.all(name), ", ") }

func (h head) has(name string) bool { return h.all(name) != nil }

// lists says whether a field that is a list has this member.
func (h head) lists(name, member string) bool {
	for _, m := range strings.Split(h.get(name), ",") {
		if strings.EqualFold(strings.TrimSpace(m), member) {
			return true
		}
	}
	return false
}

const tokenChars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isToken(s string) bool { return s != "" && strings.Trim(s, tokenChars) == "" }

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// parseHead reads a head without the empty line that ends it.
func parseHead(b []byte) (h head, err error) {
	if i := bytes.IndexFunc(b, func(r rune) bool { return r < ' ' && r != '\r' && r != '\n' && r != '\t' || r == 0x7f }); i >= 0 {
		return h, fmt.Errorf("control character %#x in the head", b[i])
	}
	lines := strings.Split(string(b), "\r\n")
	h.line = lines[0]
	for _, l := range lines {
		if strings.ContainsAny(l, "\r\n") {
			return h, fmt.Errorf("bare CR or LF in %q", l)
		}
	}
	for _, l := range lines[1:] {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !isToken(name) {
			return h, fmt.Errorf("field line %q", l)
		}
		h.fields = append(h.fields, field{name, strings.Trim(value, " \t")})
	}
	if n := len(h.all("Transfer-Encoding")); n > 1 || n == 1 && !strings.EqualFold(h.get("Transfer-Encoding"), "chunked") {
		return h, fmt.Errorf("Transfer-Encoding %q", h.all("Transfer-Encoding"))
	}
	if n := len(h.all("Content-Length")); n > 1 || n == 1 && !isDigits(h.get("Content-Length")) {
		return h, fmt.Errorf("Content-Length %q", h.all("Content-Length"))
	}
	if h.has("Transfer-Encoding") && h.has("Content-Length") {
		return h, errors.New("both Transfer-Encoding and Content-Length")
	}
	return h, nil
}

// parseRequestHead holds a request to what a server may expect of the last proxy before it.
func parseRequestHead(b []byte) (h head, err error) {
	if h, err = parseHead(b); err != nil {
		return h, err
	}
	part := strings.Split(h.line, " ")
	if len(part) != 3 || !isToken(part[0]) || part[2] != "HTTP/1.1" && part[2] != "HTTP/1.0" {
		return h, fmt.Errorf("request line %q", h.line)
	}
	if t := part[1]; t != "*" && (t == "" || t[0] != '/' || strings.Contains(t, "#")) || strings.ContainsFunc(part[1], func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return h, fmt.Errorf("request target %q", t)
	}
	// The value may be empty: a client of HTTP/1.0 need not name a host (RFC 9112 section 3.2).
	if n := len(h.all("Host")); n > 1 || part[2] == "HTTP/1.1" && n == 0 {
		return h, fmt.Errorf("Host %q", h.all("Host"))
	}
	if part[2] == "HTTP/1.0" && h.has("Transfer-Encoding") {
		return h, errors.New("Transfer-Encoding in HTTP/1.0")
	}
	return h, nil
}

// chunks reads a chunked body at the beginning of b; rest is nil if it is not complete.
func chunks(b []byte) (body []byte, trailer head, rest []byte, err error) {
	for {
		line, after, ok := bytes.Cut(b, []byte("\r\n"))
		if !ok {
			return body, trailer, nil, nil
		}
		if len(line) > 16 || strings.Trim(string(line), "0123456789abcdefABCDEF") != "" {
			return body, trailer, nil, fmt.Errorf("chunk size %q", line)
		}
		n, err := strconv.ParseUint(string(line), 16, 63)
		if err != nil {
			return body, trailer, nil, fmt.Errorf("chunk size %q", line)
		}
		if b = after; n == 0 {
			break
		}
		if uint64(len(b)) < n+2 {
			return append(body, b[:min(uint64(len(b)), n)]...), trailer, nil, nil
		}
		if string(b[n:n+2]) != "\r\n" {
			return body, trailer, nil, fmt.Errorf("chunk ends with %q", b[n:n+2])
		}
		body, b = append(body, b[:n]...), b[n+2:]
	}
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return body, trailer, b[2:], nil
	}
	section, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return body, trailer, nil, nil
	}
	trailer, err = parseHead(append([]byte("trailer\r\n"), section...))
	return body, trailer, rest, err
}

// answer is a final response as the client got it.
type answer struct {
	head
	status   int
	interim  []int // the 1xx responses before it
	body     []byte
	trailer  head
	complete bool // it came whole; one that ends with its connection did if that closed
}

// errCut is an answer whose head is not all here.
var errCut = errors.New("cut within the head of an answer")

// parseAnswer reads one answer, with the interim ones before it. closed says that the stream has ended. The rest is what follows it.
func parseAnswer(b []byte, toHead, closed bool) (a answer, rest []byte, err error) {
	for {
		top, after, ok := bytes.Cut(b, []byte("\r\n\r\n"))
		if !ok {
			return a, b, errCut
		}
		if a.head, err = parseHead(top); err != nil {
			return a, b, err
		}
		if l := a.line; len(l) < 13 || l[:9] != "HTTP/1.1 " && l[:9] != "HTTP/1.0 " || !isDigits(l[9:12]) || l[12] != ' ' || l[9] < '1' || l[9] > '5' {
			return a, b, fmt.Errorf("status line %.100q", l)
		}
		a.status, _ = strconv.Atoi(a.line[9:12])
		b = after
		if a.status >= 200 {
			break
		}
		if a.has("Content-Length") || a.has("Transfer-Encoding") {
			return a, b, fmt.Errorf("framing in a %d", a.status)
		}
		if a.status == 101 {
			a.complete = true
			return a, b, nil
		}
		a.interim = append(a.interim, a.status)
	}
	switch {
	case toHead, a.status == 204, a.status == 304:
		a.complete = true
		return a, b, nil
	case a.has("Transfer-Encoding"):
		a.body, a.trailer, rest, err = chunks(b)
		a.complete = rest != nil && err == nil
		return a, rest, err
	case a.has("Content-Length"):
		n, err := strconv.ParseUint(a.get("Content-Length"), 10, 63)
		if err != nil {
			return a, nil, err
		}
		a.complete = n <= uint64(len(b))
		n = min(n, uint64(len(b)))
		a.body = b[:n]
		return a, b[n:], nil
	}
	a.body, a.complete = b, closed
	return a, nil, nil
}

// parseAnswers reads all that a client got. toHead says of the nth answer that its request was HEAD.
func parseAnswers(b []byte, toHead func(n int) bool, closed bool) (list []answer, err error) {
	for len(b) > 0 {
		var a answer
		if a, b, err = parseAnswer(b, toHead(len(list)), closed); err != nil {
			return list, fmt.Errorf("%w: %.200q", err, b)
		}
		if list = append(list, a); !a.complete {
			break
		}
	}
	return list, nil
}
