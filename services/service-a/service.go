// Code generated from ../service/service.go by its tests; DO NOT EDIT.

// Package service answers: what does a small service behind the edge look like? It greets, tells its
// health and version, says which node answered, and stops without losing a request. It knows nothing of
// the edge. service-a and service-b are this file under two names.
//
// Each service's folder must be a whole build context (`docker build services/service-a`), so the folders
// carry a copy of this file, which `go test ./services/service -update` writes and the tests hold to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// drain is how long Run lets requests finish after its context ended; below the 30 s after which
	// a container engine kills.
	drain = 25 * time.Second
	// headerTimeout bounds how long a client may take to send a request's head.
	headerTimeout = 10 * time.Second
)

// Handler answers "Hello from NAME" on every path but /healthz ("ok") and /version (the version), all
// text/plain, newline terminated, status 200. The X-Node header of every answer is node.
// It is safe for concurrent use.
func Handler(name, node, version string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := "Hello from " + name + "\n"
		switch r.URL.Path {
		case "/healthz":
			body = "ok\n"
		case "/version":
			body = version + "\n"
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Node", node)
		io.WriteString(w, body) // an error means the client has gone: nobody is left to tell
	})
}

// Run serves h on l until ctx ends, then closes l, lets the requests under way finish for up to 25
// seconds, and returns nil if all of them did.
func Run(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	// The requests under way outlive ctx: that is what the drain is for.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("drain %s: %w", l.Addr(), err), server.Close())
	}
	return nil
}

// Main is the whole program of the service called name: it listens on port PORT (8080 by default) of
// all addresses, takes its node's name from NODE (the host's by default), and drains on SIGTERM or
// SIGINT. With -health it asks a running instance for /healthz instead, which is what a container's
// health check calls. It returns the exit status: 0 well, 1 failed, 2 wrong usage.
func Main(name, version string) int {
	flags := flag.NewFlagSet(os.Args[0], flag.ContinueOnError)
	health := flags.Bool("health", false, "ask the running service for its health and exit")
	if err := flags.Parse(os.Args[1:]); err != nil || flags.NArg() > 0 {
		return 2
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	act := serve
	if *health {
		act = ask
	}
	if err := act(name, version, port); err != nil {
		slog.Error("stopped", "service", name, "error", err)
		return 1
	}
	return 0
}

func serve(name, version, port string) error {
	node := os.Getenv("NODE")
	if node == "" {
		var err error
		if node, err = os.Hostname(); err != nil {
			return fmt.Errorf("name this node: %w", err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return fmt.Errorf("listen on port %s: %w", port, err)
	}
	slog.Info("listening", "service", name, "version", version, "node", node, "address", l.Addr().String())
	return Run(ctx, l, Handler(name, node, version))
}

func ask(_, _, port string) error {
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", port) + "/healthz")
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for health: answered %s", answer.Status)
	}
	return nil
}
