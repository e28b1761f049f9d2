package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is what fits into a unix address on Linux; other systems take a few bytes less and say so themselves.
const maxSocketPath = 107

// socketPath takes the file out of "unix:/path".
func socketPath(addr string) (string, error) {
	name, ok := strings.CutPrefix(addr, "unix:")
	switch {
	case !ok:
		return "", fmt.Errorf("admin address %q is not a unix socket: write unix:/path", addr)
	case name == "" || name[0] == '@':
		return "", fmt.Errorf("admin address %q names no file: write unix:/path", addr)
	case len(name) > maxSocketPath:
		return "", fmt.Errorf("admin address %q is longer than the %d bytes a socket's path may have", addr, maxSocketPath)
	}
	return name, nil
}

// Listen opens the admin socket "unix:/path": mode 0600, in a directory that is made (0700) if missing. A socket that nobody
// answers on any more is replaced; one that somebody answers on is an error. Connections of other users than this process's
// own and root are closed without a word. Close removes the socket, unless another has taken its place.
func Listen(addr string) (net.Listener, error) {
	name, err := socketPath(addr)
	if err != nil {
		return nil, err
	}
	l, err := listen(name)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

func listen(name string) (net.Listener, error) {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Of two that start at once, one looks and binds first: neither takes the other's socket for a stale one.
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(name); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(name, 0o600); err != nil { // until now the check of the peer's user kept others out
		return nil, errors.Join(err, l.Close())
	}
	info, err := os.Lstat(name)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &listener{UnixListener: l, name: name, file: info}, nil
}

func removeStale(name string) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("the file exists and is not a socket")
	}
	c, err := net.DialTimeout("unix", name, time.Second)
	switch {
	case err == nil:
		_ = c.Close() // it has told what we wanted to know
		return errors.New("another edge is running and answers there: stop it, or give this one its own global.admin")
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(name)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("is the socket in use? %w", err)
}

// listener lets in its owner and root.
type listener struct {
	*net.UnixListener
	name string
	file fs.FileInfo
	once sync.Once
	err  error
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerCred(c)
		if err == nil && p.allowed(os.Geteuid()) {
			return &conn{c, p}, nil
		}
		_ = c.Close() // a stranger, or one who has gone already
	}
}

// Close may be called more than once, as http.Server does.
func (l *listener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.name); err == nil && os.SameFile(now, l.file) {
			l.err = os.Remove(l.name)
		}
		l.err = errors.Join(l.err, l.UnixListener.Close())
	})
	return l.err
}

// conn remembers who is at the other end.
type conn struct {
	net.Conn
	peer peer
}

// peer is the process at the other end of a socket; a number is -1 where the system does not tell.
type peer struct{ uid, pid int }

// allowed says whether the peer may speak to a process of that user.
func (p peer) allowed(uid int) bool { return p.uid == 0 || p.uid == uid }

type peerKey struct{}

// peerOf says who sent a request, for the log.
func peerOf(ctx context.Context) string {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("uid %d pid %d", p.uid, p.pid)
}

// Serve answers on a listener until ctx is done, and then gives requests under way two seconds to end. Event streams end with ctx.
// Log may be nil.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	if log == nil {
		log = slog.Default()
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // a reload may take its time
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*conn); ok {
				return context.WithValue(ctx, peerKey{}, c.peer)
			}
			return ctx
		},
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err := s.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		ended <- err
	})
	err := s.Serve(l)
	if stop() { // not by ctx: the listener has failed
		return errors.Join(fmt.Errorf("serve the admin API: %w", err), s.Close())
	}
	return <-ended
}
