package acl

import (
	"strings"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/sample"
)

// ACL is what a name stands for: tests of which one has to match.
type ACL struct {
	name  string
	tests []*test
}

func (a *ACL) eval(x *exchange.Exchange) bool {
	for _, t := range a.tests {
		if t.eval(x) {
			return true
		}
	}
	return false
}

// Env holds the ACLs conditions may name: those of one frontend or backend. The zero value holds the predefined ones. It is filled and used
// by one flow of control, at compile time.
type Env struct{ named map[string]*ACL }

// Predefined is one row of the table of ACLs that need no declaration (configuration manual, section 7.4). A declared ACL of the
// same name replaces it.
type Predefined struct{ Name, Line, Doc string }

// PredefinedACLs is that table. It is not to be changed.
func PredefinedACLs() []Predefined { return predefined }

var predefined = []Predefined{
	{"TRUE", "always_true", "always"},
	{"FALSE", "always_false", "never"},
	{"HTTP", "req.proto_http", "the request is HTTP"},
	{"HTTP_1.0", "req.ver 1.0", "the request is HTTP/1.0"},
	{"HTTP_1.1", "req.ver 1.1", "the request is HTTP/1.1"},
	{"HTTP_2.0", "req.ver 2.0", "the request is HTTP/2"},
	{"HTTP_3.0", "req.ver 3.0", "the request is HTTP/3"},
	{"HTTP_CONTENT", "req.hdr_val(content-length) gt 0", "the request states a length above 0"},
	{"HTTP_URL_ABS", "url_reg ^[^/:]*://", "the URL has a scheme: never, because URLs are canonical here"},
	{"HTTP_URL_SLASH", "url_beg /", "the URL begins with a slash"},
	{"HTTP_URL_STAR", "url *", "the URL is * (OPTIONS *)"},
	{"LOCALHOST", "src 127.0.0.1/8 ::1", "the client is this machine"},
	{"METH_CONNECT", "method CONNECT", "the method is CONNECT"},
	{"METH_DELETE", "method DELETE", "the method is DELETE"},
	{"METH_GET", "method GET HEAD", "the method is GET or HEAD"},
	{"METH_HEAD", "method HEAD", "the method is HEAD"},
	{"METH_OPTIONS", "method OPTIONS", "the method is OPTIONS"},
	{"METH_POST", "method POST", "the method is POST"},
	{"METH_PUT", "method PUT", "the method is PUT"},
	{"METH_TRACE", "method TRACE", "the method is TRACE"},
}

// foreignACLs are HAProxy's predefined ACLs that have no meaning here.
const foreignACLs = "RDP_COOKIE REQ_CONTENT WAIT_END"

// Define adds lines ("path_beg /admin", without the name) to the ACL of a name, creating it. The lines are alternatives. All faults are
// reported; their offsets are in their own line, so a caller who has to tell lines apart calls once for each.
func (e *Env) Define(name string, lines []string) error {
	if name == "" || strings.Trim(name, nameBytes) != "" {
		return sample.Errorf(0, "ACL name %q: only letters, digits, - _ . and : may be used", name)
	}
	if strings.EqualFold(name, "or") || name == "if" || name == "unless" {
		return sample.Errorf(0, "ACL name %q is a word of the condition language", name)
	}
	if len(lines) == 0 {
		return sample.Errorf(0, "ACL %q has no line", name)
	}
	var tests []*test
	var errs []error
	for _, line := range lines {
		t, err := parseLine(line)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		tests = append(tests, t)
	}
	if errs != nil {
		return join(errs)
	}
	if e.named == nil {
		e.named = map[string]*ACL{}
	}
	a := e.named[name]
	if a == nil {
		a = &ACL{name: name}
		e.named[name] = a
	}
	a.tests = append(a.tests, tests...)
	return nil
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"

func parseLine(line string) (*test, error) {
	words, err := sample.Words(line)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, sample.Errorf(0, "an ACL needs a criterion such as path_beg, and patterns")
	}
	return parseTest(words)
}

// find returns the ACL of a name, declared or predefined.
func (e *Env) find(w sample.Word) (*ACL, error) {
	if e != nil && e.named[w.Text] != nil {
		return e.named[w.Text], nil
	}
	var known []string
	for _, p := range predefined {
		if p.Name == w.Text {
			t, err := parseLine(p.Line)
			if err != nil {
				return nil, err
			}
			return &ACL{p.Name, []*test{t}}, nil
		}
		known = append(known, p.Name)
	}
	if e != nil {
		for n := range e.named {
			known = append(known, n)
		}
	}
	if f := sample.FetchName(w.Text); sample.FindFetch(f, sample.Response) != nil || isCriterion(w) {
		return nil, sample.Errorf(w.Offset, "there is no ACL %q; a test written on the spot stands in braces: { %s ... }", w.Text, w.Text)
	}
	return nil, sample.Unknown(w.Offset, "ACL", w.Text, foreignACLs, known)
}

func isCriterion(w sample.Word) bool {
	f, _ := criterion(w)
	return f != nil
}
