package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests; none of them waits that long when all is well.
const patience = 20 * time.Second

func TestTheHandlerGreetsOnEveryPathButItsOwnTwo(t *testing.T) {
	t.Parallel()
	h := Handler("A", "vm2", "v1.2.3")
	for path, want := range map[string]string{
		"/":                  "Hello from A\n",
		"/service-a":         "Hello from A\n",
		"/service-a/healthz": "Hello from A\n",
		"/a/b?c=d":           "Hello from A\n",
		"/healthz":           "ok\n",
		"/version":           "v1.2.3\n",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d %q, want 200 %q", path, w.Code, w.Body, want)
		}
		if node, kind := w.Header().Get("X-Node"), w.Header().Get("Content-Type"); node != "vm2" || kind != "text/plain; charset=utf-8" {
			t.Errorf("%s: X-Node %q, Content-Type %q", path, node, kind)
		}
	}
}

func TestRunLetsTheRequestUnderWayFinish(t *testing.T) {
	t.Parallel()
	l := &announcingListener{Listener: listen(t), closed: make(chan struct{})}
	entered, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "late")
	})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- Run(ctx, l, h) }()

	answered := make(chan string, 1)
	go func() {
		body, err := get("http://" + l.Addr().String() + "/")
		answered <- body + errorText(err)
	}()
	<-entered
	stop()
	<-l.closed
	select {
	case err := <-ran:
		t.Fatalf("Run returned %v with a request under way", err)
	default:
	}
	close(release)
	if got := <-answered; got != "late" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

func TestRunReportsAListenerThatFails(t *testing.T) {
	t.Parallel()
	l := listen(t)
	l.Close()
	if err := Run(t.Context(), l, Handler("A", "n", "v")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

func TestEachServiceBuiltAloneServesAnswersItsHealthCheckAndStopsOnSIGTERM(t *testing.T) {
	t.Parallel()
	for _, f := range folders {
		t.Run(f.dir, func(t *testing.T) {
			t.Parallel()
			binary := build(t, f.dir, "v9")

			// The kernel chooses the port and the log line says which.
			service := exec.Command(binary)
			service.Env = append(os.Environ(), "PORT=0", "NODE=vm7")
			log, err := service.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := service.Start(); err != nil {
				t.Fatal(err)
			}
			defer service.Process.Kill()
			watchdog := time.AfterFunc(patience, func() { service.Process.Kill() })
			defer watchdog.Stop()
			line, err := bufio.NewReader(log).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			port := regexp.MustCompile(`address=\S*:(\d+)`).FindStringSubmatch(line)
			if port == nil {
				t.Fatalf("no port in %q", line)
			}

			base := "http://127.0.0.1:" + port[1]
			for path, want := range map[string]string{"/any": f.greeting, "/healthz": "ok\n", "/version": "v9\n"} {
				if got, err := get(base + path); err != nil || got != want {
					t.Errorf("%s: %q %v, want %q", path, got, err, want)
				}
			}
			if out, err := health(binary, port[1]); err != nil {
				t.Errorf("-health of a running service: %v %s", err, out)
			}
			if err := service.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := service.Wait(); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
			if _, err := health(binary, port[1]); exitStatus(err) != 1 {
				t.Errorf("-health of a stopped service: %v, want exit status 1", err)
			}
			if err := exec.Command(binary, "-nonsense").Run(); exitStatus(err) != 2 {
				t.Errorf("-nonsense: %v, want exit status 2", err)
			}
		})
	}
}

func health(binary, port string) ([]byte, error) {
	cmd := exec.Command(binary, "-health")
	cmd.Env = append(os.Environ(), "PORT="+port)
	return cmd.CombinedOutput()
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// announcingListener says when it was closed, which Run does first of all when it stops.
type announcingListener struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
}

func (l *announcingListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func get(url string) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
