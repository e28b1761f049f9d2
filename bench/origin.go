package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
)

// origin is what the proxies have behind them: two addresses, and a count of what reached them, which
// tells how many requests a proxy carried between any two moments.
type origin interface {
	servers() [2]string
	// requests is the number of requests since the start, checks and its own calls included.
	requests(context.Context) (int, error)
	stop() error
}

// small is the 13-byte answer.
const small = "Hello, world!"

// files is the origin of the GETs, an nginx.
type files struct {
	*process
	addrs  [2]string
	status string
}

func startFiles(ctx context.Context, nginx, dir string) (*files, error) {
	dir = filepath.Join(dir, "origin")
	for name, size := range map[string]int{path16k: 16 << 10, path1m: 1 << 20} {
		file := filepath.Join(dir, "www", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, fmt.Errorf("lay out the origin: %w", err)
		}
		if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcdef", size/16)), 0o644); err != nil {
			return nil, fmt.Errorf("lay out the origin: %w", err)
		}
	}
	var f files
	start := func(addrs []string) (*process, error) {
		f.addrs, f.status = [2]string{addrs[0], addrs[1]}, addrs[2]
		conf := filepath.Join(dir, "nginx.conf")
		text := nginxHead(dir) + fmt.Sprintf(`
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=10;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    default_type text/plain;
    server {
        listen %s backlog=4096;
        listen %s backlog=4096;
        root %s/www;
        location / { return 200 "%s"; }
        location = %s { return 200 "$http_x_forwarded_for|$http_x_static"; }
        location = %s { return 200 "$http_x_forwarded_for|$http_x_static"; }
        location = %s { }
        location = %s { }
    }
    server {
        listen %s;
        stub_status;
    }
}
`, addrs[0], addrs[1], dir, small, pathForwarded, pathStyle, path16k, path1m, addrs[2])
		return launch(ctx, dir, program{
			argv:  []string{nginx, "-p", dir, "-e", "stderr", "-c", conf},
			files: map[string]string{conf: text},
		}, addrs[0])
	}
	var err error
	if f.process, err = withPorts(3, start); err != nil {
		return nil, fmt.Errorf("start the origin: %w", err)
	}
	return &f, nil
}

func (f *files) servers() [2]string { return f.addrs }

func (f *files) requests(ctx context.Context) (int, error) {
	_, text, err := ask(ctx, f.status, "/", "")
	if err != nil {
		return 0, fmt.Errorf("ask the origin for its count: %w", err)
	}
	return parseStubStatus(text)
}

var stubCounts = regexp.MustCompile(`(?m)^ *\d+ +\d+ +(\d+) *$`)

// parseStubStatus reads the number of requests from what nginx's stub_status says.
func parseStubStatus(text string) (int, error) {
	counts := stubCounts.FindStringSubmatch(text)
	if counts == nil {
		return 0, fmt.Errorf("read the origin's count: none in %q", text)
	}
	return strconv.Atoi(counts[1])
}

// sink is the origin of the uploads: it answers once it has the whole body, which nginx without a server
// behind it does not.
type sink struct {
	addrs  [2]string
	server *http.Server
	count  atomic.Int64
}

func startSink() (*sink, error) {
	s := &sink{}
	s.server = &http.Server{Handler: s}
	for i := range s.addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start the origin of uploads: %w", err), s.stop())
		}
		s.addrs[i] = l.Addr().String()
		go s.server.Serve(l) // returns when stop closes the server
	}
	return s, nil
}

func (s *sink) servers() [2]string { return s.addrs }

func (s *sink) requests(context.Context) (int, error) { return int(s.count.Load()), nil }

func (s *sink) stop() error { return s.server.Close() }

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.count.Add(1)
	answer := small
	switch r.URL.Path {
	case pathUpload:
		answer = "ok"
	case pathForwarded, pathStyle:
		answer = strings.Join(r.Header.Values("X-Forwarded-For"), ", ") + "|" + r.Header.Get("X-Static")
	}
	io.WriteString(w, answer) // an error means the proxy has gone, and its side counts that
}
