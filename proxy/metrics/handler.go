package metrics

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/approovia/edge/proxy/control"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves /metrics (the edge_ metrics with those of Go and of the process), /healthz (200 while the process lives) and
// /readyz (200 while ready says so, 503 before and while draining). There is nothing else, and only GET and HEAD. A failed scrape
// answers 500 and is logged to slog.Default().
func Handler(op control.Operator, ready func() bool) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(op), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	pages := map[string]http.Handler{
		"/metrics": promhttp.HandlerFor(registry, promhttp.HandlerOpts{
			ErrorLog:            slog.NewLogLogger(slog.Default().Handler(), slog.LevelError),
			EnableOpenMetrics:   true,
			MaxRequestsInFlight: 4, // whoever asks more often than that is not monitoring
			Timeout:             2 * scrapeLimit,
		}),
		"/healthz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok\n") }),
		"/readyz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if ready() {
				say(w, http.StatusOK, "ok\n")
			} else {
				say(w, http.StatusServiceUnavailable, "not ready\n")
			}
		}),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.EscapedPath()]
		switch {
		case !ok:
			say(w, http.StatusNotFound, "not found\n")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			say(w, http.StatusMethodNotAllowed, "method not allowed\n")
		default:
			page.ServeHTTP(w, r)
		}
	})
}

func say(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // an error means that the client has gone
}
