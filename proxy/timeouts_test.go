package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestAnIdleConnectionEndsInSilenceAfterKeepAlive(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("", named(t, "ok")), "keep_alive: 5s", "keep_alive: 100ms", 1))
	w := dialWire(t, e.addr(0))
	w.send(plainGet)
	w.answer("GET")
	began := time.Now()
	w.ended()
	if took := time.Since(began); took < 90*time.Millisecond || took > 3*time.Second {
		t.Errorf("ended after %v", took)
	}
	if n := len(e.lines(1)); n != 1 {
		t.Errorf("%d lines: the silence was logged", n)
	}
}

func TestAConnectionThatNeverAsksEndsInSilence(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("", named(t, "ok")), "http_request: 5s", "http_request: 100ms", 1))
	w := dialWire(t, e.addr(0))
	began := time.Now()
	w.ended()
	if took := time.Since(began); took < 90*time.Millisecond || took > 3*time.Second {
		t.Errorf("ended after %v", took)
	}
}

// The time of a request head runs from its first byte, however slowly the rest trickles in.
func TestAHeadThatTricklesIsCutAtItsTime(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("", named(t, "ok")), "http_request: 5s", "http_request: 300ms", 1))
	w := dialWire(t, e.addr(0))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		io.WriteString(w, "GET / HTTP/1.1\r\nX: ")
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if _, err := io.WriteString(w, "x"); err != nil {
					return
				}
			}
		}
	}()
	began := time.Now()
	if r, _ := w.answer("GET"); r.StatusCode != 408 {
		t.Errorf("status %d", r.StatusCode)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// client and server are times of silence, not of the whole exchange: bodies that move slowly are not cut.
func TestASlowBodyThatKeepsMovingIsNotCut(t *testing.T) {
	t.Parallel()
	slowly := func(w io.Writer, pieces int, piece string) {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for range pieces {
			<-tick.C
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	}
	e := start(t, strings.NewReplacer("client: 5s", "client: 1s", "server: 5s", "server: 1s").Replace(site("", rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		skipHead(in)
		io.CopyN(io.Discard, in, 100)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
		slowly(c, 25, "xxxx")
	}))))
	w := dialWire(t, e.addr(0))
	w.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
	slowly(w, 25, "yyyy")
	if r, body := w.answer("POST"); r.StatusCode != 200 || len(body) != 100 {
		t.Errorf("%d, %d bytes", r.StatusCode, len(body))
	}
	if l := e.lines(1)[0]; l.Termination != "--" {
		t.Errorf("%+v", l)
	}
}

func TestATunnelEndsWhenBothSidesHaveBeenSilentForItsTime(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("", echoSocket(t)), "tunnel: 5s", "tunnel: 1s", 1))
	w := openSocket(t, e.addr(0))
	tick := time.NewTicker(100 * time.Millisecond) // speaking keeps it alive past its time
	defer tick.Stop()
	for range 13 {
		<-tick.C
		w.echo("hello")
	}
	began := time.Now()
	io.Copy(io.Discard, w.in)
	if took := time.Since(began); took < 900*time.Millisecond || took > 4*time.Second {
		t.Errorf("ended after %v", took)
	}
	if l := e.lines(1)[0]; l.Status != 101 || l.Termination != "sD" {
		t.Errorf("%+v", l)
	}
}
