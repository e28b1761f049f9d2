package proxy

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deaf is an address at which connections neither succeed nor fail: its queue is full and nobody accepts.
func deaf(t testing.TB) string {
	t.Helper()
	fd, addr := boundSocket(t)
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 50*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}

func TestAConnectionThatDoesNotComeAboutInTimeIs503SmallSC(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("    retries: {attempts: 1}\n", deaf(t)), "connect: 500ms", "connect: 50ms", 1))
	began := time.Now()
	if status, _ := getPath(t, e, "/"); status != 503 {
		t.Errorf("status %d", status)
	}
	if took := time.Since(began); took < 100*time.Millisecond || took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if l := e.lines(1)[0]; l.Termination != "sC" || l.Status != 503 || !strings.Contains(l.Cause, "timeout") || l.Server != "s1" || l.Retries != 1 {
		t.Errorf("%+v", l)
	}
}

func TestAServerThatDoesNotConnectIsPassedOver(t *testing.T) {
	t.Parallel()
	e := start(t, strings.Replace(site("", deaf(t), named(t, "good")), "connect: 500ms", "connect: 50ms", 1))
	for range 2 {
		if status, body := getPath(t, e, "/"); status != 200 || body != "good" {
			t.Errorf("%d %q", status, body)
		}
	}
	if s := e.server("app", "s1"); s.ErrorsConnect == 0 || s.Redispatches != s.ErrorsConnect {
		t.Errorf("%+v", s)
	}
}
