package control

import "time"

// Report is the whole state at about one moment. Counters only ever grow while the process lives; a reload keeps those of frontends,
// backends and servers whose names stay. Bytes are bytes, times in JSON are RFC 3339 or seconds.
type Report struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Uptime  Seconds   `json:"uptime_seconds"`

	Generation   uint64       `json:"generation"` // grows by one with each reload and each runtime change
	Draining     bool         `json:"draining"`   // the process is on its way out
	ConfigFile   string       `json:"config_file"`
	ConfigDigest string       `json:"config_digest"` // SHA-256 of every file read, hexadecimal
	Loaded       time.Time    `json:"loaded"`        // when the configuration in force was loaded
	LastReload   ReloadResult `json:"last_reload"`   // the last attempt, be it refused; the first load counts as one
	Reloads      uint64       `json:"reloads"`       // attempts
	Refused      uint64       `json:"reloads_refused"`

	Loops     []Loop      `json:"loops"`
	Frontends []Frontend  `json:"frontends"`
	Backends  []Backend   `json:"backends"`
	Mesh      *MeshReport `json:"mesh,omitempty"`
	AccessLog AccessLog   `json:"access_log"`
	Process   Process     `json:"process"`
}

// Loop is one event loop.
type Loop struct {
	Connections int    `json:"connections"` // open now, clients and servers
	Exchanges   int    `json:"exchanges"`   // under way now
	Coroutines  int    `json:"coroutines"`  // made, lent or waiting to be lent
	Panics      uint64 `json:"panics"`      // exchanges that ended in a panic
	Away        uint64 `json:"away"`        // times the loop did not look at its events for over 10 ms
}

// Frontend is one frontend over all its binds and loops.
type Frontend struct {
	Name             string   `json:"name"`
	Binds            []string `json:"binds"`
	Connections      int      `json:"connections"` // open now
	ConnectionsTotal uint64   `json:"connections_total"`
	Requests         uint64   `json:"requests"`
	Classes          Classes  `json:"responses"`
	BytesIn          uint64   `json:"bytes_in"` // from clients
	BytesOut         uint64   `json:"bytes_out"`
	Denied           uint64   `json:"denied"` // requests refused by a rule
	Errors           uint64   `json:"errors"` // requests that could not be read: malformed, too large, timed out
}

// Classes counts responses by the first digit of their status.
type Classes struct {
	C1xx  uint64 `json:"1xx"`
	C2xx  uint64 `json:"2xx"`
	C3xx  uint64 `json:"3xx"`
	C4xx  uint64 `json:"4xx"`
	C5xx  uint64 `json:"5xx"`
	Other uint64 `json:"other"` // no status at all, or 600 and above
}

// Count adds n responses of a status.
func (c *Classes) Count(status int, n uint64) {
	switch status / 100 {
	case 1:
		c.C1xx += n
	case 2:
		c.C2xx += n
	case 3:
		c.C3xx += n
	case 4:
		c.C4xx += n
	case 5:
		c.C5xx += n
	default:
		c.Other += n
	}
}

// Each calls f for every class with the name it has in HAProxy's statistics.
func (c *Classes) Each(f func(name string, n uint64)) {
	f("1xx", c.C1xx)
	f("2xx", c.C2xx)
	f("3xx", c.C3xx)
	f("4xx", c.C4xx)
	f("5xx", c.C5xx)
	f("other", c.Other)
}

// Backend is one backend and its servers.
type Backend struct {
	Name     string   `json:"name"`
	Balance  string   `json:"balance"`
	Queue    int      `json:"queue"` // requests waiting for any of its servers now
	Inflight int      `json:"inflight"`
	Requests uint64   `json:"requests"`
	Classes  Classes  `json:"responses"`
	BytesIn  uint64   `json:"bytes_in"`
	BytesOut uint64   `json:"bytes_out"`
	NoServer uint64   `json:"no_server"` // requests answered 503 because no server could take them
	Servers  []Server `json:"servers"`
}

// ServerStatus is what a server is worth to the balancer: operator's wish and health in one word.
type ServerStatus string

// The statuses.
const (
	StatusUp       ServerStatus = "up"
	StatusDown     ServerStatus = "down"
	StatusDrain    ServerStatus = "drain"
	StatusMaint    ServerStatus = "maint"
	StatusNoChecks ServerStatus = "no check" // ready, and taken to be up because nothing checks it
)

// ServerStatuses lists them all.
var ServerStatuses = []ServerStatus{StatusUp, StatusDown, StatusDrain, StatusMaint, StatusNoChecks}

// Usable says whether a server of this status takes new requests.
func (s ServerStatus) Usable() bool { return s == StatusUp || s == StatusNoChecks }

// Server is one server over all loops.
type Server struct {
	Name     string        `json:"name"`
	Address  string        `json:"address"`
	Status   ServerStatus  `json:"status"`
	Operator OperatorState `json:"operator_state"`
	Changed  bool          `json:"changed"` // differs from the configuration by a runtime change
	Healthy  bool          `json:"healthy"` // what the checks say, true without checks
	Since    time.Time     `json:"since"`   // of Status
	Check    *Check        `json:"check,omitempty"`

	Weight  int  `json:"weight"`
	Maxconn int  `json:"maxconn"` // 0 = no limit
	Backup  bool `json:"backup"`

	Inflight int `json:"inflight"` // requests and tunnels now

	Requests       uint64  `json:"requests"`
	Classes        Classes `json:"responses"`
	ConnsOpened    uint64  `json:"conns_opened"`
	ConnsReused    uint64  `json:"conns_reused"` // requests sent on an idle connection
	ConnsIdle      int     `json:"conns_idle"`
	Retries        uint64  `json:"retries"`
	Redispatches   uint64  `json:"redispatches"` // requests that went to another server after this one failed
	ErrorsConnect  uint64  `json:"errors_connect"`
	ErrorsResponse uint64  `json:"errors_response"`
	BytesIn        uint64  `json:"bytes_in"`  // of the requests, as received from clients
	BytesOut       uint64  `json:"bytes_out"` // of the answers, as sent to clients
}

