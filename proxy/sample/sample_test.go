package sample

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// newExchange is GET https://www.Example.com:8443/a/b;v=1?x=1&y=2 from 192.0.2.7, answered with 200.
func newExchange() *exchange.Exchange {
	x := &exchange.Exchange{
		Src: netip.MustParseAddrPort("192.0.2.7:40000"), Dst: netip.MustParseAddrPort("[::ffff:198.51.100.1]:8443"),
		TLS: true, SNI: "www.example.com", Frontend: "web", Backend: "app", Server: "vm2",
	}
	r := &x.Req
	r.MethodToken, r.Method, r.Minor = []byte("GET"), message.GET, 1
	r.Path, r.Match, r.Query, r.HasQuery = []byte("/a/b;v=1"), []byte("/a/b"), []byte("x=1&y=2"), true
	r.Authority, r.Hostname = []byte("www.Example.com:8443"), []byte("www.example.com")
	put(&r.Header, "Host", "www.Example.com:8443", "Accept", "text/html, text/plain;q=0.5", "accept", `"a,b",`, "Content-Length", "12",
		"X-Empty", "", "Cookie", "a=1; b=2", "User-Agent", "Mozilla/5.0 (X11, Linux)", "X-Num", "0012ab", "X-Forwarded-For", "10.0.0.1, 10.0.0.2")
	x.Res.Status = 200
	put(&x.Res.Header, "Server", "nginx", "Set-Cookie", "s=1", "Set-Cookie", "t=2", "Age", "7")
	return x
}

func put(h *message.Header, kv ...string) {
	for i := 0; i < len(kv); i += 2 {
		n := message.NewName(kv[i])
		h.Append(n.ID, n.Bytes, []byte(kv[i+1]))
	}
}

func TestExpressionsHaveHAProxysValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, want string }{ // "<none>": no value
		{"src", "192.0.2.7"}, {"src_port", "40000"}, {"dst", "198.51.100.1"}, {"dst_port", "8443"},
		{"ssl_fc", "1"}, {"ssl_fc_sni", "www.example.com"}, {"fe_name", "web"}, {"be_name", "app"}, {"srv_name", "vm2"},
		{"method", "GET"}, {"path", "/a/b"}, {"url", "/a/b;v=1?x=1&y=2"}, {"pathq", "/a/b;v=1?x=1&y=2"}, {"query", "x=1&y=2"}, {"base", "www.Example.com:8443/a/b"},
		{"req.ver", "1.1"}, {"bool(no)", "0"}, {"int(-7)", "-7"}, {"str('a,b)')", "a,b)"}, {`str("a'b")`, "a'b"}, {`str(a\ b)`, "a b"}, {"always_true", "1"},
		{"req.hdr(accept)", ""}, {"req.hdr(accept,1)", "text/html"}, {"req.hdr(Accept,2)", "text/plain;q=0.5"}, {"req.hdr(accept,3)", `"a,b"`},
		{"req.hdr(accept,4)", ""}, {"req.hdr(accept,5)", "<none>"}, {"req.hdr(accept,-1)", ""}, {"req.hdr(accept,-2)", `"a,b"`}, {"req.hdr(accept,-4)", "text/html"},
		{"req.hdr(accept,-5)", "<none>"}, {"req.hdr(x-none)", "<none>"}, {"req.hdr(x-empty)", ""}, {"req.hdr(x-forwarded-for)", "10.0.0.2"},
		{"req.fhdr(accept)", `"a,b",`}, {"req.fhdr(accept,1)", "text/html, text/plain;q=0.5"}, {"req.fhdr(user-agent)", "Mozilla/5.0 (X11, Linux)"}, {"hdr(user-agent)", "<none>"},
		{"req.hdr(host)", "www.Example.com:8443"}, {"req.hdr_cnt(accept)", "4"}, {"hdr_cnt(x-none)", "0"}, {"req.hdr_cnt(host)", "1"}, {"req.hdr_val(content-length)", "12"},
		{"req.hdr_val(x-num)", "12"}, {"hdr_val(user-agent)", "0"},
		{"status", "200"}, {"res.hdr(server)", "nginx"}, {"shdr(server)", "nginx"}, {"res.hdr(set-cookie,1)", "s=1"}, {"res.fhdr(set-cookie)", "t=2"}, {"res.hdr_cnt(set-cookie)", "2"}, {"res.hdr_val(age)", "7"},
		{"req.hdr(host),lower", "www.example.com:8443"}, {"method,lower,upper", "GET"}, {"path,length", "4"}, {"src,length", "9"}, {"int(300),length", "3"},
		// The manual's own examples of field and word, sections 7.3.1.
		{"str(f1_f2_f3__f5),field(4,_)", ""}, {"str(f1_f2_f3__f5),field(5,_)", "f5"}, {"str(f1_f2_f3__f5),field(2,_,0)", "f2_f3__f5"}, {"str(f1_f2_f3__f5),field(2,_,2)", "f2_f3"},
		{"str(f1_f2_f3__f5),field(-2,_,3)", "f2_f3_"}, {"str(f1_f2_f3__f5),field(-3,_,0)", "f1_f2_f3"}, {"str(f1_f2_f3__f5),field(6,_)", "<none>"}, {"str(f1_f2),field(-1,_)", "f2"},
		{"str(f1_f2_f3__f5),word(4,_)", "f5"}, {"str(f1_f2_f3__f5),word(5,_)", "<none>"}, {"str(f1_f2_f3__f5),word(2,_,0)", "f2_f3__f5"}, {"str(f1_f2_f3__f5),word(3,_,2)", "f3__f5"},
		{"str(f1_f2_f3__f5),word(-2,_,3)", "f1_f2_f3"}, {"str(f1_f2_f3__f5),word(-3,_,0)", "f1_f2"}, {"str(/f1/f2/f3/f4),word(1,/)", "f1"}, {"str(/f1////f2/f3/f4),word(1,/)", "f1"},
		{"str(012345),bytes(1,3)", "123"}, {"str(012345),bytes(4)", "45"}, {"str(012345),bytes(4,9)", "45"}, {"str(012345),bytes(6)", ""}, {"str(012345),bytes(9,1)", ""},
		{"str(/////a///b/c/xzxyz/),regsub('/+','/','g')", "/a/b/c/xzxyz/"}, {"query,regsub([?;&]*,'')", "x=1&y=2"}, {`str(foo12),regsub("(foo|bar)([0-9]+)?","\2\1",i)`, "12foo"},
		{`str(FOO),regsub(foo,x,i)`, "x"}, {`str(abc),regsub(b,[\0])`, "a[b]c"}, {`str(abc),regsub(x,y)`, "abc"}, {"str(xaax),regsub(a*,-,g)", "-x-x-"},
		{"str(a%2Fb+c),url_dec", "a/b+c"}, {"str(a+b),url_dec(1)", "a b"}, {"str(a+b?c+d),url_dec", "a+b?c d"}, {"str(a%2),url_dec", "<none>"}, {"str(a%zz),url_dec", "<none>"},
		{"str(abc),base64,b64dec", "abc"}, {"str(???),b64dec", "<none>"}, {"str(--a-),ltrim(-)", "a-"}, {"str(--a--),rtrim(-)", "--a"}, {"str(--),rtrim(-)", ""},
		{"int(5),add(-7)", "-2"}, {"int(9223372036854775807),add(1)", "9223372036854775807"}, {"int(-9223372036854775808),sub(1)", "-9223372036854775808"}, {"int(0),sub(-9223372036854775808)", "9223372036854775807"},
		{"str(12ab),add(1)", "13"}, {"str(''),add(1)", "<none>"}, {"ssl_fc,add(1)", "2"}, {"src,add(0)", "3221225991"},
	} {
		e, err := Parse(c.expr, Response)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		x := newExchange()
		got := "<none>"
		if v, ok := e.Eval(x); ok {
			got = string(v.Text(&x.Arena))
		}
		if got != c.want {
			t.Errorf("%s = %q, want %q", c.expr, got, c.want)
		}
	}
}

