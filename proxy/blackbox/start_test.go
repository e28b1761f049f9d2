package blackbox

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// setup is what a test wants of the proxy: one frontend that refuses /admin, one backend. Empty values take the defaults.
// The default timeouts are longer than any test waits, so that none of them is taken for what is waited for.
type setup struct {
	servers  []string // addresses; the first ones are picked first
	trusted  string   // network whose X-Forwarded-For is believed
	client   string   // timeouts
	server   string
	request  string
	tunnel   string
	log      string // file for the access log
	attempts string // further attempts after a failed one
}

func (s *setup) defaults() {
	for _, d := range []struct {
		to    *string
		value string
	}{{&s.client, "60s"}, {&s.server, "60s"}, {&s.request, "60s"}, {&s.tunnel, "60s"}, {&s.attempts, "3"}} {
		if *d.to == "" {
			*d.to = d.value
		}
	}
}

func (s setup) edge() string {
	log := "off"
	if s.log != "" {
		log = fmt.Sprintf("{format: json, to: %q}", s.log)
	}
	var servers strings.Builder
	for i, a := range s.servers {
		fmt.Fprintf(&servers, "      s%d: %q\n", i+1, a)
	}
	return fmt.Sprintf(`
global:
  trusted_proxies: [%s]
  log: {access: %s}
timeouts: {connect: 2s, client: %s, server: %s, http_request: %s, keep_alive: 60s, queue: 2s, tunnel: %s}
frontends:
  web:
    bind: [{address: "127.0.0.1:0"}]
    acls: {admin: path_dir /admin}
    request: [deny deny_status 403 if admin]
    default_backend: app
backends:
  app:
    retries: {attempts: %s, redispatch: true, on: [conn-failure]}
    servers:
%s`, s.trusted, log, s.client, s.server, s.request, s.tunnel, s.attempts, servers.String())
}

func (s setup) haproxy() string {
	var servers strings.Builder
	for i, a := range s.servers {
		fmt.Fprintf(&servers, "  server s%d %s\n", i+1, a)
	}
	return fmt.Sprintf(`
defaults
  mode http
  timeout connect 2s
  timeout client %s
  timeout server %s
  timeout http-request %s
  timeout http-keep-alive 60s
  timeout queue 2s
  timeout tunnel %s
  retries %s
  option redispatch
  option forwardfor
  http-reuse always
frontend web
  bind fd@3
  acl admin path_dir /admin
  http-request deny deny_status 403 if admin
  default_backend app
backend app
%s`, s.client, s.server, s.request, s.tunnel, s.attempts, servers.String())
}

// start runs the proxy until the test is over and returns its address.
func start(t testing.TB, s setup) (addr string) {
	t.Helper()
	s.defaults()
	if os.Getenv("PROXY") == "haproxy" {
		return startHAProxy(t, s)
	}
	file := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(file, []byte(s.edge()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t), "run", "-c", file, "--drain", "1s")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	var said strings.Builder
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			line := lines.Text()
			said.WriteString(line + "\n")
			if _, after, ok := strings.Cut(line, "frontend=web address="); ok {
				found <- strings.TrimPrefix(strings.Fields(after)[0], "web=")
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		<-read
		err := cmd.Wait()
		if !timer.Stop() {
			t.Error("the proxy did not end when it was told to")
		}
		if err != nil || strings.Contains(said.String(), "panic") || strings.Contains(said.String(), "DATA RACE") {
			t.Errorf("the proxy ended with %v:\n%s", err, said.String())
		}
	})
	select {
	case addr = <-found:
	case <-read:
		t.Fatalf("the proxy did not start:\n%s\n%s", said.String(), s.edge())
	case <-time.After(30 * time.Second):
		t.Fatal("the proxy did not say where it listens")
	}
	return addr
}

// program is the binary under test, built once.
var built struct {
	sync.Once
	dir, file string
	err       error
}

func program(t testing.TB) string {
	if file := os.Getenv("EDGE"); file != "" {
		return file
	}
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "edge"); built.err != nil {
			return
		}
		built.file = filepath.Join(built.dir, "edge")
		out, err := exec.Command("go", "build", "-o", built.file, "github.com/approovia/edge/cmd/edge").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build the program: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.file
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// startHAProxy runs HAProxy on a socket that it inherits.
func startHAProxy(t testing.TB, s setup) string {
	if s.trusted != "" || s.log != "" {
		t.Skip("not to be had from HAProxy with this configuration")
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(s.haproxy()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	inherited, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "haproxy", "-db", "-f", file)
	cmd.ExtraFiles = []*os.File{inherited}
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	return l.Addr().String()
}
