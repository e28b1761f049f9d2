package acl

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/sample"
)

// newExchange is GET http://www.Example.com:8080/static/img/Logo.png?x=1 from 10.1.2.3.
func newExchange() *exchange.Exchange {
	x := &exchange.Exchange{Src: netip.MustParseAddrPort("10.1.2.3:40000"), Dst: netip.MustParseAddrPort("198.51.100.1:8080")}
	r := &x.Req
	r.MethodToken, r.Method, r.Minor = []byte("GET"), message.GET, 1
	r.Path, r.Query, r.HasQuery = []byte("/static/img/Logo.png"), []byte("x=1"), true
	r.Match = r.Path
	r.Authority, r.Hostname = []byte("www.Example.com:8080"), []byte("www.example.com")
	for _, kv := range [][2]string{{"Accept-Encoding", "br, gzip"}, {"Accept-Encoding", "zstd"}, {"X-Empty", ""}, {"Content-Length", "12"}, {"X-Beta", "on"}, {"User-Agent", "GoogleBot/2.1"}} {
		n := message.NewName(kv[0])
		r.Header.Append(n.ID, n.Bytes, []byte(kv[1]))
	}
	return x
}

// TestACLsMatchAsInHAProxy: HAProxy 2.6 gave the same verdict on every line, but for the quoted "-i", which it takes for the flag.
func TestACLsMatchAsInHAProxy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string
		want bool
	}{
		{"path /static/img/Logo.png", true}, {"path /static", false}, {"path /a /static/img/Logo.png", true}, {"path -i /STATIC/img/logo.png", true}, {"path /static/img/logo.png", false},
		{"path -i /a /static/img/LOGO.png", true}, {"path -m str -i /static/img/logo.PNG", true},
		{"path_beg /stat", true}, {"path_beg /static/", true}, {"path_beg static", false}, {"path_beg -i /STA", true}, {"path_beg /x /y /static/img/Logo.png", true}, {"path_beg /static/img/Logo.png/", false},
		{"path_end .png", true}, {"path_end .gif .png", true}, {"path_end .PNG", false}, {"path_end -i .PNG", true}, {"path -m end Logo.png", true},
		{"path_sub img", true}, {"path_sub IMG", false}, {"path_sub -i IMG", true}, {"path_sub x y z", false},
		{"path_dir img", true}, {"path_dir /img/", true}, {"path_dir static/img", true}, {"path_dir mg", false}, {"path_dir -i IMG", true}, {"path_dir Logo", false}, {"path_dir Logo.png", true}, {"path_dir static", true},
		{"path_reg ^/static/.*\\.png$", true}, {"path_reg -i LOGO", true}, {"path_reg LOGO", false}, {"path_len 20", true}, {"path_len gt 20", false}, {"path_len 5:", true}, {"path -m len lt 21", true},
		{"url /static/img/Logo.png?x=1", true}, {"url_end x=1", true}, {"url_dir Logo.png", true}, {"url_beg /", true}, {"url_sub ?x", true}, {"url_reg x=[0-9]$", true},
		{"hdr(host) www.Example.com:8080", true}, {"hdr(host) www.Example.com", false}, {"hdr(host) www.example.com:8080", false}, {"hdr(host) -i www.example.com:8080", true},
		{"hdr_beg(host) www.", true}, {"hdr_end(host) :8080", true}, {"hdr_dom(host) -i example.com", true}, {"hdr_dom(host) -i xample.com", false}, {"hdr_dom(host) 8080", true}, {"hdr_dom(host) .com.", true}, {"hdr_reg(host) -i ^www\\.", true},
		{"hdr_sub(user-agent) -i bot", true}, {"hdr_beg(host) -m dom Example", true}, {"hdr_len(host) 20", true}, {"req.hdr(host),lower www.example.com:8080", true}, {"req.hdr(host),lower -m beg www", true},
		{"hdr(accept-encoding) gzip", true}, {"hdr(accept-encoding) br", true}, {"hdr(accept-encoding) zstd", true}, {"hdr(accept-encoding) 'br, gzip'", false}, {"req.fhdr(accept-encoding) 'br, gzip'", true},
		{"hdr(accept-encoding,2) gzip", true}, {"hdr(accept-encoding,2) zstd", false}, {"hdr(accept-encoding,-1) zstd", true}, {"hdr_cnt(accept-encoding) 3", true}, {"hdr_cnt(accept-encoding) eq 3", true},
		{"hdr(x-none) -m found", false}, {"hdr(x-empty) -m found", true}, {"hdr(x-empty) -m len 0", true}, {"hdr(x-none) -m len 0", false}, {"hdr(x-beta) -m found", true}, {"hdr_sub(x-none) a", false}, {"hdr_cnt(x-none) 0", true},
		{"hdr(content-length) -m int 10:20", true}, {"hdr_val(content-length) gt 12", false}, {"hdr(user-agent) -m int 0", true}, {"hdr(x-empty) -m int 0", false}, {"hdr(content-length) -m bool", true}, {"hdr(x-beta) -m bool", false},
		{"src 10.0.0.0/8", true}, {"src 10.1.2.3", true}, {"src 10.1.2.4", false}, {"src 192.168.0.0/16 10.1.2.0/255.255.255.0", true}, {"src 10.9.9.9/8", true}, {"src ::ffff:10.0.0.0/104", true}, {"src fe80::/10", false}, {"src -n 0.0.0.0/0", true},
		{"src -m str 10.1.2.3", true}, {"src -m beg 10.", true}, {"dst 198.51.100.1", true}, {"dst_port 8080", true}, {"dst_port 80 443", false}, {"dst_port 8000-8999", true}, {"dst_port 80 8000:8100 9", true}, {"dst_port ge 8080", true}, {"dst_port lt 8080", false},
		{"dst_port gt 5 10000", true}, {"dst_port gt 9000 10000", false}, {"dst_port ge 8000 le 1", true}, {"dst_port :8080", true}, {"dst_port 8081:", false}, {"src_port 1024:65535", true}, {"dst_port -m str 8080", true}, {"dst_port -m bool", true},
		{"method GET", true}, {"method POST PUT", false}, {"method get", false}, {"ssl_fc", false}, {"ssl_fc -m int 0", true}, {"req.ver 1.1", true}, {"always_true", true}, {"int(0) -m bool", false}, {"str(10.0.0.1) -m ip 10.0.0.0/24", true}, {"str(x) -m ip 0.0.0.0/0", false},
		{"path -- -i", false}, {`str(-i) -- -i`, true}, {`str(-i) "-i"`, true}, {"path -i -- /STATIC/img/logo.png", true}, {"base_sub -i example.com:8080/static", true}, {`str("a b") "a b"`, true}, {`str("a b") a\ b`, true},
	} {
		var env Env
		if err := env.Define("it", []string{c.line}); err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		cond, err := Compile("if it", &env)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if got := cond.Eval(newExchange()); got != c.want {
			t.Errorf("%s: %v", c.line, got)
		}
	}
}

