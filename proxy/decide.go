package proxy

import (
	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/rules"
)

// ruled answers as a request rule says.
func (f *forward) ruled(r *rules.Reply) bool {
	x := &f.x
	body := r.Answer(x)
	switch {
	case r.Kind == rules.Deny:
		f.w.frontends[f.s.fe.id].denied++
		f.fail(exchange.End{Who: 'P', When: 'R', Cause: "denied by a rule"})
	default:
		f.fail(exchange.End{Who: 'L', When: 'R'})
	}
	if r.Page {
		return f.explain(r.Status)
	}
	return f.reply(r.Status, x.Res.Header.Fields, body)
}

// refuse answers 403: the frontend's allow and deny lists.
func (f *forward) refuse() bool {
	f.w.frontends[f.s.fe.id].denied++
	f.fail(exchange.End{Who: 'P', When: 'R', Cause: "denied by the frontend's allow and deny"})
	return f.explain(403)
}

// redirectHTTPS sends a plain request to the same address under TLS.
func (f *forward) redirectHTTPS() bool {
	x := &f.x
	f.fail(exchange.End{Who: 'L', When: 'R'})
	if len(x.Req.Hostname) == 0 {
		return f.explain(400)
	}
	to := append(x.Arena.Alloc(0), "https://"...)
	to = append(to, x.Req.Hostname...)
	to = append(to, x.Req.Path...)
	if x.Req.HasQuery {
		to = append(to, '?')
		to = append(to, x.Req.Query...)
	}
	return f.reply(301, []message.Field{{Name: []byte("Location"), Value: to}}, nil)
}
