package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestARefusedServerCostsTheClientNothingWhileAnotherIsLeft(t *testing.T) {
	t.Parallel()
	e := start(t, site("", refusing(t), named(t, "good")))
	w := dialWire(t, e.addr(0))
	for range 10 {
		w.send(plainGet)
		if r, body := w.answer("GET"); r.StatusCode != 200 || body != "good" {
			t.Fatalf("%d %q", r.StatusCode, body)
		}
	}
	s := e.server("app", "s1")
	if s.ErrorsConnect == 0 || s.Redispatches != s.ErrorsConnect || s.Retries != s.ErrorsConnect || s.Requests != 0 {
		t.Errorf("%+v", s)
	}
	redispatched := uint64(0)
	for _, l := range e.lines(10) {
		if l.Termination != "--" || l.Server != "s2" || l.Retries > 1 || l.Redispatched != (l.Retries == 1) {
			t.Errorf("%+v", l)
		}
		redispatched += uint64(l.Retries)
	}
	if redispatched != s.Redispatches {
		t.Errorf("%d redispatched in the log", redispatched)
	}
}

func TestAPostToARefusedServerGoesToAnotherOnceAndWhole(t *testing.T) {
	t.Parallel()
	var posts atomic.Int32
	good := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		posts.Add(1)
		fmt.Fprintf(w, "%d", len(b))
	})
	e := start(t, site("", refusing(t), good))
	c := client(t, true)
	for i := range 6 {
		size := 1 << (4 * i)
		r, err := c.Post(e.url("/"), "text/plain", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != 200 || string(b) != fmt.Sprint(size) {
			t.Errorf("%d %q, want %d bytes", r.StatusCode, b, size)
		}
	}
	if n := posts.Load(); n != 6 {
		t.Errorf("the server saw %d requests", n)
	}
}

func TestOneServerThatRefusesIsAskedAgainAfterAMoment(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("    retries: {attempts: 2}\n", refusing(t)), "connect: 500ms", "connect: 50ms", 1))
	began := time.Now()
	if status, _ := getPath(t, e, "/"); status != 503 {
		t.Errorf("status %d", status)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("gave up after %v", took)
	}
	if s := e.server("app", "s1"); s.ErrorsConnect != 3 || s.Retries != 2 || s.Redispatches != 0 || s.Inflight != 0 {
		t.Errorf("%+v", s)
	}
	if l := e.lines(1)[0]; l.Retries != 2 || l.Redispatched {
		t.Errorf("%+v", l)
	}
}

// A server that answers one request on each connection, and drops the second one unanswered: as one does whose keep-alive time ran out
// just when the request was sent.
func oneAnswerEach(t *testing.T, asked *atomic.Int32) string {
	return rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		skipHead(in)
		asked.Add(1)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if skipHead(in) != "" {
			asked.Add(1)
		}
	})
}

func TestAGetOnAReusedConnectionThatDiedUnansweredIsSentAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	e := start(t, site("    retries: {attempts: 0}\n", oneAnswerEach(t, &asked)), setup{global: "  maxconn: 0\n"})
	w := dialWire(t, e.addr(0))
	for range 5 {
		w.send(plainGet)
		if r, body := w.answer("GET"); r.StatusCode != 200 || body != "ok" {
			t.Fatalf("%d %q", r.StatusCode, body)
		}
	}
	if n := asked.Load(); n != 9 {
		t.Errorf("the server was asked %d times, want 5 and 4 in vain", n)
	}
	if l := e.lines(5)[4]; l.Termination != "--" || l.Retries != 0 {
		t.Errorf("%+v", l)
	}
}

func TestAPostOnAReusedConnectionThatDiedUnansweredIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	e := start(t, site("    retries: {attempts: 3, on: [conn-failure, empty-response]}\n", oneAnswerEach(t, &asked)))
	w := dialWire(t, e.addr(0))
	w.send(plainGet)
	w.answer("GET")
	w.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
	if r, _ := w.answer("POST"); r.StatusCode != 502 {
		t.Errorf("status %d", r.StatusCode)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the server was asked %d times", n)
	}
	if l := e.lines(2)[1]; l.Termination != "SH" || l.Retries != 0 {
		t.Errorf("%+v", l)
	}
}

func TestAPostLooksWhetherItsConnectionStillLives(t *testing.T) {
	t.Parallel()
	// The server closes after each answer without saying so. A POST must meet a live connection every time.
	var posts atomic.Int32
	e := start(t, site("    retries: {attempts: 0}\n", rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		if skipHead(in) != "" {
			posts.Add(1)
			io.CopyN(io.Discard, in, 3)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})))
	w := dialWire(t, e.addr(0))
	for range 200 {
		w.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
		r, _ := w.answer("POST")
		if r.StatusCode != 200 && r.StatusCode != 502 { // 502: the close crossed the request on the way
			t.Fatalf("status %d", r.StatusCode)
		}
		if r.StatusCode == 502 {
			continue
		}
		eventually(t, "the edge has seen the server's end", func() bool { return e.server("app", "s1").ConnsIdle == 0 })
	}
	if posts.Load() < 190 {
		t.Errorf("only %d of 200 arrived", posts.Load())
	}
}

func TestAnEmptyAnswerIsRepeatedOnlyWhereTheConfigurationSaysSo(t *testing.T) {
	t.Parallel()
	for on, want := range map[string]int{"[conn-failure]": 502, "[conn-failure, empty-response]": 200} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			dead := rawOrigin(t, func(c net.Conn, in *bufio.Reader) { skipHead(in) })
			e := start(t, site("    retries: {attempts: 1, on: "+on+"}\n", dead, named(t, "good")))
			statuses := map[int]int{}
			for range 4 {
				status, _ := getPath(t, e, "/")
				statuses[status]++
			}
			if statuses[want] == 0 || want == 200 && statuses[200] != 4 || want == 502 && statuses[502] != 2 {
				t.Errorf("%v", statuses)
			}
			if s := e.server("app", "s1"); s.ErrorsResponse == 0 || (s.Retries == 0) != (want == 502) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestPostsAreNeverRepeatedOnAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	dead := rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		if skipHead(in) != "" {
			asked.Add(1)
		}
	})
	e := start(t, site("    retries: {attempts: 3, on: [conn-failure, empty-response]}\n", dead, dead))
	r, _ := ask(t, e.addr(0), "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
	if r.StatusCode != 502 || asked.Load() != 1 {
		t.Errorf("status %d, asked %d times", r.StatusCode, asked.Load())
	}
}
