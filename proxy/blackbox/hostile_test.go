package blackbox

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile is a server's answer, byte for byte, and what the client may get of it.
type hostile struct {
	name   string
	method string   // GET if empty
	answer string   // sent as it is
	then   ending   // what the server does after that
	later  string   // sent when the client has its answer
	want   []string // one of them: a status, "cut" (the client sees that the answer is not whole), or "200 body"
}

type ending int

const (
	hold   ending = iota // keeps the connection open and silent
	close_               // closes it
	reset                // resets it
)

const (
	ok    = "HTTP/1.1 200 OK\r\n"
	five  = "Content-Length: 5\r\n\r\nhello"
	evil  = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	coded = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
)

func bad(more ...string) []string { return append([]string{"502"}, more...) }

var hostileAnswers = []hostile{
	{name: "control: sized", answer: ok + five, want: []string{"200 hello"}},
	{name: "control: chunked", answer: coded + "5;x=y\r\nhello\r\n0\r\n\r\n", want: []string{"200 hello"}},
	{name: "control: until close", answer: ok + "\r\nhello", then: close_, want: []string{"200 hello"}},
	{name: "control: coding in capitals", answer: ok + "Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: []string{"200 hello"}},
	{name: "control: no reason phrase", answer: "HTTP/1.1 200 \r\n" + five, want: []string{"200 hello"}},

	{name: "two lengths", answer: ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", want: bad()},
	{name: "one length twice", answer: ok + "Content-Length: 5\r\n" + five, want: bad("200 hello")},
	{name: "list of lengths", answer: ok + "Content-Length: 5, 6\r\n\r\nhello", want: bad()},
	{name: "length with a sign", answer: ok + "Content-Length: +5\r\n\r\nhello", want: bad()},
	{name: "length below zero", answer: ok + "Content-Length: -5\r\n\r\nhello", want: bad()},
	{name: "hexadecimal length", answer: ok + "Content-Length: 0x5\r\n\r\nhello", want: bad()},
	{name: "empty length", answer: ok + "Content-Length:\r\n\r\nhello", want: bad()},
	{name: "length of 2^64+5", answer: ok + "Content-Length: 18446744073709551621\r\n\r\nhello", want: bad()},
	{name: "length and coding", answer: ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: bad()},
	{name: "unknown coding", answer: ok + "Transfer-Encoding: xchunked\r\n\r\nhello", then: close_, want: bad()},
	{name: "chunked twice", answer: ok + "Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: bad()},
	{name: "chunked on two lines", answer: ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: bad()},
	{name: "chunked in 1.0", answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: bad()},
	{name: "vertical tab before the coding", answer: ok + "Transfer-Encoding: \x0bchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: bad()},

	{name: "status of five digits", answer: "HTTP/1.1 99999 OK\r\n" + five, want: bad()},
	{name: "status of two digits", answer: "HTTP/1.1 20 OK\r\n" + five, want: bad()},
	{name: "status with a letter", answer: "HTTP/1.1 2x0 OK\r\n" + five, want: bad()},
	{name: "status zero", answer: "HTTP/1.1 000 OK\r\n" + five, want: bad()},
	{name: "no space after the status", answer: "HTTP/1.1 200OK\r\n" + five, want: bad()},
	{name: "version 9.9", answer: "HTTP/9.9 200 OK\r\n" + five, want: bad()},
	{name: "other protocol", answer: "ICY 200 OK\r\n" + five, want: bad()},
	{name: "control character in the reason", answer: "HTTP/1.1 200 O\x00K\r\n" + five, want: bad()},
	{name: "garbage", answer: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 what\r\n\r\n", want: bad()},

	{name: "bare line feeds", answer: "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", want: bad()},
	{name: "split by a line feed", answer: ok + "X: a\nSet-Cookie: evil=1\r\n" + five, want: bad()},
	{name: "split by a carriage return", answer: ok + "X: a\rSet-Cookie: evil=1\r\n" + five, want: bad()},
	{name: "NUL in a value", answer: ok + "X: a\x00b\r\n" + five, want: bad()},
	{name: "no colon", answer: ok + "NoColonHere\r\n" + five, want: bad()},
	{name: "space before the colon", answer: ok + "Content-Length : 5\r\n\r\nhello", want: bad()},
	{name: "empty name", answer: ok + ": x\r\n" + five, want: bad()},
	{name: "folded line", answer: ok + "X: a\r\n b\r\n" + five, want: bad("200 hello")},
	{name: "one field of 1 MiB", answer: ok + "X: " + strings.Repeat("x", 1<<20) + "\r\n" + five, want: bad()},
	{name: "20000 fields", answer: ok + strings.Repeat("X: y\r\n", 20000) + five, want: bad()},
	{name: "head without end", answer: ok + "X: y\r\n", want: []string{"504"}},
	{name: "head cut short", answer: ok + "X: y\r\nConte", then: close_, want: bad()},
	{name: "no answer", answer: "", want: []string{"504"}},
	{name: "closed at once", answer: "", then: close_, want: bad()},
	{name: "reset at once", answer: "", then: reset, want: bad()},

	{name: "100000 interim answers", answer: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100000) + ok + five, want: bad()},
	{name: "interim answer with a body", answer: "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nevil!" + ok + five, want: bad()},
	{name: "interim answer and the end", answer: "HTTP/1.1 103 Early Hints\r\n\r\n", then: close_, want: bad()},
	{name: "switch of protocols unasked", answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + evil, want: bad()},

	{name: "body of a 204", answer: "HTTP/1.1 204 No Content\r\n\r\n" + evil, want: []string{"204", "502"}},
	{name: "length and body of a 204", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nevil!", want: []string{"204", "502"}},
	{name: "body of a 304", answer: "HTTP/1.1 304 Not Modified\r\n\r\n" + evil, want: []string{"304", "502"}},
	{name: "body for HEAD", method: "HEAD", answer: ok + "Content-Length: 43\r\n\r\n" + evil, want: []string{"200 "}},
	{name: "more than the length", answer: ok + five + "evil", want: []string{"200 hello"}},
	{name: "a second answer", answer: ok + five + evil, want: []string{"200 hello"}},
	{name: "a second answer after the last chunk", answer: coded + "5\r\nhello\r\n0\r\n\r\n" + evil, want: []string{"200 hello"}},
	{name: "an answer to nobody, later", answer: ok + five, later: evil, want: []string{"200 hello"}},
	{name: "half an answer to nobody, later", answer: ok + five, later: "HTTP/1.1 408 Request", want: []string{"200 hello"}},

	{name: "less than the length", answer: ok + "Content-Length: 50\r\n\r\nhello", then: close_, want: bad("cut")},
	{name: "less than the length, and silence", answer: ok + "Content-Length: 50\r\n\r\nhello", want: []string{"504", "cut"}},
	{name: "less than the length, and a reset", answer: ok + "Content-Length: 50\r\n\r\nhello", then: reset, want: bad("cut")},
	{name: "reset before the end that closing would mark", answer: ok + "\r\nhello", then: reset, want: bad("cut")},
	{name: "no last chunk", answer: coded + "5\r\nhello\r\n", then: close_, want: bad("cut")},
	{name: "cut in a chunk", answer: coded + "5\r\nhel", then: close_, want: bad("cut")},
	{name: "cut in the trailer", answer: coded + "5\r\nhello\r\n0\r\nX: y\r\n", then: close_, want: bad("cut")},
	{name: "chunk size of 2^64+5", answer: coded + "10000000000000005\r\nhello\r\n0\r\n\r\n", want: bad("cut")},
	{name: "chunk size below zero", answer: coded + "-5\r\nhello\r\n0\r\n\r\n", want: bad("cut")},
	{name: "chunk size with a prefix", answer: coded + "0x5\r\nhello\r\n0\r\n\r\n", want: bad("cut")},
	{name: "empty chunk size", answer: coded + "\r\nhello\r\n0\r\n\r\n", want: bad("cut")},
	{name: "chunk ended by line feeds", answer: coded + "5\nhello\n0\n\n", want: bad("cut")},
	{name: "no line end after a chunk", answer: coded + "5\r\nhelloXX0\r\n\r\n", want: bad("cut")},
	{name: "endless extensions", answer: coded + strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\nx\r\n", 5000) + "0\r\n\r\n", want: bad("cut")},
	{name: "endless trailer", answer: coded + "5\r\nhello\r\n0\r\n" + strings.Repeat("X: y\r\n", 100000) + "\r\n", want: bad("cut")},
	{name: "NUL in the trailer", answer: coded + "5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n", want: bad("cut")},
}

// hostileServer plays the rows: a request for /row/N gets answer N. Any other gets an honest answer that names it.
type hostileServer struct {
	net.Listener
	mu     sync.Mutex
	wrong  []string           // requests on connections that were not to be used again
	answer map[int]chan error // closed when the client has the answer of a row; then gives the outcome of sending what comes later
}

func newHostileServer(t testing.TB) *hostileServer {
	s := &hostileServer{Listener: listen(t), answer: map[int]chan error{}}
	for i, row := range hostileAnswers {
		if row.later != "" {
			s.answer[i] = make(chan error)
		}
	}
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go s.serve(c.(*net.TCPConn))
		}
	}()
	return s
}

func (s *hostileServer) serve(c *net.TCPConn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		var i int
		if _, err := fmt.Sscanf(q.URL.Path, "/row/%d", &i); err != nil {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Answers: %s\r\n\r\n%s", len(q.URL.Path), q.URL.Path, q.URL.Path)
			continue
		}
		row := hostileAnswers[i]
		_, _ = io.WriteString(c, row.answer)
		if row.later != "" {
			<-s.answer[i]
			_, err := io.WriteString(c, row.later)
			s.answer[i] <- err
		}
		switch row.then {
		case reset:
			_ = c.SetLinger(0)
			fallthrough
		case close_:
			return
		}
		if strings.HasPrefix(row.name, "control") {
			continue
		}
		// Whatever comes now was sent on a connection that is not to be trusted any more.
		if q, err := http.ReadRequest(r); err == nil {
			s.mu.Lock()
			s.wrong = append(s.wrong, q.URL.Path+" after "+row.name)
			s.mu.Unlock()
		}
		return
	}
}

// misused returns the requests, since it was last asked, that came where none should have come.
func (s *hostileServer) misused() (wrong []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong, s.wrong = s.wrong, nil
	return wrong
}

func TestServersThatAnswerWrong(t *testing.T) {
	t.Parallel()
	work := make(chan int, len(hostileAnswers))
	for i := range hostileAnswers {
		work <- i
	}
	close(work)
	var wg sync.WaitGroup
	for range 8 {
		server := newHostileServer(t)
		proxy := start(t, setup{servers: []string{server.Addr().String()}, server: "700ms"})
		wg.Go(func() {
			for i := range work {
				t.Run(strings.ReplaceAll(hostileAnswers[i].name, " ", "_"), func(t *testing.T) { hostileAnswers[i].run(t, i, proxy, server) })
			}
		})
	}
	wg.Wait()
}

func (row hostile) run(t *testing.T, i int, proxy string, server *hostileServer) {
	c := dial(t, proxy)
	method := row.method
	if method == "" {
		method = "GET"
	}
	c.send(fmt.Sprintf("%s /row/%d HTTP/1.1\r\nHost: example.com\r\n\r\n", method, i))
	a := c.answer(method == "HEAD")
	got := fmt.Sprint(a.status)
	switch {
	case !a.complete:
		got = "cut"
	case a.status == 200:
		got += " " + string(a.body)
	}
	if !slices.Contains(row.want, got) {
		t.Errorf("the client got %.100q, want %q", got, row.want)
	}
	if a.has("Set-Cookie") || strings.Contains(string(a.body), "evil") {
		t.Errorf("evil got through: %+v", a)
	}
	if a.status == 204 && (a.has("Content-Length") || a.has("Transfer-Encoding")) {
		t.Errorf("a 204 with framing: %+v", a.fields)
	}
	if later := server.answer[i]; later != nil {
		later <- nil
		if err := <-later; err != nil {
			t.Logf("the server's connection was closed already: %v", err)
		}
	}
	// The same client, if it may go on, and the next one get their own answers.
	paths := []string{fmt.Sprintf("/same/%d", i), fmt.Sprintf("/next/%d", i)}
	if !a.complete || a.lists("Connection", "close") {
		if rest := c.end(); rest != "" {
			t.Errorf("after the answer came %.100q", rest)
		}
		paths = paths[1:]
	}
	for _, path := range paths {
		if strings.HasPrefix(path, "/next") {
			c = dial(t, proxy)
		}
		c.send(get(path))
		if a := c.answer(false); a.status != 200 || string(a.body) != path || a.get("X-Answers") != path {
			t.Errorf("%s: got the answer %d %.100q", path, a.status, a.body)
		}
	}
	_ = c.SetReadDeadline(time.Now())
	if c.more(time.Now().Add(10 * time.Millisecond)); len(c.got) > 0 {
		t.Errorf("bytes after the last answer: %.100q", c.got)
	}
	if wrong := server.misused(); wrong != nil {
		t.Errorf("a connection was used again: %v", wrong)
	}
}
