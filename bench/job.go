package main

import (
	"fmt"
	"path/filepath"
)

// job is what one contender has to do in one run. Every contender gets the same job: a frontend on addr,
// three rules on four ACLs, X-Forwarded-For, statistics, an access log if logs is set, and paths under
// /api/ routed to a backend of two servers (all others to another backend of the same two).
type job struct {
	dir     string    // where the contender may write
	addr    string    // where it listens, HOST:PORT
	stats   string    // where its statistics listen, HOST:PORT
	servers [2]string // the origin's two addresses
	logs    bool      // an access log in file dir/access.log
	routes  int       // further routes, /svc-00000 to /svc-NNNNN, to the backend of /api/
	conns   int       // client connections to come, for those who must know beforehand
	reuse   string    // HAProxy's http-reuse: safe, always
	splice  bool      // HAProxy's option splice-auto
	tunnel  *tunnel   // the way to the servers, if it is not the kernel's
}

// threads is how many threads, processes or loops each contender gets.
const threads = 2

// maxconn is the number of client connections each contender must be ready to take.
const maxconn = 7000

// The paths the origins answer; see origin.go.
const (
	pathSmall     = "/api/small"     // 13 bytes
	path16k       = "/api/16k"       // 16 KiB
	path1m        = "/api/1m"        // 1 MiB
	pathUpload    = "/api/upload"    // reads the body, answers 2 bytes
	pathForwarded = "/api/forwarded" // what came in X-Forwarded-For and X-Static
	pathStyle     = "/api/s.css"     // the same, under a path one of the rules knows
	pathHealth    = "/healthz"
	pathDenied    = "/admin" // the rules deny it to all but an office far away
)

// deniedAgent is a User-Agent that the rules deny.
const deniedAgent = "EvilBot/1.0"

func routeName(i int) string { return fmt.Sprintf("/svc-%05d", i) }

func (j job) logFile() string { return filepath.Join(j.dir, "access.log") }

func (j job) file(name string) string { return filepath.Join(j.dir, name) }

// program is how a contender is started for a job.
type program struct {
	argv   []string
	files  map[string]string // configuration: full name, text
	stdout string            // a file, if standard output is the access log
}

// contender is one of the proxies compared.
type contender struct {
	name    string
	program func(job, binaries) program
}

// binaries are the programs under comparison and beside it.
type binaries struct {
	edge, haproxy, nginx, stdproxy, meshpeer string
}

// contenders, in the order of their turns. Ratios are to the first that takes part in a scenario.
var contenders = []contender{
	{"haproxy", haproxyProgram},
	{"edge", edgeProgram},
	{"nginx", nginxProgram},
	{"std", stdProgram},
	{"edge-mesh", edgeProgram},
}
