package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestTheSocketIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(socketDir(t), "run", "edge")
	name := filepath.Join(dir, "admin.sock")
	l, err := Listen("unix:" + name)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{name: 0o600, dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Error("the socket is left behind:", err)
	}
	if err := l.Close(); err != nil {
		t.Error("a second Close:", err)
	}
}

func TestOnlyTheOwnerAndRootAreLetIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uid, own int
		want     bool
	}{{0, 0, true}, {0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {-1, 1000, false}} {
		if got := (peer{uid: c.uid}).allowed(c.own); got != c.want {
			t.Errorf("uid %d at an edge of uid %d: %v", c.uid, c.own, got)
		}
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	name := filepath.Join(socketDir(t), "admin.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as after kill -9
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen("unix:" + name)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, newOperator(), Options{}, &lines{})
	if _, err := client(t, "unix:"+name).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestASocketInUseIsLeftAlone(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, newOperator())
	if _, err := Listen(addr); err == nil || !strings.Contains(err.Error(), "another edge is running") || !strings.Contains(err.Error(), addr) {
		t.Error(err)
	}
	if _, err := client(t, addr).Status(t.Context()); err != nil {
		t.Error("the first no longer answers:", err)
	}
}

func TestOfManyThatStartAtOnceOneWins(t *testing.T) {
	t.Parallel()
	name := filepath.Join(socketDir(t), "admin.sock")
	const many = 8
	var wg sync.WaitGroup
	won := make(chan net.Listener, many)
	for range many {
		wg.Go(func() {
			if l, err := Listen("unix:" + name); err == nil {
				won <- l
			} else if !strings.Contains(err.Error(), "another edge is running") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d have it", len(won))
	}
	if err := (<-won).Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseLeavesASuccessorsSocketAlone(t *testing.T) {
	t.Parallel()
	name := filepath.Join(socketDir(t), "admin.sock")
	old, err := Listen("unix:" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	l, err := Listen("unix:" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	serve(t, l, newOperator(), Options{}, &lines{})
	if _, err := client(t, "unix:"+name).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAddressesThatAreNoSocketAreRefused(t *testing.T) {
	t.Parallel()
	dir := socketDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"127.0.0.1:9900":               "is not a unix socket: write unix:/path",
		"unix:":                        "names no file",
		"unix:@abstract":               "names no file",
		"unix:" + file:                 "the file exists and is not a socket",
		"unix:" + file + "/admin.sock": "not a directory",
		"unix:/" + strings.Repeat("x", maxSocketPath): "longer than the 107 bytes",
	} {
		l, err := Listen(addr)
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", addr, err, want)
		}
	}
	if text, _ := os.ReadFile(file); string(text) != "precious" {
		t.Error("a file was touched")
	}
}

func TestServeEndsWithItsContextThoughStreamsAreOpen(t *testing.T) {
	t.Parallel()
	addr := "unix:" + filepath.Join(socketDir(t), "admin.sock")
	l, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	op := newOperator()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Handler(op, Options{}), nil) }()
	events := make(chan error, 1)
	c := client(t, addr)
	go func() {
		for _, err := range c.Events(context.Background()) {
			events <- err
		}
	}()
	<-op.subscribed
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-events; err == nil {
		t.Error("the stream ended without a word")
	}
}

func TestServeTellsThatItsListenerFailed(t *testing.T) {
	t.Parallel()
	if err := Serve(t.Context(), brokenListener{}, Handler(newOperator(), Options{}), nil); err == nil || !strings.Contains(err.Error(), "serve the admin API: no more") {
		t.Error(err)
	}
}

type brokenListener struct{}

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("no more") }
func (brokenListener) Close() error              { return nil }
func (brokenListener) Addr() net.Addr            { return &net.UnixAddr{} }
