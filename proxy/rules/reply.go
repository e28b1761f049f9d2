package rules

import (
	"bytes"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/sample"
)

// Kind is why a reply is made, for the log and the counters.
type Kind uint8

// The kinds.
const (
	Deny Kind = iota
	Return
	Redirect
)

func (k Kind) String() string { return [...]string{"deny", "return", "redirect"}[k] }

// Reply is the answer a rule gives. It belongs to the rule and is the same for all exchanges; what depends on the exchange is made by
// Answer.
type Reply struct {
	Status int
	Kind   Kind

	// Page asks whoever answers to send its error page for Status: a deny that says nothing about its content. Answer then gives none.
	Page bool

	location *target // of a redirect
	fields   []replyField
	ctype    []byte
	raw      []byte         // content as it is
	body     *sample.Format // content to evaluate; nil: raw
}

type replyField struct {
	name  message.Name
	value *sample.Format
}

var (
	contentType  = message.NewName("Content-Type")
	location     = message.NewName("Location")
	cacheControl = message.NewName("Cache-Control")
	noCache      = []byte("no-cache")
)

// Answer puts the reply into x.Res in place of whatever is there: status, header fields (without Content-Length, which is the codec's)
// and the length of the content, which it returns, valid until the exchange has ended.
func (r *Reply) Answer(x *exchange.Exchange) []byte {
	// The new fields are put behind the old ones, which formats may still read, and moved to the front when all are there.
	h := &x.Res.Header
	old := len(h.Fields)
	all := h.Fields
	if r.location != nil {
		all = append(all, message.Field{Name: location.Bytes, Value: r.location.build(x), ID: location.ID})
		if r.Status == 302 || r.Status == 303 || r.Status == 307 {
			all = append(all, message.Field{Name: cacheControl.Bytes, Value: noCache, ID: cacheControl.ID})
		}
	}
	body := r.raw
	if r.body != nil {
		body = r.body.Bytes(x)
	}
	if r.ctype != nil {
		all = append(all, message.Field{Name: contentType.Bytes, Value: r.ctype, ID: contentType.ID})
	}
	for i := range r.fields {
		f := &r.fields[i]
		all = append(all, message.Field{Name: f.name.Bytes, Value: value(f.value, x), ID: f.name.ID})
	}
	all = all[:copy(all, all[old:])]
	x.Res.Reset()
	h.Fields = all
	for i := range all {
		h.Seen |= all[i].ID.Bit()
	}
	x.Res.Status, x.Res.Minor = r.Status, 1
	x.Res.Body = message.Body{Kind: message.Sized, Length: int64(len(body))}
	return body
}

type allow struct{}

func (allow) run(*exchange.Exchange) (*Reply, bool) { return nil, true }

type give struct{ reply *Reply }

func (g give) run(*exchange.Exchange) (*Reply, bool) { return g.reply, true }

func compileDeny(p *parser) (step, error) {
	status := 403
	if p.phase == sample.Response {
		status = 502
	}
	return compileReply(p, &Reply{Status: status, Kind: Deny})
}

func compileReturn(p *parser) (step, error) {
	return compileReply(p, &Reply{Status: 200, Kind: Return})
}

// foreignReply are HAProxy's arguments of deny and return that this version does not have.
const foreignReply = "file lf-file errorfile errorfiles default-errorfiles"

func compileReply(p *parser, r *Reply) (step, error) {
	known := []string{"status", "content-type", "string", "lf-string", "hdr"}
	if r.Kind == Deny {
		known = append(known, "deny_status")
	}
	var err error
	var content, ctype sample.Word
	content.Offset = -1
	seen := map[string]bool{}
	page := r.Kind == Deny // as in HAProxy: also with deny_status, but not with anything else
	for p.more() {
		w, _ := p.word("")
		if seen[w.Text] && w.Text != "hdr" {
			return nil, sample.Errorf(w.Offset, "there is a %s already", w.Text)
		}
		seen[w.Text] = true
		page = page && (w.Is("status") || w.Is("deny_status"))
		switch {
		case w.Is("status"), w.Is("deny_status") && r.Kind == Deny:
			seen["status"], seen["deny_status"] = true, true
			page = page && w.Text == "deny_status"
			if r.Status, err = p.status(); err != nil {
				return nil, err
			}
		case w.Is("content-type"):
			if ctype, err = p.word("a media type"); err != nil {
				return nil, err
			}
			if bytes.ContainsFunc([]byte(ctype.Text), func(c rune) bool { return c < 0x80 && control(byte(c)) }) || len(trim([]byte(ctype.Text))) == 0 {
				return nil, sample.Errorf(ctype.Offset, "%q is no media type", ctype.Text)
			}
			r.ctype = []byte(ctype.Text)
		case w.Is("string"), w.Is("lf-string"):
			if seen["string"], seen["lf-string"] = true, true; content.Offset >= 0 {
				return nil, sample.Errorf(w.Offset, "the content is given already")
			}
			if content, err = p.word("the content"); err != nil {
				return nil, err
			}
			r.raw = []byte(content.Text)
			if w.Is("lf-string") {
				if r.body, err = sample.ParseFormatWord(content, p.phase); err != nil {
					return nil, err
				}
			}
		case w.Is("hdr"):
			name, w, err := p.field()
			if err != nil {
				return nil, err
			}
			if name.ID == message.ContentType {
				return nil, sample.Errorf(w.Offset, "the type of the content is given with content-type")
			}
			f, err := p.header("the value of the header field")
			if err != nil {
				return nil, err
			}
			r.fields = append(r.fields, replyField{name, f})
		default:
			return nil, sample.Unknown(w.Offset, "argument of "+p.action.Name, w.Text, foreignReply, known)
		}
	}
	given := content.Offset >= 0
	switch {
	case !given && r.ctype != nil:
		return nil, sample.Errorf(ctype.Offset, "content-type without content: add string or lf-string")
	case given && r.ctype == nil && (content.Text != "" || r.body != nil):
		return nil, sample.Errorf(content.Offset, "content needs its content-type")
	case given && content.Text != "" && (r.Status == 204 || r.Status == 304):
		return nil, sample.Errorf(content.Offset, "a response with status %d has no content", r.Status)
	}
	if given && content.Text == "" {
		r.ctype = nil
	}
	r.Page = page
	return give{r}, nil
}