func TestHdrIsTheMessageAtHand(t *testing.T) {
	t.Parallel()
	x := newExchange()
	put(&x.Req.Header, "Server", "asked")
	for p, want := range map[Phase]string{Request: "asked", Response: "nginx"} {
		e, err := Parse("hdr(server)", p)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := e.Eval(x); string(v.Bytes) != want {
			t.Errorf("hdr(server) in %s rules = %q, want %q", p, v.Bytes, want)
		}
	}
}

func TestHostIsTheAuthorityWhereverItStood(t *testing.T) {
	t.Parallel()
	x := newExchange()
	x.Req.Header.Reset() // as from HTTP/2 or a target in absolute form
	for _, expr := range []string{"req.hdr(host)", "req.fhdr(host)", "req.hdr(Host,1)", "req.hdr(host,-1)"} {
		e, _ := Parse(expr, Request)
		if v, ok := e.Eval(x); !ok || string(v.Bytes) != "www.Example.com:8443" {
			t.Errorf("%s = %q, %v", expr, v.Bytes, ok)
		}
	}
	x.Req.Authority = nil
	e, _ := Parse("req.hdr(host)", Request)
	if _, ok := e.Eval(x); ok {
		t.Error("a request without a host has one")
	}
}

func TestUUIDsAreOfTheirVersionAndDiffer(t *testing.T) {
	t.Parallel()
	x := newExchange()
	for expr, re := range map[string]string{"uuid": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, "uuid(7)": `^0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]`} {
		e, err := Parse(expr, Request)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := e.Eval(x)
		b, _ := e.Eval(x)
		if !regexp.MustCompile(re).Match(a.Bytes) || string(a.Bytes) == string(b.Bytes) {
			t.Errorf("%s: %s, %s", expr, a.Bytes, b.Bytes)
		}
	}
}

func TestEveryRowHasADocAndAnExampleThatWorks(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range Fetches() {
		for _, n := range append([]string{f.Name}, f.Aliases...) {
			if seen[n] {
				t.Errorf("%s is there twice", n)
			}
			seen[n] = true
			if FetchName(n) != n {
				t.Errorf("%s cannot be parsed as a name", n)
			}
		}
		if !strings.HasSuffix(f.Doc, ".") || FetchName(f.Example) != f.Name {
			t.Errorf("%s: doc %q, example %q", f.Name, f.Doc, f.Example)
		}
		e, err := Parse(f.Example, f.From)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		if f.From == Response {
			if _, err := Parse(f.Example, Request); err == nil || !strings.Contains(err.Error(), "does not exist yet") {
				t.Errorf("%s in a request rule: %v", f.Name, err)
			}
		}
		if v, ok := e.Eval(newExchange()); !ok || v.Type != f.Type {
			t.Errorf("%s: %v %v, want a %s", f.Example, v, ok, f.Type)
		}
		if _, _, ok, more := e.Next(newExchange(), Cursor{}); !ok || !more {
			t.Errorf("%s gives an ACL nothing", f.Example)
		}
	}
	for _, c := range Converters() {
		if seen["converter "+c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen["converter "+c.Name] = true
		if !strings.HasSuffix(c.Doc, ".") || !strings.Contains(c.Example, c.Name) {
			t.Errorf("%s: doc %q, example %q", c.Name, c.Doc, c.Example)
		}
		w, err := Words(c.Example)
		if err != nil || len(w) != 1 {
			t.Fatalf("%s: %v %v", c.Example, w, err)
		}
		e, err := ParseWord(w[0], nil, Request)
		if err != nil {
			t.Errorf("%s: %v", c.Example, err)
			continue
		}
		x := newExchange()
		if v, ok := e.Eval(x); !ok || v.Type != c.Out || string(v.Text(&x.Arena)) != c.Gives {
			t.Errorf("%s = %q, want %q", c.Example, v.Text(&x.Arena), c.Gives)
		}
	}
	for k, row := range kinds {
		if row.want == "" {
			t.Errorf("kind %d says not what it wants", k)
		}
	}
}

func TestWrongExpressionsAreRefusedWhereTheyAreWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expr string
		at   int
		says string
	}{
		{"", 0, "missing"}, {"sorc", 0, `unknown fetch "sorc"; did you mean "src"?`}, {"ssl_c_s_dn", 0, "not supported by this version of edge"}, {"http_auth(u)", 0, "not supported by this version"},
		{"status", 0, "does not exist yet in request rules"}, {"src,lowr", 4, `did you mean "lower"`}, {"src,map(f)", 4, "not supported by this version"}, {"src,", 4, "converter is missing"},
		{"src lower", 3, "unexpected"}, {"src(1)", 4, "no arguments"}, {"req.hdr", 7, `needs its argument "name"`}, {"req.hdr(a b)", 8, "not a header field name"}, {"req.hdr(host,x)", 13, "not a number"},
		{"req.hdr(host,-11)", 13, "at least -10"}, {"req.hdr(host", 7, "never closed"}, {"str('abc)", 4, "never closed"}, {"str(a),field(0,_)", 13, "other than 0"}, {"str(a),field(1,'')", 15, "one character"},
		{"str(a),regsub('(?=x)',y)", 7, "a lookahead"}, {`str(a),regsub(a,\1)`, 7, "0 groups"}, {"str(a),regsub(a,b,x)", 18, "g, i or both"}, {"rand(0)", 5, "above 0"}, {"uuid(5)", 5, "4 or 7"}, {"bool(maybe)", 5, "true or false"},
	} {
		_, err := Parse(c.expr, Request)
		if list := Errors(err); len(list) != 1 || list[0].Offset != c.at || !strings.Contains(list[0].Msg, c.says) {
			t.Errorf("%q: %v (%+v), want %q at %d", c.expr, err, list, c.says, c.at)
		}
	}
}

