package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// large is 16 MiB that no chunk of it resembles.
var large = func() []byte {
	b := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// hiddenSize keeps net/http from knowing how long a body is.
type hiddenSize struct{ io.Reader }

func TestLargeBodiesArriveWholeBothWays(t *testing.T) {
	t.Parallel()
	e := start(t, site("", origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			if r.URL.Path == "/sized" {
				w.Header().Set("Content-Length", fmt.Sprint(len(large)))
			}
			w.Header().Set("Trailer", "X-Sum")
			io.Copy(w, hiddenSize{bytes.NewReader(large)})
			w.Header().Set("X-Sum", sum(large))
			return
		}
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if chunked := len(r.TransferEncoding) > 0; err != nil || n != int64(len(large)) || chunked != (r.URL.Path == "/chunked") {
			t.Errorf("%s: %d bytes, chunked %v, %v", r.URL.Path, n, chunked, err)
		}
		fmt.Fprintf(w, "%x", h.Sum(nil))
	})))
	c := client(t, true)
	for _, how := range []string{"/sized", "/chunked"} {
		t.Run("down"+how, func(t *testing.T) {
			for range 2 {
				r, err := c.Get(e.url(how))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || sum(b) != sum(large) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				if how == "/chunked" && r.Trailer.Get("X-Sum") != sum(large) {
					t.Errorf("trailer %v", r.Trailer)
				}
			}
		})
		t.Run("up"+how, func(t *testing.T) {
			for range 2 {
				var body io.Reader = bytes.NewReader(large)
				if how == "/chunked" {
					body = hiddenSize{body}
				}
				r, err := c.Post(e.url(how), "application/octet-stream", body)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || string(b) != sum(large) {
					t.Errorf("%.80q, %v", b, err)
				}
			}
		})
	}
	for _, l := range e.lines(8) {
		if l.Termination != "--" || l.Status != 200 {
			t.Errorf("%+v", l)
		}
	}
}

// A response that ends with its connection, and one for a client that knows no chunks.
func TestBodiesWithoutALengthEndWithTheConnection(t *testing.T) {
	t.Parallel()
	text := string(large[:1<<20])
	for name, c := range map[string]struct{ answer, request string }{
		"until close":           {"HTTP/1.1 200 OK\r\n\r\n" + text, plainGet},
		"chunked to HTTP/1.0":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + text + "\r\n0\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"},
		"HTTP/1.0 from both":    {"HTTP/1.0 200 OK\r\n\r\n" + text, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"},
		"sized, and then ended": {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1048576\r\n\r\n" + text, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, site("", rawOrigin(t, func(conn net.Conn, in *bufio.Reader) {
				skipHead(in)
				io.WriteString(conn, c.answer)
			})))
			w := dialWire(t, e.addr(0))
			w.send(c.request)
			r, body := w.answer("GET")
			if r.StatusCode != 200 || body != text || len(r.TransferEncoding) > 0 {
				t.Errorf("%d, %d bytes, %v", r.StatusCode, len(body), r.TransferEncoding)
			}
			w.ended()
			if l := e.lines(1)[0]; l.Termination != "--" {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestAnEarlyAnswerReachesTheClientWhoStillSends(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, head string
		closes     bool // the server closes after its answer; otherwise it keeps the connection and reads nothing more
	}{
		{"sized, the server closes", "Content-Length: 1073741824", true},
		{"sized, the server stays and reads nothing", "Content-Length: 1073741824", false},
		{"chunked, the server closes", "Transfer-Encoding: chunked", true},
		{"chunked, the server stays and reads nothing", "Transfer-Encoding: chunked", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{})
			e := start(t, strings.Replace(site("", rawOrigin(t, func(conn net.Conn, in *bufio.Reader) {
				skipHead(in)
				io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
				if !c.closes {
					<-done
				}
			})), "server: 5s", "server: 60s", 1))
			defer close(done)
			w := dialWire(t, e.addr(0))
			w.send("POST / HTTP/1.1\r\nHost: a\r\n" + c.head + "\r\n\r\n")
			go func() {
				piece := make([]byte, 64<<10)
				if c.head[0] == 'T' {
					piece = append([]byte("10000\r\n"), append(piece, '\r', '\n')...)
				}
				for {
					if _, err := w.Write(piece); err != nil {
						return
					}
				}
			}()
			began := time.Now()
			if r, body := w.answer("POST"); r.StatusCode != 413 || body != "too much" || !r.Close {
				t.Errorf("%d %q, close %v", r.StatusCode, body, r.Close)
			}
			if l := e.lines(1)[0]; l.Status != 413 || l.Termination != "--" {
				t.Errorf("%+v", l)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the exchange took %v", took)
			}
			if s := e.server("app", "s1"); s.Inflight != 0 || s.ConnsIdle != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestAClientThatWaitsForContinueIsToldBy(t *testing.T) {
	t.Parallel()
	e := start(t, site("", origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(417)
			return
		}
		b, _ := io.ReadAll(r.Body) // net/http now says 100
		w.Write(b)
	})))
	w := dialWire(t, e.addr(0))
	w.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if head := skipHead(w.in); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("%q", head)
	}
	w.send("hello")
	if r, body := w.answer("POST"); r.StatusCode != 200 || body != "hello" {
		t.Errorf("%d %q", r.StatusCode, body)
	}
	w = dialWire(t, e.addr(0))
	w.send("POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if r, _ := w.answer("POST"); r.StatusCode != 417 || !r.Close {
		t.Errorf("%d, close %v", r.StatusCode, r.Close)
	}
}

