package metrics

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/control"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// reporter is an operator that can only report.
type reporter struct {
	control.Operator
	report control.Report
	err    error
	taken  atomic.Int64
}

func (r *reporter) Report(context.Context) (*control.Report, error) {
	r.taken.Add(1)
	return &r.report, r.err
}

var now = time.Unix(1_700_000_100, 0)

func edge() *reporter {
	return &reporter{report: control.Report{
		Version: "1.2", Started: time.Unix(1_700_000_000, 0), Generation: 9, Loaded: time.Unix(1_700_000_050, 0),
		LastReload: control.ReloadResult{OK: true}, Reloads: 3, Refused: 1,
		Loops: []control.Loop{{Connections: 1, Exchanges: 2, Coroutines: 3, Panics: 4, Away: 5}, {Away: 6}},
		Frontends: []control.Frontend{{Name: "web", Connections: 1, ConnectionsTotal: 2, Requests: 21, BytesIn: 4, BytesOut: 5, Denied: 6, Errors: 7,
			Classes: control.Classes{C1xx: 1, C2xx: 2, C3xx: 3, C4xx: 4, C5xx: 5, Other: 6}}},
		Backends: []control.Backend{{Name: "service-a", Queue: 1, Inflight: 2, Requests: 3, NoServer: 4, BytesIn: 5, BytesOut: 6, Servers: []control.Server{
			{Name: "vm2", Status: control.StatusUp, Weight: 1, Inflight: 2, ConnsIdle: 4, Requests: 5, ConnsOpened: 6, ConnsReused: 7, Retries: 8, Redispatches: 9,
				ErrorsConnect: 10, ErrorsResponse: 11, BytesIn: 12, BytesOut: 13, Classes: control.Classes{C2xx: 5},
				Check: &control.Check{OK: true, Took: control.Seconds(1500 * time.Microsecond), Failures: 14, Transitions: 15}},
			{Name: "vm3", Status: control.StatusDown},
			{Name: "vm4", Status: control.StatusNoChecks},
		}}},
		Mesh: &control.MeshReport{Peers: []control.Peer{
			{Name: "vm2", LastHandshake: now.Add(-90 * time.Second), RxBytes: 1, TxBytes: 2},
			{Name: "vm3"},
			{Name: "vm4", LastHandshake: now.Add(time.Hour)},
		}},
		AccessLog: control.AccessLog{Written: 100, Dropped: 7},
	}}
}

func collectorOf(r *reporter) prometheus.Collector {
	return &collector{r, func() time.Time { return now }}
}

