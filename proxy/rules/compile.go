package rules

import (
	"errors"
	"strconv"

	"github.com/approovia/edge/proxy/acl"
	"github.com/approovia/edge/proxy/sample"
)

// Action is one row of the table of actions.
type Action struct {
	Name     string
	Args     string // its arguments, for the manual and for errors
	Request  bool   // may be used in request rules
	Response bool
	Doc      string
	Example  string

	compile func(p *parser) (step, error)
}

// Actions is the table of actions. It is not to be changed.
func Actions() []Action { return actions }

var actions = []Action{
	{Name: "allow", Request: true, Response: true, Doc: "Ends the rules of this phase and lets the message pass.", Example: "allow if LOCALHOST",
		compile: func(*parser) (step, error) { return allow{}, nil }},
	{Name: "deny", Args: "[deny_status|status <code>] [content-type <type>] [string <text>|lf-string <format>] [hdr <name> <format>]...", Request: true, Response: true,
		Doc: "Answers with an error page: 403 in request rules, 502 in response rules, or the given status; with the content given, if any.", Example: "deny deny_status 429 if { src 192.0.2.0/24 }", compile: compileDeny},
	{Name: "return", Args: "[status <code>] [content-type <type>] [string <text>|lf-string <format>] [hdr <name> <format>]...", Request: true, Response: true,
		Doc: "Answers with the given status (200), content and header fields.", Example: `return status 200 content-type text/plain lf-string "you are %[src]" hdr X-Node a`, compile: compileReturn},
	{Name: "redirect", Args: "location|prefix|scheme <format> [code <301|302|303|307|308>] [drop-query] [keep-query] [append-slash] [ignore-empty]", Request: true, Response: true,
		Doc: "Answers with a redirect, 302 if not told: to a location, to a prefix followed by path and query, or to the same URL with another scheme. In response rules location only.", Example: "redirect scheme https code 301", compile: compileRedirect},
	{Name: "set-header", Args: "<name> <format>", Request: true, Response: true, Doc: "Replaces every line of a header field by one. Set on Host it changes the host that is asked for.", Example: "set-header X-Client %[src]", compile: compileSetHeader},
	{Name: "add-header", Args: "<name> <format>", Request: true, Response: true, Doc: "Adds a line of a header field and leaves those there are.", Example: "add-header Via edge", compile: compileAddHeader},
	{Name: "del-header", Args: "<name> [-m str|beg|end|sub|reg]", Request: true, Response: true, Doc: "Removes a header field: that name in any letter case, or every name that begins, ends, contains or matches as told.", Example: "del-header x-internal- -m beg", compile: compileDelHeader},
}

// foreign lists HAProxy's actions that this version does not have.
const foreign = `accept add-acl add-headers-bin attach-srv auth cache-store cache-use capture close del-acl del-headers-bin del-map disable-l7-retry
	do-log do-resolve early-hint expect-netscaler-cip expect-proxy lua.* normalize-uri pause reject replace-header replace-path replace-pathq
	replace-uri replace-value sc-add-gpc sc-inc-gpc sc-inc-gpc0 sc-inc-gpc1 sc-set-gpt sc-set-gpt0 sc0-* sc1-* sc2-* send-spoe-group set-bandwidth-limit set-bc-mark
	set-bc-tos set-cookie set-cookie-fmt set-dst set-dst-port set-fc-mark set-fc-tos set-headers-bin set-log-level set-map set-mark set-method set-nice
	set-path set-pathq set-priority-class set-priority-offset set-query set-retries set-src set-src-port set-status set-timeout set-tos set-uri set-var
	set-var-fmt silent-drop strict-mode switch-mode tarpit track-sc* unset-var use-service wait-for-body wait-for-handshake`

// parser walks over the words of a rule.
type parser struct {
	words  []sample.Word
	next   int
	end    int // length of the text
	action *Action
	phase  sample.Phase
}

func compile(text string, env *acl.Env, phase sample.Phase) (*Rule, error) {
	words, err := sample.Words(text)
	if err != nil {
		return nil, err
	}
	p := &parser{words: words, end: len(text), phase: phase}
	if len(words) == 0 {
		return nil, sample.Errorf(0, "a rule begins with an action, such as deny or set-header")
	}
	name := words[0]
	if name.Text == "http-request" || name.Text == "http-response" {
		return nil, sample.Errorf(name.Offset, "leave %q out: a rule begins with its action", name.Text)
	}
	var known []string
	for i := range actions {
		if actions[i].Name == name.Text {
			p.action = &actions[i]
		}
		known = append(known, actions[i].Name)
	}
	if p.action == nil {
		return nil, sample.Unknown(name.Offset, "action", name.Text, foreign, known)
	}
	if phase == sample.Request && !p.action.Request || phase == sample.Response && !p.action.Response {
		return nil, sample.Errorf(name.Offset, "action %q cannot be used in %s rules", name.Text, phase)
	}
	p.next = 1
	r := &Rule{text: text}
	do, errAction := p.action.compile(p)
	r.do = do
	if errAction != nil { // look for the condition all the same, to report both
		for p.next < len(words) && !p.atCondition() {
			p.next++
		}
	}
	if p.next == len(words) {
		return r, errAction
	}
	if !p.atCondition() {
		w := words[p.next]
		return nil, sample.Errorf(w.Offset, "unexpected %q: %s takes %s and then if or unless (quote a value that has spaces)", w.Text, name.Text, orNothing(p.action.Args))
	}
	var errCond error
	r.cond, errCond = acl.CompileWords(words[p.next:], env, phase)
	if err := errors.Join(errAction, errCond); err != nil {
		return nil, err
	}
	return r, nil
}

func orNothing(s string) string {
	if s == "" {
		return "no arguments"
	}
	return s
}

func (p *parser) atCondition() bool {
	return p.next < len(p.words) && (p.words[p.next].Is("if") || p.words[p.next].Is("unless"))
}

// more says whether there are arguments left.
func (p *parser) more() bool { return p.next < len(p.words) && !p.atCondition() }

// word takes the next argument.
func (p *parser) word(what string) (sample.Word, error) {
	if !p.more() {
		at := p.end
		if p.next < len(p.words) {
			at = p.words[p.next].Offset
		}
		return sample.Word{}, sample.Errorf(at, "%s is missing here: %s %s", what, p.action.Name, p.action.Args)
	}
	p.next++
	return p.words[p.next-1], nil
}

// keyword takes the next argument if it is the bare word s.
func (p *parser) keyword(s string) bool {
	if p.more() && p.words[p.next].Is(s) {
		p.next++
		return true
	}
	return false
}

// header takes a format that becomes the value of a header field.
func (p *parser) header(what string) (*sample.Format, error) {
	w, err := p.word(what)
	if err != nil {
		return nil, err
	}
	f, err := sample.ParseFormatWord(w, p.phase)
	if err != nil {
		return nil, err
	}
	for i := range len(w.Text) {
		if control(w.Text[i]) {
			return nil, sample.Errorf(w.At(i), "the value has the control character %q, which no header field may hold", w.Text[i])
		}
	}
	if text, ok := f.Const(); ok && len(trim(text)) != len(text) {
		return nil, sample.Errorf(w.Offset, "white space at the ends of a header field's value is no part of it: leave it out")
	}
	return f, nil
}

// status takes a status code.
func (p *parser) status() (int, error) {
	w, err := p.word("a status code")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(w.Text)
	if err != nil || n < 200 || n > 599 || len(w.Text) != 3 {
		return 0, sample.Errorf(w.Offset, "%q is no status code that can be answered with: 200 to 599", w.Text)
	}
	return n, nil
}
