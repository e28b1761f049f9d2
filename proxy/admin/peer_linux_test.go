package admin

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Even with the file modes wide open, another user's connection is closed without a word.
func TestAnotherUserIsTurnedAway(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else for a moment")
	}
	addr, _ := start(t, newOperator())
	name := addr[len("unix:"):]
	for path, mode := range map[string]os.FileMode{filepath.Dir(filepath.Dir(name)): 0o755, filepath.Dir(name): 0o755, name: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	go func() {
		// User ids belong to threads in Linux. This thread dies with its goroutine, as it is never unlocked.
		runtime.LockOSThread()
		const nobody = 65534
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), nobody, ^uintptr(0)); errno != 0 {
			done <- result{-1, errno}
			return
		}
		c, err := net.Dial("unix", name)
		if err != nil {
			done <- result{-1, err}
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n") // it may be closed by now
		n, err := c.Read(make([]byte, 1))
		done <- result{n, err}
	}()
	if r := <-done; r.n != 0 || !errors.Is(r.err, io.EOF) && !errors.Is(r.err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, %v; want the connection closed", r.n, r.err)
	}
}
