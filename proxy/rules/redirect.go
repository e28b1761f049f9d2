package rules

import (
	"bytes"
	"strings"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/sample"
)

// target is where a redirect leads.
type target struct {
	kind        string // location, prefix or scheme
	to          *sample.Format
	dropQuery   bool
	keepQuery   bool
	appendSlash bool
}

// build makes the value of Location, cleaned as every header field value is.
func (t *target) build(x *exchange.Exchange) []byte {
	to := value(t.to, x)
	var parts [5][]byte
	var query []byte
	mark := ""
	path := x.Req.Path
	if len(path) == 0 || path[0] != '/' { // OPTIONS *
		path = []byte("/")
	}
	switch t.kind {
	case "location":
		path = nil
		if t.keepQuery && len(x.Req.Query) > 0 {
			query = x.Req.Query
			switch i := bytes.IndexByte(to, '?'); {
			case i < 0:
				mark = "?"
			case i < len(to)-1:
				mark = "&"
			}
		}
		if query == nil {
			return to
		}
	default:
		if x.Req.HasQuery && !t.dropQuery {
			mark, query = "?", x.Req.Query
		}
	}
	parts[0] = to
	if t.kind == "scheme" {
		parts[1], parts[2] = []byte("://"), x.Req.Authority
	}
	parts[3] = path
	n := len(mark) + len(query) + 1
	for _, p := range parts {
		n += len(p)
	}
	out := x.Arena.Alloc(n)[:0]
	for _, p := range parts {
		out = append(out, p...)
	}
	out = append(append(out, mark...), query...)
	if t.appendSlash && t.kind != "location" && len(out) > 0 && out[len(out)-1] != '/' {
		out = append(out, '/')
	}
	return clean(out, &x.Arena)
}

// redirect gives its reply, unless it is told to pass where the location comes out empty.
type redirect struct {
	reply       *Reply
	ignoreEmpty bool
}

func (r *redirect) run(x *exchange.Exchange) (*Reply, bool) {
	if r.ignoreEmpty && len(value(r.reply.location.to, x)) == 0 {
		return nil, false
	}
	return r.reply, true
}

// foreignRedirect are HAProxy's arguments of redirect that this version does not have.
const foreignRedirect = "set-cookie set-cookie-fmt clear-cookie"

func compileRedirect(p *parser) (step, error) {
	r := &Reply{Status: 302, Kind: Redirect}
	t := &target{}
	d := &redirect{reply: r}
	r.location = t
	known := strings.Fields("location prefix scheme code drop-query keep-query append-slash ignore-empty")
	begin := p.words[0].Offset
	for p.more() {
		w, _ := p.word("")
		switch {
		case w.Is("location"), w.Is("prefix"), w.Is("scheme"):
			if t.kind != "" {
				return nil, sample.Errorf(w.Offset, "the redirect has a %s already", t.kind)
			}
			if p.phase == sample.Response && w.Text != "location" {
				return nil, sample.Errorf(w.Offset, "a redirect in a response rule takes location only")
			}
			t.kind = w.Text
			f, err := p.header("where to redirect to")
			if err != nil {
				return nil, err
			}
			if text, ok := f.Const(); ok && t.kind == "prefix" && string(text) == "/" {
				f, _ = sample.ParseFormat("", p.phase) // the same URL again: HAProxy's special case
			}
			t.to = f
		case w.Is("code"):
			c, err := p.word("a status code")
			if err != nil {
				return nil, err
			}
			if r.Status = map[string]int{"301": 301, "302": 302, "303": 303, "307": 307, "308": 308}[c.Text]; r.Status == 0 {
				return nil, sample.Errorf(c.Offset, "%q is no code to redirect with: 301, 302, 303, 307 or 308", c.Text)
			}
		case w.Is("drop-query"):
			t.dropQuery = true
		case w.Is("keep-query"):
			t.keepQuery = true
		case w.Is("append-slash"):
			t.appendSlash = true
		case w.Is("ignore-empty"):
			d.ignoreEmpty = true
		default:
			return nil, sample.Unknown(w.Offset, "argument of redirect", w.Text, foreignRedirect, known)
		}
	}
	switch {
	case t.kind == "":
		return nil, sample.Errorf(begin, "the redirect says not where to: %s", p.action.Args)
	case t.kind == "scheme":
		if text, ok := t.to.Const(); ok && strings.Trim(strings.ToLower(string(text)), "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" || ok && len(text) == 0 {
			return nil, sample.Errorf(begin, "%q is no URL scheme: https or http, without ://", text)
		}
	}
	// Options HAProxy accepts and then does nothing with are refused: somebody expects something of them.
	switch {
	case t.kind == "location" && t.dropQuery:
		return nil, sample.Errorf(begin, "drop-query does nothing in a redirect to a location: it keeps no query")
	case t.kind == "location" && t.appendSlash:
		return nil, sample.Errorf(begin, "append-slash does nothing in a redirect to a location")
	case t.kind != "location" && t.keepQuery:
		return nil, sample.Errorf(begin, "keep-query is for a redirect to a location; a %s keeps the query anyhow", t.kind)
	case t.kind != "location" && d.ignoreEmpty:
		return nil, sample.Errorf(begin, "ignore-empty is for a redirect to a location")
	}
	return d, nil
}
