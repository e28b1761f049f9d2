package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/acl"
	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/sample"
)

// newExchange is GET http://www.Example.com:8080/a/b;v=1?x=1 from 10.1.2.3, answered with 200.
func newExchange() *exchange.Exchange {
	x := &exchange.Exchange{Src: netip.MustParseAddrPort("10.1.2.3:40000"), Dst: netip.MustParseAddrPort("198.51.100.1:8080"), Frontend: "web"}
	r := &x.Req
	r.MethodToken, r.Method, r.Minor = []byte("GET"), message.GET, 1
	r.Path, r.Match, r.Query, r.HasQuery = []byte("/a/b;v=1"), []byte("/a/b"), []byte("x=1"), true
	r.Authority, r.Hostname = []byte("www.Example.com:8080"), []byte("www.example.com")
	put(&r.Header, "Host", "www.Example.com:8080", "X-A", "1", "x-a", "2", "X-Internal-Id", "7", "Connection", "close", "User-Agent", "curl")
	x.Res.Status = 200
	put(&x.Res.Header, "Server", "nginx", "X-A", "1", "Content-Length", "5")
	return x
}

func put(h *message.Header, kv ...string) {
	for i := 0; i < len(kv); i += 2 {
		n := message.NewName(kv[i])
		h.Append(n.ID, n.Bytes, []byte(kv[i+1]))
	}
}

func dump(h *message.Header) string {
	var b strings.Builder
	for _, f := range h.Fields {
		fmt.Fprintf(&b, "%s: %s|", f.Name, f.Value)
		if f.ID != message.Identify(f.Name) || !h.Has(f.ID) {
			b.WriteString("(wrong ID)")
		}
	}
	return b.String()
}

func list(t testing.TB, phase sample.Phase, rules ...string) (l List) {
	t.Helper()
	var env acl.Env
	if err := env.Define("office", []string{"src 10.0.0.0/8"}); err != nil {
		t.Fatal(err)
	}
	for _, s := range rules {
		r, err := compile(s, &env, phase)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if r.String() != s {
			t.Fatalf("%s became %s", s, r)
		}
		l = append(l, r)
	}
	return l
}

func TestRequestRulesChangeTheRequest(t *testing.T) {
	t.Parallel()
	const before = "Host: www.Example.com:8080|X-A: 1|x-a: 2|X-Internal-Id: 7|Connection: close|User-Agent: curl|"
	for rule, want := range map[string]string{
		"set-header X-A new":                                  "Host: www.Example.com:8080|X-Internal-Id: 7|Connection: close|User-Agent: curl|X-A: new|",
		"set-header X-A %[req.hdr(x-a)]+":                     "Host: www.Example.com:8080|X-Internal-Id: 7|Connection: close|User-Agent: curl|X-A: 2+|",
		`set-header X-B "a %[src] b" if office`:               before + "X-B: a 10.1.2.3 b|",
		"set-header X-B 1 unless office":                      before,
		"set-header X-B %[req.hdr(x-none)]":                   before + "X-B: |",
		"add-header X-A 3":                                    before + "X-A: 3|",
		`add-header X-C %[str("a%0d%0aX: y%00%7f "),url_dec]`: before + "X-C: aX: y|",
		"del-header x-A":                                      "Host: www.Example.com:8080|X-Internal-Id: 7|Connection: close|User-Agent: curl|",
		"del-header x-a -m str":                               "Host: www.Example.com:8080|X-Internal-Id: 7|Connection: close|User-Agent: curl|",
		"del-header x-INT -m beg":                             "Host: www.Example.com:8080|X-A: 1|x-a: 2|Connection: close|User-Agent: curl|",
		"del-header -ID -m end if { method GET }":             "Host: www.Example.com:8080|X-A: 1|x-a: 2|Connection: close|User-Agent: curl|",
		"del-header ser-ag -m sub":                            "Host: www.Example.com:8080|X-A: 1|x-a: 2|X-Internal-Id: 7|Connection: close|",
		"del-header .* -m reg":                                "Host: www.Example.com:8080|Connection: close|",
		"del-header ^X- -m reg":                               "Host: www.Example.com:8080|Connection: close|User-Agent: curl|",
		"del-header X-None":                                   before,
		"set-header Host other.example":                       "X-A: 1|x-a: 2|X-Internal-Id: 7|Connection: close|User-Agent: curl|Host: other.example|",
		`set-header Host "%[str('a,b')]"`:                     before,
		"allow":                                               before,
		`set-header X-Q "it's 100%%"`:                         before + "X-Q: it's 100%|",
	} {
		x := newExchange()
		if r := list(t, sample.Request, rule).Run(x); r != nil {
			t.Errorf("%s: answered with %d", rule, r.Status)
		}
		if got := dump(&x.Req.Header); got != want {
			t.Errorf("%s:\n got %s\nwant %s", rule, got, want)
		}
	}
}

