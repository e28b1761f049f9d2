// Package rules answers what is done with a request or a response: HAProxy's http-request and http-response actions (configuration manual,
// section 4.3), each with an optional condition. It changes messages and makes replies; it neither reads nor writes wires.
//
// What is compiled is read-only and may be used by any number of exchanges at once. Running rules does not allocate, but for what an
// expression itself does (regsub).
package rules

import (
	"github.com/approovia/edge/proxy/acl"
	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/sample"
)

// Rule is a compiled rule.
type Rule struct {
	text string
	cond *acl.Condition // nil: always
	do   step
}

// String is the rule as it was written.
func (r *Rule) String() string { return r.text }

// step is what a rule does once its condition holds. reply is what to answer with, stop ends the list: with a reply always.
type step interface {
	run(x *exchange.Exchange) (reply *Reply, stop bool)
}

// List is the rules of one phase in their order.
type List []*Rule

// Run applies the rules to the exchange, each condition evaluated when its turn comes, so that it sees what earlier rules changed. It
// returns the reply to answer with, nil to go on.
func (l List) Run(x *exchange.Exchange) *Reply {
	for _, r := range l {
		if r.cond.Eval(x) {
			if reply, stop := r.do.run(x); stop {
				return reply
			}
		}
	}
	return nil
}

// CompileRequest compiles a rule of the request phase: `deny deny_status 429 if { path_beg /x }`. Names in conditions are ACLs of env
// (nil: the predefined ones). Errors carry byte offsets in text (sample.Error).
func CompileRequest(text string, env *acl.Env) (*Rule, error) {
	return compile(text, env, sample.Request)
}

// CompileResponse compiles a rule of the response phase.
func CompileResponse(text string, env *acl.Env) (*Rule, error) {
	return compile(text, env, sample.Response)
}