func TestInterimResponsesAreRelayedInOrder(t *testing.T) {
	t.Parallel()
	e := start(t, site("", answering(t, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	w := dialWire(t, e.addr(0))
	w.send(plainGet)
	if head := skipHead(w.in); !strings.HasPrefix(head, "HTTP/1.1 103 ") || !strings.Contains(head, "</a.css>") {
		t.Fatalf("%q", head)
	}
	if r, body := w.answer("GET"); r.StatusCode != 200 || body != "ok" {
		t.Errorf("%d %q", r.StatusCode, body)
	}
	// A client of HTTP/1.0 knows none.
	w = dialWire(t, e.addr(0))
	w.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	if head := skipHead(w.in); !strings.Contains(head, " 200 ") {
		t.Errorf("%q", head)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	e := start(t, site("", origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	}), origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	})))
	w := dialWire(t, e.addr(0))
	var all, want strings.Builder
	for i := range 50 {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		case 1:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", i)
		case 2:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n", i)
		}
		fmt.Fprintf(&want, "/%d %s\n", i, []string{"", "abc", "def"}[i%3])
	}
	w.send(all.String())
	var got strings.Builder
	for i := range 50 {
		_, body := w.answer([]string{"GET", "POST", "POST"}[i%3])
		got.WriteString(body + "\n")
	}
	if got.String() != want.String() {
		t.Errorf("%s", got.String())
	}
}

func TestHeadAndEmptyAnswersHaveNoBody(t *testing.T) {
	t.Parallel()
	e := start(t, site("", origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "5")
			w.Write([]byte("hello"))
		}
	})))
	w := dialWire(t, e.addr(0))
	for range 3 {
		for _, c := range []struct {
			method, path string
			status       int
			body         string
		}{{"HEAD", "/", 200, ""}, {"GET", "/204", 204, ""}, {"GET", "/304", 304, ""}, {"GET", "/", 200, "hello"}} {
			w.send(c.method + " " + c.path + " HTTP/1.1\r\nHost: a\r\n\r\n")
			if r, body := w.answer(c.method); r.StatusCode != c.status || body != c.body {
				t.Fatalf("%s %s: %d %q", c.method, c.path, r.StatusCode, body)
			}
		}
	}
}
