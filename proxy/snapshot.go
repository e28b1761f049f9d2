package proxy

import (
	"net/netip"
	"sync/atomic"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy/accesslog"
	"github.com/approovia/edge/proxy/acl"
	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/loop"
	"github.com/approovia/edge/proxy/rules"
	"github.com/approovia/edge/proxy/upstream"
)

// snapshot is what a configuration means, compiled once and never edited.
type snapshot struct {
	cfg       *configs.Config
	text      []byte // of the main file, to be shown
	frontends []*frontend
	binds     map[string]*bindPlan // by address
	plans     []upstream.Plan
	accessTo  string // where the access log goes, "" = off
}

// bindPlan is one listening socket as the configuration wants it.
type bindPlan struct {
	at       *configs.Bind
	frontend *frontend
}

// frontend is one frontend of a snapshot.
type frontend struct {
	name     string
	live     *liveFrontend
	maxconn  int64
	timeouts configs.Timeouts
	trusted  []netip.Prefix

	redirectHTTPS bool
	deny, allow   []*acl.Condition
	request       rules.List
	response      rules.List
	routes        *routes
	def           *backend

	log     accesslog.Format // nil = none
	needDst bool             // a rule or the log wants our side's address
}

// admits applies the frontend's deny and allow lists.
func (fe *frontend) admits(x *exchange.Exchange) bool {
	for _, c := range fe.deny {
		if c.Eval(x) {
			return false
		}
	}
	for _, c := range fe.allow {
		if c.Eval(x) {
			return true
		}
	}
	return len(fe.allow) == 0
}

// backend is one backend of a snapshot.
type backend struct {
	name          string
	live          *upstream.Backend
	timeouts      configs.Timeouts
	attempts      int // further ones after the first
	redispatch    bool
	connFailure   bool // a failed connection is repeated
	emptyResponse bool // so is a request that got no answer, if that does no harm
	request       rules.List
	response      rules.List
}

// liveFrontend is what outlives snapshots of a frontend.
type liveFrontend struct {
	name string
	id   int // index of what each worker keeps for it

	p       *Proxy
	conns   atomic.Int64
	maxconn atomic.Int64 // 0 = no limit of its own
}

// opened and closed count client connections against the limit: at the limit new ones stay in the kernel's queue. The bind that has let in the
// last one is paused at once, any others of the frontend soon.
func (fe *liveFrontend) opened(b *bind) {
	n := fe.conns.Add(1)
	if m := fe.maxconn.Load(); m > 0 && n >= m {
		b.ln.Pause()
		fe.p.pauseSoon()
	}
}

func (fe *liveFrontend) closed() {
	n := fe.conns.Add(-1)
	if m := fe.maxconn.Load(); m > 0 && n == m-1 {
		fe.p.pauseSoon()
	}
}

func (fe *liveFrontend) full() bool {
	m := fe.maxconn.Load()
	return m > 0 && fe.conns.Load() >= m
}

// bind is one listening socket. It outlives snapshots as long as they name its address.
type bind struct {
	address  string // as configured
	port     uint16
	ln       *loop.Listener
	frontend atomic.Pointer[frontend] // whom its connections belong to now; nil once no configuration names it
	last     *frontend                // the one before it went
}