func TestResponseRulesChangeTheResponse(t *testing.T) {
	t.Parallel()
	x := newExchange()
	l := list(t, sample.Response, "del-header Server", "set-header X-A %[res.hdr(x-a)],%[status]", "add-header X-From %[src] if { status 200:299 } { hdr(x-a) 1 }", "set-header X-Hdr %[hdr(x-a)]", "allow if TRUE", "set-header X-Never 1")
	if r := l.Run(x); r != nil {
		t.Fatalf("answered with %d", r.Status)
	}
	if got, want := dump(&x.Res.Header), "Content-Length: 5|X-A: 1,200|X-From: 10.1.2.3|X-Hdr: 200|"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestARuleSeesWhatEarlierRulesChanged(t *testing.T) {
	t.Parallel()
	x := newExchange()
	l := list(t, sample.Request, "set-header Host Other.example.:81", "deny deny_status 404 if { hdr(host) www.Example.com:8080 }", "set-header X-Host %[req.hdr(host)]", "deny deny_status 410 if { hdr(x-host) Other.example.:81 }", "deny")
	if r := l.Run(x); r == nil || r.Status != 410 || r.Kind != Deny || !r.Page {
		t.Errorf("%+v", r)
	}
	if string(x.Req.Authority) != "Other.example.:81" || string(x.Req.Hostname) != "other.example" {
		t.Errorf("host %s, %s", x.Req.Authority, x.Req.Hostname)
	}
}

func TestRepliesAreHAProxys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		phase sample.Phase
		rule  string
		want  string // kind status page: fields content
	}{
		{0, "deny", "deny 403 true: "}, {1, "deny", "deny 502 true: "}, {0, "deny deny_status 429", "deny 429 true: "}, {0, "deny status 401", "deny 401 false: "},
		{0, "deny deny_status 403 content-type text/plain string no", "deny 403 false: Content-Type: text/plain|no"}, {0, "deny hdr X-Why acl", "deny 403 false: X-Why: acl|"},
		{0, "return", "return 200 false: "}, {0, "return status 204 hdr X-A %[src] hdr X-A b", "return 204 false: X-A: 10.1.2.3|X-A: b|"},
		{0, `return status 503 content-type "text/html; charset=utf-8" string "<p>%[src]</p>"`, "return 503 false: Content-Type: text/html; charset=utf-8|<p>%[src]</p>"},
		{0, `return content-type text/plain lf-string "you: %[src]\n" if office`, "return 200 false: Content-Type: text/plain|you: 10.1.2.3\n"},
		{1, "return hdr X-Old %[res.hdr(x-a)] hdr X-Server %[res.hdr(server)] hdr X-New %[res.hdr(x-old)]", "return 200 false: X-Old: 1|X-Server: nginx|X-New: |"},
		{0, "return content-type text/plain string ''", "return 200 false: "},
		{0, "redirect location /x", "redirect 302 false: Location: /x|Cache-Control: no-cache|"}, {0, "redirect location https://%[req.hdr(host)]/ code 301", "redirect 301 false: Location: https://www.Example.com:8080/|"},
		{0, "redirect code 308 prefix https://e.com", "redirect 308 false: Location: https://e.com/a/b;v=1?x=1|"}, {0, "redirect prefix https://e.com drop-query", "redirect 302 false: Location: https://e.com/a/b;v=1|Cache-Control: no-cache|"},
		{0, "redirect prefix / code 303", "redirect 303 false: Location: /a/b;v=1?x=1|Cache-Control: no-cache|"}, {0, "redirect prefix / drop-query append-slash code 301", "redirect 301 false: Location: /a/b;v=1/|"},
		{0, "redirect scheme https code 307", "redirect 307 false: Location: https://www.Example.com:8080/a/b;v=1?x=1|Cache-Control: no-cache|"}, {0, "redirect scheme https drop-query code 301 unless { ssl_fc }", "redirect 301 false: Location: https://www.Example.com:8080/a/b;v=1|"},
		{0, "redirect location /l keep-query code 301", "redirect 301 false: Location: /l?x=1|"}, {0, "redirect location /l?y=2 keep-query code 301", "redirect 301 false: Location: /l?y=2&x=1|"}, {0, "redirect location /l? keep-query code 301", "redirect 301 false: Location: /l?x=1|"},
		{0, "redirect location %[req.hdr(x-none)] ignore-empty", "passed"}, {0, "redirect location %[req.hdr(x-a)] ignore-empty code 301", "redirect 301 false: Location: 2|"}, {0, `redirect location %[str("/a%0d%0aSet-Cookie:%20x"),url_dec] code 301`, "redirect 301 false: Location: /aSet-Cookie: x|"},
		{1, "redirect location /x code 301 if { status 200 }", "redirect 301 false: Location: /x|"}, {0, "deny if !office", "passed"},
	} {
		x := newExchange()
		r := list(t, c.phase, c.rule).Run(x)
		got := "passed"
		if r != nil {
			body := r.Answer(x)
			if x.Res.Status != r.Status || x.Res.Body != (message.Body{Kind: message.Sized, Length: int64(len(body))}) {
				t.Errorf("%s: response %+v", c.rule, x.Res)
			}
			got = fmt.Sprintf("%s %d %v: %s%s", r.Kind, r.Status, r.Page, dump(&x.Res.Header), body)
		}
		if got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.rule, got, c.want)
		}
	}
	x := newExchange()
	x.Req.Path, x.Req.Match, x.Req.HasQuery = []byte("*"), []byte("*"), false
	list(t, sample.Request, "redirect scheme https").Run(x).Answer(x)
	if v, _ := x.Res.Header.Get(message.Location); string(v) != "https://www.Example.com:8080/" {
		t.Errorf("redirect of *: %s", v)
	}
}

