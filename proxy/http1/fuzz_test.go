package http1_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/message"
)

// The standard library is the oracle: what we accept and write anew, it must read as we did. Where it accepts the raw bytes as well, both must have
// seen the same message.

func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		typicalRequest,
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"\r\nPOST /a;b/%61/../c?d HTTP/1.1\r\nHost: H.:80\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
		"POST http://h/x?y HTTP/1.0\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: [::1]:8\r\nTransfer-Encoding: chunked\r\nConnection: te, a\r\nTE: trailers\r\nA: b\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 1\r\nA.B: c\r\n\r\n",
		"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"GET /? HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, n, err := parseRequest(string(raw))
		slow, n2, err2 := parseRequestBytewise(string(raw))
		if (err == nil) != (err2 == nil) || err == nil && (n != n2 || n > 0 && (tell(r) != tell(slow) || tellFields(&r.Header) != tellFields(&slow.Header))) {
			t.Fatalf("%q\nwhole:        %d %v %s\nbyte by byte: %d %v %s", raw, n, err, tell(r), n2, err2, tell(slow))
		}
		if err != nil || n == 0 {
			return
		}
		out := append(http1.AppendRequest(nil, r), "\r\n"...)
		std, serr := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if serr != nil {
			t.Fatalf("%q\nwritten as %q: %v", raw, out, serr)
		}
		target := string(r.Path)
		if r.HasQuery {
			target += "?" + string(r.Query)
		}
		if std.Method != string(r.MethodToken) || std.RequestURI != target || !message.EqualFold(std.Host, r.Authority) || tellStd(std.ContentLength, std.TransferEncoding) != tellStdBody(r.Body) || std.Proto != "HTTP/1.1" {
			t.Errorf("%q\nread as    %s\nwritten as %q\nread as    %s %s host=%s %s", raw, tell(r), out, std.Method, std.RequestURI, std.Host, tellStd(std.ContentLength, std.TransferEncoding))
		}
		for name := range std.Header {
			switch id := message.Identify([]byte(name)); id {
			case message.Connection, message.Upgrade:
				if r.Upgrade == nil {
					t.Errorf("%q: %s in %q", raw, name, out)
				}
			case message.KeepAlive, message.ProxyConnection, message.TE, message.Trailer, message.HTTP2Settings, message.ProxyAuthorization, message.ProxyAuthenticate, message.Proxy:
				t.Errorf("%q: %s in %q", raw, name, out)
			}
		}
		// Once more through our own parser, nothing changes.
		if again, _, err := parseRequest(string(out)); err != nil || string(http1.AppendRequest(nil, again))+"\r\n" != string(out) {
			if !(err != nil && len(r.Authority) == 0) && len(out) <= http1.MaxHead { // a request of 1.0 may come without a host
				t.Errorf("%q\nwritten as %q, which is %v %s", raw, out, err, tell(again))
			}
		}
		// The raw bytes as another parser sees them.
		std, serr = http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimLeft(raw, "\r\n"))))
		if serr == nil && (std.Method != string(r.MethodToken) || tellStd(std.ContentLength, std.TransferEncoding) != tellStdBody(r.Body)) {
			t.Errorf("%q\nread as %s\nand by net/http as %s %s", raw, tell(r), std.Method, tellStd(std.ContentLength, std.TransferEncoding))
		}
	})
}

func tellStd(length int64, coding []string) string {
	return fmt.Sprintf("%d %s", length, strings.Join(coding, ","))
}

// tellStdBody says how net/http tells of a request's framing.
func tellStdBody(b message.Body) string {
	switch b.Kind {
	case message.Sized:
		return tellStd(b.Length, nil)
	case message.Chunked:
		return tellStd(-1, []string{"chunked"})
	}
	return tellStd(0, nil)
}

