// Command stdproxy answers: what would the standard library's httputil.ReverseProxy cost for the
// benchmark's job? It is the yardstick on the far side of HAProxy, not a proxy to use.
//
//	stdproxy -listen HOST:PORT -stats HOST:PORT [-log FILE] [-health PATH] SERVER SERVER
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "", "address to serve, HOST:PORT")
	stats := flag.String("stats", "", "address of the statistics, HOST:PORT")
	logFile := flag.String("log", "", "file of the access log; none if empty")
	health := flag.String("health", "/healthz", "path asked every 2 s of each server")
	flag.Parse()
	runtime.GOMAXPROCS(2)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *listen, *stats, *logFile, *health, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// proxy is the job: rules, two routes to one pool of servers, counters, an access log.
type proxy struct {
	servers  []*server
	turn     atomic.Uint64
	requests atomic.Uint64
	denied   atomic.Uint64
	forward  *httputil.ReverseProxy
	log      *accessLog
}

type server struct {
	url *url.URL
	up  atomic.Bool
}

func run(ctx context.Context, listen, stats, logFile, health string, addrs []string) error {
	p := &proxy{}
	for _, addr := range addrs {
		s := &server{url: &url.URL{Scheme: "http", Host: addr}}
		s.up.Store(true)
		p.servers = append(p.servers, s)
	}
	if len(p.servers) == 0 {
		return errors.New("no server named")
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite: p.rewrite,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 8000,
			DisableCompression:  true,
		},
	}
	if logFile != "" {
		f, err := os.Create(logFile)
		if err != nil {
			return fmt.Errorf("open the access log: %w", err)
		}
		p.log = &accessLog{out: bufio.NewWriterSize(f, 32<<10)}
		go p.log.flushEverySecond(ctx)
	}
	for _, s := range p.servers {
		go s.check(ctx, health)
	}
	counters := &http.Server{Addr: stats, Handler: http.HandlerFunc(p.counters)}
	front := &http.Server{Addr: listen, Handler: p, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 2)
	for _, s := range []*http.Server{counters, front} {
		go func() { failed <- s.ListenAndServe() }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return p.log.flush()
	}
}

var office = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16")}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	start := time.Now()
	counted := &answer{ResponseWriter: w, status: http.StatusOK}
	if p.allowed(r) {
		if hasAnySuffix(r.URL.Path, ".css", ".js", ".png") {
			r.Header.Set("X-Static", "1")
		}
		p.forward.ServeHTTP(counted, r)
	} else {
		p.denied.Add(1)
		counted.WriteHeader(http.StatusForbidden)
	}
	if p.log != nil {
		p.log.line(r, counted, start)
	}
}

func (p *proxy) allowed(r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, "/admin") {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return false
		}
		inside := false
		for _, prefix := range office {
			inside = inside || prefix.Contains(from.Addr().Unmap())
		}
		if !inside {
			return false
		}
	}
	return !strings.Contains(strings.ToLower(r.UserAgent()), "evilbot")
}

func hasAnySuffix(s string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

func (p *proxy) rewrite(r *httputil.ProxyRequest) {
	for range p.servers { // the next server that is up, or any
		s := p.servers[p.turn.Add(1)%uint64(len(p.servers))]
		r.SetURL(s.url)
		if s.up.Load() {
			break
		}
	}
	r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	r.SetXForwarded()
}

func (p *proxy) counters(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "requests %d\ndenied %d\n", p.requests.Load(), p.denied.Load())
}

func (s *server) check(ctx context.Context, path string) {
	client := http.Client{Timeout: 2 * time.Second}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		got, err := client.Get(s.url.JoinPath(path).String())
		if err == nil {
			got.Body.Close()
		}
		s.up.Store(err == nil && got.StatusCode < 400)
	}
}

// answer counts what goes to the client, for the log.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

type accessLog struct {
	mu  sync.Mutex
	out *bufio.Writer
}

func (l *accessLog) line(r *http.Request, a *answer, start time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s [%s] %q %d %d %d\n", r.RemoteAddr, start.Format("02/Jan/2006:15:04:05.000"),
		r.Method+" "+r.RequestURI+" "+r.Proto, a.status, a.bytes, time.Since(start).Milliseconds())
}

func (l *accessLog) flushEverySecond(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.flush(); err != nil {
			log.Print(err)
		}
	}
}

// flush writes out what is buffered; a log that is off has nothing.
func (l *accessLog) flush() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Flush()
}