func TestAddressesMatchAcrossFamiliesAsInHAProxy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		src, line string
		want      bool
	}{
		{"2001:db8::1", "src 2001:db8::/32", true}, {"2001:db8::1", "src 10.0.0.0/8", false}, {"2002:a01:203::9", "src 10.0.0.0/8", true}, {"::10.1.2.3", "src 10.0.0.0/8", true},
		{"::ffff:10.1.2.3", "src 10.0.0.0/8", true}, {"127.0.0.9", "src 127.0.0.1/8 ::1", true}, {"::1", "src 127.0.0.1/8 ::1", true}, {"10.1.2.3", "src ::/0", true}, {"::2", "src ::1", false},
	} {
		x := newExchange()
		x.Src = netip.AddrPortFrom(netip.MustParseAddr(c.src), 1)
		cond, err := Compile("{ "+c.line+" }", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := cond.Eval(x); got != c.want {
			t.Errorf("%s: { %s } is %v", c.src, c.line, got)
		}
	}
}

func TestConditionsCombine(t *testing.T) {
	t.Parallel()
	var env Env
	for _, d := range [][]string{{"yes", "always_true"}, {"no", "always_false"}, {"either", "always_false", "always_true"}, {"METH_PUT", "always_true"}, {"yes.it:is-1_x", "always_true"}} {
		if err := env.Define(d[0], d[1:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := env.Define("no2", []string{"always_false"}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"yes": true, "if no": false, "unless no": true, "unless yes yes": false, "unless yes no": true, "yes no": false, "yes !no": true, "yes ! no": true, "!!yes": true, "! ! yes": true, "! !no": false,
		"no or yes": true, "no || no yes || yes": true, "no OR yes": true, "yes no or no yes": false, "either": true, "!either or no": false, "{ always_true } no": false, "!{ always_true }": false, "! { always_false }": true,
		"if { path_beg /static } !{ ssl_fc } or no": true, "TRUE !FALSE": true, "METH_GET": true, "METH_POST": false, "METH_PUT": true, "HTTP_1.1 !HTTP_1.0 !HTTP_2.0": true, "HTTP": true, "LOCALHOST": false, "HTTP_CONTENT": true, "HTTP_URL_SLASH": true, "HTTP_URL_STAR": false,
		"yes.it:is-1_x": true, `{ str(}) "}" }`: true,
	} {
		c, err := Compile(text, &env)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Eval(newExchange()); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if !(*Condition)(nil).Eval(newExchange()) {
		t.Error("no condition does not hold")
	}
	x := newExchange()
	x.Req.MethodToken = []byte("HEAD")
	if c, _ := Compile("METH_GET", nil); !c.Eval(x) {
		t.Error("METH_GET does not match HEAD")
	}
}

// counted is a matcher that counts how often it is asked.
type counted struct{ n *int }

func (c counted) match(sample.Value, *message.Arena) bool { *c.n++; return true }

func TestAnACLIsEvaluatedInOrderAndOnlyIfNeeded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"FALSE it": 0, "it FALSE": 1, "TRUE or it": 0, "FALSE or it": 1, "it it": 2, "FALSE it or TRUE it or it": 1} {
		var env Env
		if err := env.Define("it", []string{"always_true -m found"}); err != nil {
			t.Fatal(err)
		}
		n := 0
		env.named["it"].tests[0].with = counted{&n}
		c, err := Compile(text, &env)
		if err != nil {
			t.Fatal(err)
		}
		if c.Eval(newExchange()); n != want {
			t.Errorf("%s: evaluated %d times, want %d", text, n, want)
		}
	}
}

func TestFaultsAreNamedWhereTheyAre(t *testing.T) {
	t.Parallel()
	var env Env
	if err := env.Define("office", []string{"src 10.0.0.0/8"}); err != nil {
		t.Fatal(err)
	}
	if err := env.Define("answered", []string{"status 200"}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{ // offset: message
		"": "0: a condition is missing", "if": "2: a condition is missing", "if offic": `3: unknown ACL "offic"; did you mean "office"?`, "if office and TRUE": `10: "and" is no word`, "if office && TRUE": "10:", "if (office)": "3: unknown ACL",
		"if office or": `10: nothing follows "or"`, "if or office": "3: \"or\" needs", "office !": "7: nothing follows", "{ path_beg /x": "0: this { is never closed", "{ }": "0: { } is empty", "office }": "7:", "if { pth_beg /x }": `5: unknown criterion "pth_beg"; did you mean "path_beg"?`,
		"{ path_beg }": "2: path_beg has no pattern", "{ ssl_fc 1 }": "9: a bool match takes no pattern", "{ path -m foo x }": "10: unknown match method", "{ path -m bin 00 }": "10: match method \"bin\" is not supported", "{ path -m }": "7: -m needs a method", "{ path -f x.lst }": "7: flag -f", "{ path -q x }": "7: unknown flag",
		"{ path -m beg -m end x }": "14: there is a -m already", "{ dst_port 80x }": "11: \"80x\" is no number", "{ dst_port 90:80 }": "11:", "{ dst_port -1 }": "11: unknown flag", "{ dst_port eq }": "11: operator", "{ dst_port gt 1:2 }": "14: \"1:2\" is a range",
		"{ src 10.1/8 }": "6: \"10.1/8\" is an abbreviated", "{ src example.com }": "6:", "{ src 10.0.0.0/33 }": "6: \"33\" is no prefix length", "{ src 10.0.0.0/255.0.255.0 }": "6: netmask", "{ src fe80::1%eth0 }": "6:", "{ dst_port -m ip 10.0.0.1 }": "14: -m ip cannot",
		"{ path_reg a(?!b) }": "12: regular expression", "{ path_reg ( }": "11: regular expression", "{ path_dir // }": "11:", `{ path "" }`: "7: an empty pattern", "{ path_beg,lower /x }": "2: path_beg takes no converters", "{ status 200 }": "0: this test reads \"status\"", "if answered": "3: ACL \"answered\" reads",
		"{ sc0_conn_cnt gt 1 }": "2: fetch \"sc0_conn_cnt\" is not supported by this version", "WAIT_END": "0: ACL \"WAIT_END\" is not supported", "path_beg /x": "0: there is no ACL \"path_beg\"; a test written on the spot stands in braces", "{ src 'a }": "6: this quote",
	} {
		_, err := Compile(text, &env)
		list := sample.Errors(err)
		if len(list) == 0 {
			t.Errorf("%q was accepted", text)
			continue
		}
		if got := fmt.Sprintf("%d: %s", list[0].Offset, list[0].Msg); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s\nwant %s", text, got, want)
		}
	}
	_, err := Compile("if offise or { pth / } or { src x } TRUE", &env)
	if list := sample.Errors(err); len(list) != 3 || list[0].Offset != 3 || list[1].Offset != 15 || list[2].Offset != 32 {
		t.Errorf("three faults: %+v", list)
	}
	for _, name := range []string{"", "a b", "or", "OR", "if", "ä", "a!"} {
		if env.Define(name, []string{"always_true"}) == nil {
			t.Errorf("ACL name %q was accepted", name)
		}
	}
	if env.Define("x", nil) == nil || env.Define("x", []string{""}) == nil {
		t.Error("an empty ACL was accepted")
	}
	if err := env.Define("x", []string{"pth /a", "always_true", "src y"}); len(sample.Errors(err)) != 2 {
		t.Errorf("two faults in lines: %v", err)
	}
	if c, err := CompileWords(mustWords("if answered"), &env, sample.Response); err != nil || c.Eval(newExchange()) {
		t.Errorf("a response ACL in a response rule: %v", err)
	}
}

func mustWords(s string) []sample.Word {
	w, err := sample.Words(s)
	if err != nil {
		panic(err)
	}
	return w
}

func TestEveryRowHasADocAndAnExampleThatWorks(t *testing.T) {
	t.Parallel()
	x := newExchange()
	for _, m := range Methods() {
		c, err := Compile("{ "+m.Example+" }", nil)
		if err != nil || !strings.HasSuffix(m.Doc, ".") {
			t.Errorf("%s: doc %q: %v", m.Name, m.Doc, err)
			continue
		}
		if got := c.any[0][0].acl.tests[0].method.Name; got != m.Name {
			t.Errorf("the example of %s uses %s", m.Name, got)
		}
		c.Eval(x)
	}
	for _, p := range PredefinedACLs() {
		if c, err := Compile(p.Name, nil); err != nil || p.Doc == "" || p.Name != strings.ToUpper(p.Name) {
			t.Errorf("%s: %v", p.Name, err)
		} else {
			c.Eval(x)
		}
	}
	for _, name := range Criteria() {
		_, plain := CompileWords(mustWords("{ "+name+" 1 }"), nil, sample.Response)
		if _, of := CompileWords(mustWords("{ "+name+"(host) 1 }"), nil, sample.Response); plain != nil && of != nil {
			t.Errorf("%s: %v, %v", name, plain, of)
		}
	}
}

// TestManyPatternsMatchWhatFewDo compares the searches over many patterns with looking at each.
func TestManyPatternsMatchWhatFewDo(t *testing.T) {
	t.Parallel()
	alphabet := []string{"", "a", "b", "/", "A", "ab", "ba", "/a", "aB", "abab", "b/a"}
	var all []string
	for _, a := range alphabet {
		for _, b := range alphabet {
			if a+b != "" {
				all = append(all, a+b)
			}
		}
	}
	for seed := range 400 {
		var chosen []pattern
		for i, s := range all {
			if (seed*2654435761>>3+i*i*40503+i*seed*97)%11 == 0 {
				chosen = append(chosen, pattern{sample.Word{Text: s}})
			}
		}
		if len(chosen) == 0 {
			continue
		}
		for _, fold := range []bool{false, true} {
			same := func(s string) string {
				if fold {
					return strings.ToLower(s)
				}
				return s
			}
			ex, _ := compileExact(chosen, fold)
			beg, end := compileAffixes(chosen, fold, false), compileAffixes(chosen, fold, true)
			for _, v := range all {
				var wantEx, wantBeg, wantEnd bool
				for _, p := range chosen {
					wantEx = wantEx || same(v) == same(p.Text)
					wantBeg = wantBeg || strings.HasPrefix(same(v), same(p.Text))
					wantEnd = wantEnd || strings.HasSuffix(same(v), same(p.Text))
				}
				var a message.Arena
				val := sample.Value{Type: sample.Str, Bytes: []byte(v)}
				if ex.match(val, &a) != wantEx || beg.match(val, &a) != wantBeg || end.match(val, &a) != wantEnd {
					t.Fatalf("%q against %v fold %v: %v %v %v, want %v %v %v", v, chosen, fold, ex.match(val, &a), beg.match(val, &a), end.match(val, &a), wantEx, wantBeg, wantEnd)
				}
			}
		}
	}
}

var conditions = []string{
	"if { path_beg /api /static }", "if { path_sub -i IMG } or { src 192.168.0.0/16 }", "if { hdr(host) -i www.example.com:8080 www.example.com }", "if { hdr_dom(host) -i example.com } !{ ssl_fc }",
	"if METH_GET { src 10.0.0.0/8 } { dst_port 80 8080 }", "if { path_reg ^/static/ } { hdr(accept-encoding) zstd }", "if { path_end -i .PNG } { hdr_cnt(accept-encoding) gt 2 } { path_dir img }", "if { req.hdr(host),lower -m beg www }", "if { url_sub x= } { src -m str 10.1.2.3 }",
}

func TestEvaluationDoesNotAllocate(t *testing.T) {
	x := newExchange()
	for _, s := range conditions {
		c, err := Compile(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !c.Eval(x) {
			t.Errorf("%s does not hold", s)
		}
		if n := testing.AllocsPerRun(100, func() { x.Arena.Reset(); c.Eval(x) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range append(conditions, "unless a or ! b", "{ path -m str -i -- -x }", "if { src ::/0 10.0.0.0/255.0.0.0 }", `{ hdr(x,-1) "a b" }`) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var env Env
		if err := env.Define("a", []string{"path_beg /a"}); err != nil {
			t.Fatal(err)
		}
		c, err := Compile(s, &env)
		for _, e := range sample.Errors(err) {
			if e.Offset < 0 || e.Offset > len(s) || e.Msg == "" {
				t.Fatalf("offset %d of %d: %s", e.Offset, len(s), e.Msg)
			}
		}
		if err != nil {
			return
		}
		held := c.Eval(newExchange())
		switch words := mustWords(s); {
		case words[0].Is("if"):
			return
		case words[0].Is("unless"):
			return
		}
		not, err := Compile("unless "+s, &env)
		if err != nil || not.Eval(newExchange()) == held {
			t.Fatalf("unless %s: %v, not the opposite", s, err)
		}
	})
}

func BenchmarkCondition(b *testing.B) {
	x := newExchange()
	run := func(name, text string) {
		c, err := Compile(text, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Arena.Reset()
				c.Eval(x)
			}
		})
	}
	for _, s := range conditions {
		run(s, s)
	}
	for _, method := range []string{"str", "beg", "end"} {
		for _, n := range []int{10, 10000} {
			var list strings.Builder
			for i := range n {
				fmt.Fprintf(&list, " /team%d/service%d/", i%97, i)
			}
			run(fmt.Sprintf("path -m %s with %d patterns", method, n), "{ path -m "+method+list.String()+" }")
		}
	}
}
