package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// patience bounds the start and the stop of every process.
const patience = 20 * time.Second

// process is a running program. Only stop ends it.
type process struct {
	cmd    *exec.Cmd
	stderr *tail
	ended  chan struct{} // closed when the process has ended; err is then set
	err    error
}

// launch writes p's files into dir, starts it, and returns once ready answers pathSmall with 200.
func launch(ctx context.Context, dir string, p program, ready string) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range p.files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	run := &process{cmd: exec.Command(p.argv[0], p.argv[1:]...), stderr: &tail{}, ended: make(chan struct{})}
	run.cmd.Stderr = run.stderr
	if p.stdout != "" {
		f, err := os.OpenFile(p.stdout, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		defer f.Close() // the process has its own descriptor by then
		run.cmd.Stdout = f
	}
	if err := run.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		run.err = run.cmd.Wait()
		close(run.ended)
	}()
	if err := run.await(ctx, ready); err != nil {
		err = fmt.Errorf("%s: %w: %s", filepath.Base(p.argv[0]), err, run.stderr)
		select {
		case <-run.ended:
			return nil, err
		default:
			return nil, errors.Join(err, run.stop())
		}
	}
	return run, nil
}

// await returns when addr answers, or why it will not.
func (p *process) await(ctx context.Context, addr string) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, _, err := ask(ctx, addr, pathSmall, "")
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("ended before it answered: %w", errors.Join(p.err, err))
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("not ready after %s: status %d, error %v", patience, status, err)
		case <-tick.C:
		}
	}
}

// stop ends the process by SIGTERM, or SIGKILL if that does not help, and waits until it is gone. A
// process that ended by itself before is an error.
func (p *process) stop() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended by itself: %w: %s", filepath.Base(p.cmd.Path), p.err, p.stderr)
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// withPorts calls start with n addresses that were free a moment ago, and again with others, up to three
// times, if it fails: somebody else may have been quicker. The last failure is the one returned.
func withPorts(n int, start func([]string) (*process, error)) (*process, error) {
	var failed error
	for range 3 {
		addrs, err := freePorts(n)
		if err != nil {
			return nil, err
		}
		p, err := start(addrs)
		if err == nil {
			return p, nil
		}
		failed = err
	}
	return nil, failed
}

// freePorts returns n different loopback addresses that nobody listens on.
func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // held until all are chosen, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// tail keeps the first and the last of what a process says on standard error.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if keep := 4096; len(t.text) > 2*keep {
		t.text = append(t.text[:keep:keep], t.text[len(t.text)-keep:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}