func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		typicalResponse,
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.0 404 \r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nConnection: a\r\nA: b\r\nTrailer: c\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, toHead bool) {
		r, n, err := parseResponse(string(raw), toHead)
		slow, n2, err2 := parseResponseBytewise(string(raw), toHead)
		if (err == nil) != (err2 == nil) || err == nil && (n != n2 || n > 0 && (tellResponse(r) != tellResponse(slow) || tellFields(&r.Header) != tellFields(&slow.Header))) {
			t.Fatalf("%q\nwhole:        %d %v %s\nbyte by byte: %d %v %s", raw, n, err, tellResponse(r), n2, err2, tellResponse(slow))
		}
		if err != nil || n == 0 {
			return
		}
		out := http1.AppendResponse(nil, r, r.Body.Kind, r.Close, false)
		head := len(out)
		content := "0123456789"
		switch r.Body.Kind {
		case message.NoBody:
			content = ""
		case message.Sized:
			content = content[:min(r.Body.Length, 10)]
		}
		if r.Body.Kind == message.Chunked {
			out = http1.AppendLastChunk(http1.AppendChunk(out, []byte(content)), &message.Header{})
		} else {
			out = append(out, content...)
		}
		method := "GET"
		if toHead {
			method = "HEAD"
		}
		std, serr := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), &http.Request{Method: method})
		if serr != nil {
			t.Fatalf("%q\nwritten as %q: %v", raw, out, serr)
		}
		got, gerr := io.ReadAll(std.Body)
		missing := r.Body.Kind == message.Sized && r.Body.Length > 10
		if std.StatusCode != r.Status || string(got) != content || (gerr != nil) != missing || r.Body.Kind == message.Sized && std.ContentLength != r.Body.Length ||
			(r.Body.Kind == message.Chunked) != (len(std.TransferEncoding) == 1) || r.Close && !std.Close {
			t.Errorf("%q\nread as    %s\nwritten as %q\nread as    %s %d %v, %q, %v", raw, tellResponse(r), out[:head], std.Status, std.ContentLength, std.TransferEncoding, got, gerr)
		}
		for name := range std.Header {
			switch message.Identify([]byte(name)) {
			case message.Connection:
				if !r.Close {
					t.Errorf("%q: %s in %q", raw, name, out)
				}
			case message.Upgrade, message.KeepAlive, message.ProxyConnection, message.TE, message.Trailer, message.HTTP2Settings, message.ProxyAuthorization, message.ProxyAuthenticate, message.Proxy:
				t.Errorf("%q: %s in %q", raw, name, out)
			}
		}
		std, serr = http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: method})
		if serr == nil && (std.StatusCode != r.Status || r.Body.Kind == message.Sized && std.ContentLength != r.Body.Length || (r.Body.Kind == message.Chunked) != (len(std.TransferEncoding) == 1 && r.Body.Kind != message.NoBody)) {
			t.Errorf("%q\nread as %s\nand by net/http as %s %d %v", raw, tellResponse(r), std.Status, std.ContentLength, std.TransferEncoding)
		}
	})
}

// FuzzChunks decodes a body whole and in pieces, cut where the bytes of cuts say, and with net/http.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{
		"0\r\n\r\n",
		"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
		"1;a=\"b;\\\"\"; c=d\r\nx\r\n0A\r\n0123456789\r\n000;e\r\nA: b\r\nC_D:\te \r\n\r\n",
		"2\r\n\r\n\r\n0\r\n\r\n",
		"7fffffffffffffff\r\nabc",
		"1\r\nx\r\n0\r\nContent-Length: 5\r\nTrailer: x\r\n\r\n",
	} {
		f.Add([]byte(s), []byte{1, 2, 3})
		f.Add([]byte(s), []byte{7})
	}
	f.Fuzz(func(t *testing.T, raw, cuts []byte) {
		if len(raw) > 4000 {
			return // net/http reads no longer lines
		}
		whole := decode(t, string(raw))
		var pieces []string
		for left, i := string(raw), 0; len(left) > 0; i++ {
			n := len(left)
			if len(cuts) > 0 {
				n = min(n, int(cuts[i%len(cuts)])+1)
			}
			pieces = append(pieces, left[:n])
			left = left[n:]
		}
		if split := decode(t, pieces...); !same(split, whole) {
			t.Errorf("%q\nwhole:     %v\nin pieces: %v of %q", raw, whole, split, pieces)
		}
		if slow := decode(t, bytewise(string(raw))...); !same(slow, whole) {
			t.Errorf("%q\nwhole:        %v\nbyte by byte: %v", raw, whole, slow)
		}
		if !whole.done {
			return
		}
		br := bufio.NewReaderSize(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.NewReader(raw)), 8192)
		std, err := http.ReadRequest(br)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(std.Body)
		if err != nil {
			t.Fatalf("%q\nread as %v\nnet/http refuses it: %v", raw, whole, err)
		}
		rest, _ := io.ReadAll(br)
		if string(content) != whole.content || string(rest) != whole.rest {
			t.Errorf("%q\nread as %v\nand by net/http as %q, rest %q", raw, whole, content, rest)
		}
		var h message.Header
		var a message.Arena
		var c http1.Chunks
		if _, _, err := c.Decode(bytes.Clone(raw), &h, &a); err != nil {
			t.Fatal(err)
		}
		for _, f := range h.Fields {
			if v := std.Trailer.Values(string(f.Name)); !slices.Contains(v, string(f.Value)) {
				t.Errorf("%q: trailer %s: %q, by net/http %q", raw, f.Name, f.Value, v)
			}
		}
		// What goes out of it is whole, and holds nothing that frames a message.
		out := http1.AppendLastChunk(http1.AppendChunk(nil, []byte("x"+whole.content)), &h)
		again := decode(t, string(out))
		if !again.done || again.content != "x"+whole.content || again.rest != "" {
			t.Errorf("%q\nwritten as %q, which is %v", raw, out, again)
		}
		for _, name := range []string{"content-length=", "transfer-encoding=", "host=", "trailer=", "connection="} {
			if l := strings.ToLower("|" + again.trailer); strings.Contains(l, "|"+name) {
				t.Errorf("%q\nwritten with trailer %s", raw, again.trailer)
			}
		}
	})
}

// same says whether two ways of cutting came to the same end. Which of several faults is met first may depend on the cut.
func same(a, b decoded) bool {
	if a.err != nil && b.err != nil {
		return a.content == b.content
	}
	return a == b
}