func TestWrongRulesAreRefusedWhereTheyAreWrong(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"": "0: a rule begins with an action", "dney": `0: unknown action "dney"; did you mean "deny"?`, "tarpit": "0: action \"tarpit\" is not supported by this version", "set-path /x": "0: action \"set-path\" is not supported", "lua.x": "0:", "track-sc1 src": "0: action \"track-sc1\" is not",
		"http-request deny": "0: leave \"http-request\" out", "deny 403": "5: unknown argument of deny", "deny deny_status 42": "17: \"42\" is no status", "deny deny_status": "16: a status code is missing", "deny if": "7: a condition is missing", "deny if offce": `8: unknown ACL "offce"; did you mean "office"?`,
		"deny status 403 status 404": "16: there is a status already", "deny errorfile x": "5: argument of deny \"errorfile\" is not supported", "return string x": "14: content needs its content-type", "return content-type text/plain": "20: content-type without content", "return status 204 content-type a/b string x": "42: a response with status 204",
		"return status 200 stat": "18: unknown argument", "return hdr Content-Length 5": "11: header field Content-Length cannot", "return hdr content-type a/b": "11: the type of the content", "return deny_status 404": "7: unknown argument", "return string a lf-string b": "16: there is a lf-string already",
		"redirect": "0: the redirect says not where to", "redirect location": "17: where to redirect to is missing", "redirect location /x code 300": "26: \"300\" is no code", "redirect location /x prefix /y": "21: the redirect has a location already", "redirect location /x set-cookie a=b": "21: argument of redirect \"set-cookie\" is not supported",
		"redirect scheme https://": "0: \"https://\" is no URL scheme", "redirect location /x drop-query": "0: drop-query does nothing", "redirect prefix /x keep-query": "0: keep-query is for", "redirect prefix /x ignore-empty": "0: ignore-empty", "redirect location /x#y": "20: an unquoted #", "redirect location /x drop-qery": `21: unknown argument of redirect "drop-qery"; did you mean "drop-query"?`,
		"set-header": "10: a header field name is missing", "set-header X": "12: the value is missing", "set-header X a b": `15: unexpected "b"`, "set-header X: a": `11: "X:" is no header field name`, "set-header 'X Y' a": "11:", `set-header X "a\nb"`: `15: the value has the control character`, `set-header X "a\x00b"`: "15:", "set-header X ' a'": "13: white space",
		"set-header X %[scr]": `15: unknown fetch "scr"; did you mean "str"?`, "set-header X %[status]": "15: fetch \"status\" reads the response", "set-header X %T": "13: log-format alias", "deny if { status 200 }": "8: this test reads \"status\"", "set-header Host 'a b'": "11: \"a b\" is no host", "set-header Host user@h": "11:", "set-header Host a,b": "11:",
		"add-header Host x": "11: a request has one Host", "del-header host": "11: Host cannot be removed", "del-header X -m foo": "16: unknown match method", "del-header X -m": "15: a match method", "del-header 'a b' -m beg": "11:", "del-header a(?=b) -m reg": "12:", "del-header X Y": "13: unexpected",
		"set-header X if": "13: the value is missing", "allow x": "6: unexpected \"x\": allow takes no arguments",
	} {
		var env acl.Env
		if err := env.Define("office", []string{"src 10.0.0.0/8"}); err != nil {
			t.Fatal(err)
		}
		_, err := CompileRequest(rule, &env)
		l := sample.Errors(err)
		if len(l) == 0 {
			t.Errorf("%q was accepted", rule)
			continue
		}
		if got := fmt.Sprintf("%d: %s", l[0].Offset, l[0].Msg); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s\nwant %s", rule, got, want)
		}
	}
	for id, why := range reserved {
		for _, rule := range []string{"set-header " + id.String() + " x", "add-header " + strings.ToLower(id.String()) + " x", "del-header " + id.String(), "return hdr " + id.String() + " x"} {
			for _, compile := range []func(string, *acl.Env) (*Rule, error){CompileRequest, CompileResponse} {
				if _, err := compile(rule, nil); err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("%s: %v", rule, err)
				}
			}
		}
	}
	if _, err := CompileResponse("redirect scheme https", nil); err == nil || !strings.Contains(err.Error(), "location only") {
		t.Errorf("redirect scheme in a response rule: %v", err)
	}
	if _, err := CompileRequest("set-header X %[scr] if offce { srk 1 }", nil); len(sample.Errors(err)) != 3 {
		t.Errorf("three faults: %v", err)
	}
}