// Check is a server's health check: its last result and its history.
type Check struct {
	Status      string    `json:"status"`         // HAProxy's names: INI, L4OK, L4TOUT, L4CON, L7OK, L7STS, L7TOUT, L7RSP, ...
	OK          bool      `json:"ok"`             // the last result was good
	Code        int       `json:"code,omitempty"` // HTTP status, if it got that far
	Took        Seconds   `json:"took_seconds"`
	At          time.Time `json:"at"`
	Why         string    `json:"why,omitempty"`
	Failures    uint64    `json:"failures"`    // bad results
	Transitions uint64    `json:"transitions"` // up to down
}

// MeshReport is the state of this node's tunnels.
type MeshReport struct {
	PublicKey  string `json:"public_key"` // base64
	Address    string `json:"address"`    // own address in the mesh, with prefix length
	ListenPort int    `json:"listen_port"`
	Peers      []Peer `json:"peers"`
}

// Peer is one peer of the mesh.
type Peer struct {
	Name          string    `json:"name"`
	PublicKey     string    `json:"public_key"`              // base64
	Endpoint      string    `json:"endpoint"`                // where packets go now, "" if not known yet
	LastHandshake time.Time `json:"last_handshake,omitzero"` // zero: never
	RxBytes       uint64    `json:"rx_bytes"`                // received, encrypted, as on the wire
	TxBytes       uint64    `json:"tx_bytes"`                // sent, likewise
	AllowedIPs    []string  `json:"allowed_ips"`
	Keepalive     Seconds   `json:"keepalive_seconds"` // 0 = off
}

// AccessLog counts lines of the access log.
type AccessLog struct {
	Written uint64 `json:"written"`
	Dropped uint64 `json:"dropped"` // because the writer could not keep up, or failed
}

// Process is what the process takes of the machine.
type Process struct {
	MemoryBytes uint64 `json:"memory_bytes"` // resident
	HeapBytes   uint64 `json:"heap_bytes"`   // live objects of Go's heap
	OpenFDs     int    `json:"open_fds"`
	MaxFDs      int    `json:"max_fds"`
	Goroutines  int    `json:"goroutines"`
}

// Status is the report on one screen.
type Status struct {
	Version      string       `json:"version"`
	PID          int          `json:"pid"`
	Started      time.Time    `json:"started"`
	Uptime       Seconds      `json:"uptime_seconds"`
	Generation   uint64       `json:"generation"`
	Draining     bool         `json:"draining"`
	ConfigFile   string       `json:"config_file"`
	ConfigDigest string       `json:"config_digest"`
	Loaded       time.Time    `json:"loaded"`
	LastReload   ReloadResult `json:"last_reload"`

	Connections   int    `json:"connections"` // clients connected now
	Requests      uint64 `json:"requests"`
	Frontends     int    `json:"frontends"`
	Backends      int    `json:"backends"`
	Servers       int    `json:"servers"`
	ServersUsable int    `json:"servers_usable"`
	// Unserved names the backends without a usable server.
	Unserved   []string `json:"unserved"`
	LogDropped uint64   `json:"log_dropped"`
	Panics     uint64   `json:"panics"`
}

// Status sums the report up.
func (r *Report) Status() Status {
	s := Status{
		Version: r.Version, PID: r.PID, Started: r.Started, Uptime: r.Uptime,
		Generation: r.Generation, Draining: r.Draining, ConfigFile: r.ConfigFile, ConfigDigest: r.ConfigDigest,
		Loaded: r.Loaded, LastReload: r.LastReload,
		Frontends: len(r.Frontends), Backends: len(r.Backends), Unserved: []string{},
		LogDropped: r.AccessLog.Dropped,
	}
	for i := range r.Loops {
		s.Panics += r.Loops[i].Panics
	}
	for i := range r.Frontends {
		s.Connections += r.Frontends[i].Connections
		s.Requests += r.Frontends[i].Requests
	}
	for i := range r.Backends {
		usable := 0
		for j := range r.Backends[i].Servers {
			if r.Backends[i].Servers[j].Status.Usable() {
				usable++
			}
		}
		s.Servers += len(r.Backends[i].Servers)
		s.ServersUsable += usable
		if usable == 0 {
			s.Unserved = append(s.Unserved, r.Backends[i].Name)
		}
	}
	return s
}

// Server finds one server, or an error of kind ErrNotFound that suggests a name.
func (r *Report) Server(backend, server string) (*Server, error) {
	var names []string
	for i := range r.Backends {
		b := &r.Backends[i]
		if b.Name != backend {
			names = append(names, b.Name)
			continue
		}
		names = names[:0]
		for j := range b.Servers {
			if b.Servers[j].Name == server {
				return &b.Servers[j], nil
			}
			names = append(names, b.Servers[j].Name)
		}
		return nil, NotFound("server", backend+"/"+server, prefixed(backend+"/", names))
	}
	return nil, NotFound("backend", backend, names)
}

func prefixed(prefix string, names []string) []string {
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}
