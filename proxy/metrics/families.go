package metrics

import (
	"github.com/approovia/edge/proxy/control"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// The labels that name things.
var (
	byLoop     = []string{"loop"}
	byFrontend = []string{"frontend"}
	byBackend  = []string{"backend"}
	byServer   = []string{"backend", "server"}
	byPeer     = []string{"peer"}
)

func and(fields []string, more string) []string {
	return append(fields[:len(fields):len(fields)], more)
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// process is what there is one of.
var process = []family[control.Report]{
	each(gauge, "build_info", "Version of the running program; always 1.", []string{"version"},
		func(r *control.Report, emit func(float64, ...string)) { emit(1, r.Version) }),
	value(gauge, "start_time_seconds", "When the process started, in seconds since 1970.", nil,
		func(r *control.Report) float64 { return float64(r.Started.UnixMilli()) / 1e3 }),
	value(gauge, "config_generation", "Grows by one with each reload and each runtime change.", nil,
		func(r *control.Report) float64 { return float64(r.Generation) }),
	value(gauge, "config_loaded_timestamp_seconds", "When the configuration in force was loaded, in seconds since 1970.", nil,
		func(r *control.Report) float64 { return float64(r.Loaded.UnixMilli()) / 1e3 }),
	value(gauge, "reload_success", "1 if the last attempt to load the configuration succeeded, 0 if it was refused.", nil,
		func(r *control.Report) float64 { return yes(r.LastReload.OK) }),
	value(counter, "reloads_total", "Attempts to load the configuration.", nil,
		func(r *control.Report) float64 { return float64(r.Reloads) }),
	value(counter, "reloads_refused_total", "Attempts to load the configuration that were refused.", nil,
		func(r *control.Report) float64 { return float64(r.Refused) }),
	value(gauge, "draining", "1 while the process is on its way out.", nil,
		func(r *control.Report) float64 { return yes(r.Draining) }),
	value(counter, "log_written_lines_total", "Lines of the access log that were written.", nil,
		func(r *control.Report) float64 { return float64(r.AccessLog.Written) }),
	value(counter, "log_dropped_lines_total", "Lines of the access log that were lost, as the writer was too slow or failed.", nil,
		func(r *control.Report) float64 { return float64(r.AccessLog.Dropped) }),
}

var loops = []family[control.Loop]{
	value(gauge, "loop_connections", "Open connections of the event loop, to clients and to servers.", byLoop,
		func(l *control.Loop) float64 { return float64(l.Connections) }),
	value(gauge, "loop_exchanges", "Exchanges under way on the event loop.", byLoop,
		func(l *control.Loop) float64 { return float64(l.Exchanges) }),
	value(gauge, "loop_coroutines", "Coroutines of the event loop, lent and waiting.", byLoop,
		func(l *control.Loop) float64 { return float64(l.Coroutines) }),
	value(counter, "panics_total", "Exchanges that ended in a panic.", byLoop,
		func(l *control.Loop) float64 { return float64(l.Panics) }),
	value(counter, "loop_away_total", "Times the event loop did not look at its events for over 10 ms.", byLoop,
		func(l *control.Loop) float64 { return float64(l.Away) }),
}

var frontends = []family[control.Frontend]{
	value(gauge, "frontend_current_connections", "Client connections open now.", byFrontend,
		func(f *control.Frontend) float64 { return float64(f.Connections) }),
	value(counter, "frontend_connections_total", "Client connections accepted.", byFrontend,
		func(f *control.Frontend) float64 { return float64(f.ConnectionsTotal) }),
	each(counter, "frontend_requests_total", "Requests answered, by the class of the status.", and(byFrontend, "code_class"),
		func(f *control.Frontend, emit func(float64, ...string)) {
			f.Classes.Each(func(class string, n uint64) { emit(float64(n), class) })
		}),
	value(counter, "frontend_requests_received_total", "Requests received, those not yet answered included.", byFrontend,
		func(f *control.Frontend) float64 { return float64(f.Requests) }),
	value(counter, "frontend_bytes_in_total", "Bytes received from clients.", byFrontend,
		func(f *control.Frontend) float64 { return float64(f.BytesIn) }),
	value(counter, "frontend_bytes_out_total", "Bytes sent to clients.", byFrontend,
		func(f *control.Frontend) float64 { return float64(f.BytesOut) }),
	value(counter, "frontend_requests_denied_total", "Requests refused by a rule.", byFrontend,
		func(f *control.Frontend) float64 { return float64(f.Denied) }),
	value(counter, "frontend_request_errors_total", "Requests that could not be read.", byFrontend,
		func(f *control.Frontend) float64 { return float64(f.Errors) }),
}

var backends = []family[control.Backend]{
	value(gauge, "backend_current_queue", "Requests waiting for any server of the backend.", byBackend,
		func(b *control.Backend) float64 { return float64(b.Queue) }),
	value(gauge, "backend_inflight", "Requests and tunnels of the backend under way.", byBackend,
		func(b *control.Backend) float64 { return float64(b.Inflight) }),
	value(gauge, "backend_active_servers", "Servers of the backend that take new requests.", byBackend,
		func(b *control.Backend) (n float64) {
			for i := range b.Servers {
				n += yes(b.Servers[i].Status.Usable())
			}
			return n
		}),
	each(counter, "backend_requests_total", "Requests answered, by the class of the status.", and(byBackend, "code_class"),
		func(b *control.Backend, emit func(float64, ...string)) {
			b.Classes.Each(func(class string, n uint64) { emit(float64(n), class) })
		}),
	value(counter, "backend_requests_received_total", "Requests that came to the backend, those not yet answered included.", byBackend,
		func(b *control.Backend) float64 { return float64(b.Requests) }),
	value(counter, "backend_no_server_total", "Requests answered 503 as no server could take them.", byBackend,
		func(b *control.Backend) float64 { return float64(b.NoServer) }),
	value(counter, "backend_bytes_in_total", "Bytes of the requests, as received from clients.", byBackend,
		func(b *control.Backend) float64 { return float64(b.BytesIn) }),
	value(counter, "backend_bytes_out_total", "Bytes of the answers, as sent to clients.", byBackend,
		func(b *control.Backend) float64 { return float64(b.BytesOut) }),
}

var servers = []family[control.Server]{
	value(gauge, "server_up", "1 if the server takes new requests: ready, and up or without checks.", byServer,
		func(s *control.Server) float64 { return yes(s.Status.Usable()) }),
	each(gauge, "server_status", "1 for the status that the server has, 0 for the others.", and(byServer, "state"),
		func(s *control.Server, emit func(float64, ...string)) {
			for _, status := range control.ServerStatuses {
				emit(yes(s.Status == status), string(status))
			}
		}),
	value(gauge, "server_weight", "Weight of the server.", byServer,
		func(s *control.Server) float64 { return float64(s.Weight) }),
	value(gauge, "server_inflight", "Requests and tunnels that the server is working on.", byServer,
		func(s *control.Server) float64 { return float64(s.Inflight) }),
	value(gauge, "server_idle_connections", "Idle connections kept to the server.", byServer,
		func(s *control.Server) float64 { return float64(s.ConnsIdle) }),
	each(counter, "server_requests_total", "Requests answered, by the class of the status.", and(byServer, "code_class"),
		func(s *control.Server, emit func(float64, ...string)) {
			s.Classes.Each(func(class string, n uint64) { emit(float64(n), class) })
		}),
	value(counter, "server_requests_sent_total", "Requests sent to the server, those not yet answered included.", byServer,
		func(s *control.Server) float64 { return float64(s.Requests) }),
	value(counter, "server_connections_opened_total", "Connections opened to the server.", byServer,
		func(s *control.Server) float64 { return float64(s.ConnsOpened) }),
	value(counter, "server_connections_reused_total", "Requests sent on an idle connection.", byServer,
		func(s *control.Server) float64 { return float64(s.ConnsReused) }),
	value(counter, "server_retries_total", "Attempts repeated after a failure of the server.", byServer,
		func(s *control.Server) float64 { return float64(s.Retries) }),
	value(counter, "server_redispatches_total", "Requests that went to another server after a failure of this one.", byServer,
		func(s *control.Server) float64 { return float64(s.Redispatches) }),
	value(counter, "server_connection_errors_total", "Connections to the server that could not be opened.", byServer,
		func(s *control.Server) float64 { return float64(s.ErrorsConnect) }),
	value(counter, "server_response_errors_total", "Responses of the server that were broken or did not come.", byServer,
		func(s *control.Server) float64 { return float64(s.ErrorsResponse) }),
	value(counter, "server_bytes_in_total", "Bytes of the requests, as received from clients.", byServer,
		func(s *control.Server) float64 { return float64(s.BytesIn) }),
	value(counter, "server_bytes_out_total", "Bytes of the answers, as sent to clients.", byServer,
		func(s *control.Server) float64 { return float64(s.BytesOut) }),
	checked(gauge, "server_check_ok", "1 if the last health check was good.",
		func(c *control.Check) float64 { return yes(c.OK) }),
	checked(gauge, "server_check_duration_seconds", "How long the last health check took.",
		func(c *control.Check) float64 { return c.Took.Float() }),
	checked(counter, "server_check_failures_total", "Health checks that were bad.",
		func(c *control.Check) float64 { return float64(c.Failures) }),
	checked(counter, "server_check_up_down_total", "Times the server went from up to down.",
		func(c *control.Check) float64 { return float64(c.Transitions) }),
}

// checked makes a family of the servers that are checked.
func checked(kind prometheus.ValueType, name, help string, read func(*control.Check) float64) family[control.Server] {
	return each(kind, name, help, byServer, func(s *control.Server, emit func(float64, ...string)) {
		if s.Check != nil {
			emit(read(s.Check))
		}
	})
}

var peers = []family[control.Peer]{
	value(counter, "mesh_received_bytes_total", "Encrypted bytes received from the peer.", byPeer,
		func(p *control.Peer) float64 { return float64(p.RxBytes) }),
	value(counter, "mesh_sent_bytes_total", "Encrypted bytes sent to the peer.", byPeer,
		func(p *control.Peer) float64 { return float64(p.TxBytes) }),
}

// handshakeAge needs a clock, and so stands outside of the table.
var handshakeAge = prometheus.NewDesc("edge_mesh_handshake_age_seconds",
	"Time since the last handshake with the peer; absent if there was none.", byPeer, nil)