func TestEveryRowHasADocAndAnExampleThatWorks(t *testing.T) {
	t.Parallel()
	for _, a := range Actions() {
		if !strings.HasSuffix(a.Doc, ".") || !strings.HasPrefix(a.Example, a.Name) || sample.Errors(sample.Unknown(0, "", a.Name, foreign, nil))[0].Msg == "" || strings.Contains(" "+foreign+" ", " "+a.Name+" ") {
			t.Errorf("%s: %+v", a.Name, a)
		}
		for phase, in := range map[sample.Phase]bool{sample.Request: a.Request, sample.Response: a.Response} {
			if in && !strings.HasPrefix(a.Example, "redirect scheme") {
				list(t, phase, a.Example).Run(newExchange())
			}
		}
	}
	list(t, sample.Request, "redirect scheme https code 301").Run(newExchange())
}

func TestHostsAreAuthorities(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"a": "a", "A.b.": "a.b", "a:80": "a", "[::1]:80": "[::1]", "[::1]": "[::1]", "a_b": "a_b", "a:": "a",
		"": "", "a b": "", "a,b": "", "a/b": "", "u@a": "", ":80": "", "a:b": "", "a:1:2": "", "[::1": "", "[::1]x": "", "[]": "", "[zz::1]": "", ".": "", ".:80": "", "::1": "", "a:123456": ""} {
		got := ""
		if authority([]byte(s)) {
			got = string(hostname([]byte(s), new(message.Arena)))
		}
		if got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

var steady = []string{
	"set-header X-Const constant", "set-header X-Src %[src]", "set-header X-Id %[uuid] if { path_beg /a }", "add-header X-B \"a %[src] b\"", "del-header x-int -m beg", "set-header Host new.example", "deny if { hdr(host) -i evil.example }",
	"redirect location %[req.hdr(x-none)] ignore-empty", "del-header X-A",
}

func TestRunningRulesDoesNotAllocate(t *testing.T) {
	for _, last := range []string{"allow", "deny deny_status 429", "redirect scheme https code 301", "redirect prefix https://e.com append-slash", `return content-type text/plain lf-string "you %[src]" hdr X-A %[src] hdr X-B b`} {
		l := list(t, sample.Request, append(steady, last)...)
		x := newExchange()
		keep := append([]message.Field{}, x.Req.Header.Fields...)
		host := x.Req.Authority
		run := func() {
			x.Arena.Reset()
			x.Req.Header.Fields = append(x.Req.Header.Fields[:0], keep...)
			x.Req.Authority = host
			x.Res.Reset()
			if r := l.Run(x); r != nil {
				r.Answer(x)
			}
		}
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", last, n)
		}
	}
}