func TestTheMetricsSayWhatTheReportSays(t *testing.T) {
	t.Parallel()
	// Label order is alphabetical in what the registry gives.
	const want = `
# HELP edge_config_generation Grows by one with each reload and each runtime change.
# TYPE edge_config_generation gauge
edge_config_generation 9
# HELP edge_config_loaded_timestamp_seconds When the configuration in force was loaded, in seconds since 1970.
# TYPE edge_config_loaded_timestamp_seconds gauge
edge_config_loaded_timestamp_seconds 1.70000005e+09
# HELP edge_reload_success 1 if the last attempt to load the configuration succeeded, 0 if it was refused.
# TYPE edge_reload_success gauge
edge_reload_success 1
# HELP edge_log_dropped_lines_total Lines of the access log that were lost, as the writer was too slow or failed.
# TYPE edge_log_dropped_lines_total counter
edge_log_dropped_lines_total 7
# HELP edge_panics_total Exchanges that ended in a panic.
# TYPE edge_panics_total counter
edge_panics_total{loop="0"} 4
edge_panics_total{loop="1"} 0
# HELP edge_loop_away_total Times the event loop did not look at its events for over 10 ms.
# TYPE edge_loop_away_total counter
edge_loop_away_total{loop="0"} 5
edge_loop_away_total{loop="1"} 6
# HELP edge_frontend_requests_total Requests answered, by the class of the status.
# TYPE edge_frontend_requests_total counter
edge_frontend_requests_total{code_class="1xx",frontend="web"} 1
edge_frontend_requests_total{code_class="2xx",frontend="web"} 2
edge_frontend_requests_total{code_class="3xx",frontend="web"} 3
edge_frontend_requests_total{code_class="4xx",frontend="web"} 4
edge_frontend_requests_total{code_class="5xx",frontend="web"} 5
edge_frontend_requests_total{code_class="other",frontend="web"} 6
# HELP edge_backend_active_servers Servers of the backend that take new requests.
# TYPE edge_backend_active_servers gauge
edge_backend_active_servers{backend="service-a"} 2
# HELP edge_server_up 1 if the server takes new requests: ready, and up or without checks.
# TYPE edge_server_up gauge
edge_server_up{backend="service-a",server="vm2"} 1
edge_server_up{backend="service-a",server="vm3"} 0
edge_server_up{backend="service-a",server="vm4"} 1
# HELP edge_server_inflight Requests and tunnels that the server is working on.
# TYPE edge_server_inflight gauge
edge_server_inflight{backend="service-a",server="vm2"} 2
edge_server_inflight{backend="service-a",server="vm3"} 0
edge_server_inflight{backend="service-a",server="vm4"} 0
# HELP edge_server_check_duration_seconds How long the last health check took.
# TYPE edge_server_check_duration_seconds gauge
edge_server_check_duration_seconds{backend="service-a",server="vm2"} 0.0015
# HELP edge_server_check_failures_total Health checks that were bad.
# TYPE edge_server_check_failures_total counter
edge_server_check_failures_total{backend="service-a",server="vm2"} 14
# HELP edge_mesh_handshake_age_seconds Time since the last handshake with the peer; absent if there was none.
# TYPE edge_mesh_handshake_age_seconds gauge
edge_mesh_handshake_age_seconds{peer="vm2"} 90
edge_mesh_handshake_age_seconds{peer="vm4"} 0
# HELP edge_mesh_received_bytes_total Encrypted bytes received from the peer.
# TYPE edge_mesh_received_bytes_total counter
edge_mesh_received_bytes_total{peer="vm2"} 1
edge_mesh_received_bytes_total{peer="vm3"} 0
edge_mesh_received_bytes_total{peer="vm4"} 0
`
	var names []string
	for line := range strings.Lines(want) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	if err := testutil.CollectAndCompare(collectorOf(edge()), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// Every number of a server is different in the example: two families that read the same field, or none, are seen.
func TestEachFamilyOfAServerReadsItsOwnField(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]float64{
		"edge_server_weight": 1, "edge_server_inflight": 2, "edge_server_idle_connections": 4,
		"edge_server_requests_sent_total": 5, "edge_server_connections_opened_total": 6, "edge_server_connections_reused_total": 7,
		"edge_server_retries_total": 8, "edge_server_redispatches_total": 9, "edge_server_connection_errors_total": 10,
		"edge_server_response_errors_total": 11, "edge_server_bytes_in_total": 12, "edge_server_bytes_out_total": 13,
		"edge_server_check_failures_total": 14, "edge_server_check_up_down_total": 15,
		"edge_frontend_current_connections": 1, "edge_frontend_connections_total": 2, "edge_frontend_requests_received_total": 21,
		"edge_frontend_bytes_in_total": 4, "edge_frontend_bytes_out_total": 5, "edge_frontend_requests_denied_total": 6, "edge_frontend_request_errors_total": 7,
		"edge_backend_current_queue": 1, "edge_backend_inflight": 2, "edge_backend_requests_received_total": 3, "edge_backend_no_server_total": 4,
		"edge_backend_bytes_in_total": 5, "edge_backend_bytes_out_total": 6,
		"edge_loop_connections": 1, "edge_loop_exchanges": 2, "edge_loop_coroutines": 3, "edge_panics_total": 4, "edge_loop_away_total": 5,
		"edge_reloads_total": 3, "edge_reloads_refused_total": 1, "edge_log_written_lines_total": 100, "edge_draining": 0, "edge_start_time_seconds": 1_700_000_000,
		"edge_mesh_received_bytes_total": 1, "edge_mesh_sent_bytes_total": 2, "edge_build_info": 1, "edge_server_check_ok": 1,
	} {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(collectorOf(edge()))
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range all {
			if f.GetName() != name {
				continue
			}
			found = true
			m := f.GetMetric()[0]
			if got := m.GetGauge().GetValue() + m.GetCounter().GetValue(); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if !found {
			t.Errorf("no %s", name)
		}
	}
}

func TestTheMetricsAreCleanAndFromOneReport(t *testing.T) {
	t.Parallel()
	r := edge()
	problems, err := testutil.CollectAndLint(collectorOf(r))
	if err != nil || len(problems) != 0 {
		t.Error(problems, err)
	}
	if n := r.taken.Load(); n != 1 {
		t.Errorf("%d reports for one scrape", n)
	}
	r.report.Mesh = nil
	if n := testutil.CollectAndCount(collectorOf(r), "edge_mesh_sent_bytes_total"); n != 0 {
		t.Errorf("%d peers without a mesh", n)
	}
}

func get(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestThreePagesAndNoMore(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	s := httptest.NewServer(Handler(edge(), ready.Load))
	t.Cleanup(s.Close)
	for _, c := range []struct {
		method, path string
		ready        bool
		status       int
		want         string
	}{
		{"GET", "/metrics", false, 200, `edge_server_up{backend="service-a",server="vm2"} 1`},
		{"GET", "/metrics", false, 200, "go_goroutines "},
		{"GET", "/metrics?x=1", false, 200, "process_open_fds "},
		{"HEAD", "/metrics", false, 200, ""},
		{"GET", "/healthz", false, 200, "ok\n"},
		{"HEAD", "/healthz", false, 200, ""},
		{"GET", "/readyz", false, 503, "not ready\n"},
		{"GET", "/readyz", true, 200, "ok\n"},
		{"GET", "/readyz", false, 503, "not ready\n"}, // draining
		{"POST", "/metrics", true, 405, "method not allowed\n"},
		{"DELETE", "/healthz", true, 405, "method not allowed\n"},
		{"GET", "/", true, 404, "not found\n"},
		{"GET", "/metrics/", true, 404, "not found\n"},
		{"GET", "//metrics", true, 404, "not found\n"},
		{"GET", "/debug/pprof/", true, 404, "not found\n"},
		{"POST", "/v1/reload", true, 404, "not found\n"},
	} {
		ready.Store(c.ready)
		status, body := get(t, c.method, s.URL+c.path)
		if status != c.status || !strings.Contains(body, c.want) || c.method == "HEAD" && body != "" {
			t.Errorf("%s %s: %d %.300q, want %d %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
}

func TestAReportThatFailsFailsTheScrape(t *testing.T) {
	t.Parallel()
	r := edge()
	r.err = errors.New("no report today")
	s := httptest.NewServer(Handler(r, func() bool { return true }))
	t.Cleanup(s.Close)
	if status, body := get(t, "GET", s.URL+"/metrics"); status != 500 || !strings.Contains(body, "no report today") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, "GET", s.URL+"/healthz"); status != 200 {
		t.Errorf("healthz %d", status)
	}
}