func TestWordsAreHAProxys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": nil, "  a\tb  c ": {"a", "b", "c"}, `a\ b`: {"a b"}, `'a "b" \n'`: {`a "b" \n`}, `"a 'b' \"c\" \\ \n"`: {"a 'b' \"c\" \\ \n"},
		`a"b c"d`: {"ab cd"}, `''`: {""}, `\#x`: {"#x"}, `'#x'`: {"#x"}, `^/\d+\.x$`: {`^/\d+\.x$`}, `\x41\x7e`: {"A~"}, `'${X}' "$1"`: {"${X}", "$1"}, `\t`: {"\t"}, `a\`: {`a\`},
	} {
		words, err := Words(text)
		var got []string
		for _, w := range words {
			got = append(got, w.Text)
		}
		if err != nil || strings.Join(got, "|") != strings.Join(want, "|") || len(got) != len(want) {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
	for text, at := range map[string]int{"a 'b": 2, `"`: 0, "a #b": 2, "a#b": 1, `a \x4`: 2} {
		if _, err := Words(text); err == nil || Errors(err)[0].Offset != at {
			t.Errorf("%q: %v, want an error at %d", text, err, at)
		}
	}
	w, _ := Words(`a "b\\c%[sorc]"`)
	_, err := ParseFormatWord(w[1], Request)
	if e := Errors(err); len(e) != 1 || e[0].Offset != 9 {
		t.Errorf("an error in a quoted word: %+v, want it at 9", e)
	}
}

func TestFormatsFillInExpressions(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"": "", "abc": "abc", "100%%": "100%", "%[src]": "192.0.2.7", "a%[src]b": "a192.0.2.7b", "%[req.hdr(x-none)]": "", "<%[req.hdr(x-none)]>": "<>",
		"%[str(])]": "]", "%[src]:%[src_port] %[method] %[path] %[ssl_fc] %[dst] %[dst_port] %[fe_name] %[query] %[req.ver]": "192.0.2.7:40000 GET /a/b 1 198.51.100.1 8443 web x=1&y=2 1.1",
	} {
		f, err := ParseFormat(format, Request)
		if err != nil {
			t.Errorf("%q: %v", format, err)
			continue
		}
		x := newExchange()
		if got := string(f.Bytes(x)); got != want {
			t.Errorf("%q: Bytes = %q, want %q", format, got, want)
		}
		if got := string(f.Append([]byte("> "), x)); got != "> "+want {
			t.Errorf("%q: Append = %q, want %q", format, got, want)
		}
	}
	for format, at := range map[string]int{"%": 0, "a% b": 1, "%ci": 0, "%{+Q}[src]": 0, "%[src": 0, "%[src x]": 5, "ab%[nope]": 4, "%[status]": 2} {
		if _, err := ParseFormat(format, Request); err == nil || Errors(err)[0].Offset != at {
			t.Errorf("%q: %v, want an error at %d", format, Errors(err), at)
		}
	}
}