func TestAConstantIsNotCopied(t *testing.T) {
	t.Parallel()
	x := newExchange()
	l := list(t, sample.Request, "set-header X-Const constant")
	l.Run(x)
	l.Run(x)
	f := x.Req.Header.Fields[len(x.Req.Header.Fields)-1]
	y := newExchange()
	l.Run(y)
	if g := y.Req.Header.Fields[len(y.Req.Header.Fields)-1]; &f.Value[0] != &g.Value[0] || &f.Name[0] != &g.Name[0] {
		t.Error("two exchanges have two copies")
	}
}

func FuzzCompileRequest(f *testing.F) {
	for _, a := range Actions() {
		f.Add(a.Example)
	}
	for _, s := range steady {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := CompileRequest(s, nil)
		for _, e := range sample.Errors(err) {
			if e.Offset < 0 || e.Offset > len(s) || e.Msg == "" {
				t.Fatalf("offset %d of %d: %s", e.Offset, len(s), e.Msg)
			}
		}
		if err != nil {
			return
		}
		// Whatever the rule is, no field of the request or of its answer breaks a line, and the framing is as it was.
		x := newExchange()
		if reply := (List{r}).Run(x); reply != nil {
			reply.Answer(x)
		}
		for _, h := range []*message.Header{&x.Req.Header, &x.Res.Header} {
			for _, f := range h.Fields {
				if !sample.Token(string(f.Name)) || strings.ContainsAny(string(f.Value), "\r\n\x00") {
					t.Fatalf("%q makes %q: %q", s, f.Name, f.Value)
				}
			}
		}
		if v, _ := x.Req.Header.Get(message.Connection); string(v) != "close" || x.Req.Header.Has(message.TransferEncoding) || x.Req.Header.Has(message.ContentLength) || !authority(x.Req.Authority) {
			t.Fatalf("%q changes the framing", s)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	for _, s := range append(steady, "redirect scheme https code 301") {
		l := list(b, sample.Request, s)
		x := newExchange()
		keep := append([]message.Field{}, x.Req.Header.Fields...)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Arena.Reset()
				x.Req.Header.Fields = append(x.Req.Header.Fields[:0], keep...)
				l.Run(x)
			}
		})
	}
}