func TestPCRESyntaxIsRefusedByName(t *testing.T) {
	t.Parallel()
	for pattern, says := range map[string]string{
		"a(?=b)": "a lookahead", "(?!x)": "a negative lookahead", "(?<=a)b": "a lookbehind", "(?<!a)b": "a negative lookbehind", "(?>a)": "atomic", `(a)\1`: `back-reference \1`,
		"a++": "possessive", "a*+": "possessive", "(?(1)a|b)": "conditional", `a\K`: "match reset", "(*FAIL)": "backtracking", `\h`: `class \h`,
	} {
		if _, err := Regexp(pattern, false); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "PCRE") {
			t.Errorf("%s: %v, want %q", pattern, err, says)
		}
	}
	for _, pattern := range []string{`[(?=]+`, `\(\?=`, `a\++`, `[]*+]`, `[^]++]`, `(?i)a`, `(?P<n>a)`, `\Q(?=\E`, `[[:alpha:]*+]`, `^/v\d+(\.\d+)?$`} {
		if _, err := Regexp(pattern, true); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

func TestCommonEvaluationsDoNotAllocate(t *testing.T) {
	x := newExchange()
	for _, s := range []string{"%[src]", "%[req.hdr(host),lower]", "%[path]", "%[uuid]", "%[url]", "%[base]", "a %[src]:%[src_port] b", "constant", "%[dst_port,add(70000)]", "%[req.hdr(accept,-2)]", "%[str(a b),field(2,' '),upper]", "%[query,url_dec(1),base64]"} {
		f, err := ParseFormat(s, Request)
		if err != nil {
			t.Fatal(err)
		}
		f.Bytes(x)
		if n := testing.AllocsPerRun(100, func() { x.Arena.Reset(); f.Bytes(x) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{`deny if { path_beg "/a b" }`, `'x`, `a\x41 "\"" #`, `a\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := Words(s)
		if err != nil {
			if o := Errors(err)[0].Offset; o < 0 || o > len(s) {
				t.Fatalf("offset %d of %d", o, len(s))
			}
			return
		}
		// Quoted again, the words are the same.
		var b strings.Builder
		last := -1
		for _, w := range words {
			if w.Offset <= last || w.At(len(w.Text)) > len(s) {
				t.Fatalf("word %+v out of place", w)
			}
			last = w.Offset
			b.WriteString(` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w.Text) + `"`)
		}
		again, err := Words(b.String())
		if err != nil || len(again) != len(words) {
			t.Fatalf("%q: %v %v", b.String(), again, err)
		}
		for i := range words {
			if again[i].Text != words[i].Text {
				t.Fatalf("%q became %q", words[i].Text, again[i].Text)
			}
		}
	})
}

func FuzzParseFormat(f *testing.F) {
	for _, r := range Fetches() {
		f.Add("%[" + r.Example + "]")
	}
	for _, r := range Converters() {
		f.Add("x%%%[" + r.Example + "]")
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseFormat(s, Response)
		if err != nil {
			for _, e := range Errors(err) {
				if e.Offset < 0 || e.Offset > len(s) {
					t.Fatalf("offset %d of %d: %s", e.Offset, len(s), e.Msg)
				}
			}
			return
		}
		x := newExchange()
		g.Bytes(x)
	})
}

func BenchmarkFormat(b *testing.B) {
	x := newExchange()
	for _, s := range []string{"constant", "%[src]", "%[uuid]", "%[req.hdr(host),lower]", "a %[src]:%[src_port] b"} {
		f, _ := ParseFormat(s, Request)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Arena.Reset()
				f.Bytes(x)
			}
		})
	}
}
