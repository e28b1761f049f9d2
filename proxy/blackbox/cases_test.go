package blackbox

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The cases of testdata/h1cases.tsv: bytes a client may send, and what a safe proxy does with them. In the bytes, \r \n \t \\ \xHH are
// escapes, @{n*text} is the text n times, and @{FIN} ends the client's side.
//
// Verdicts: reject-4xx (refused, the server sees nothing), close (the exchange is broken off: the server sees nothing, or a request that
// never becomes complete), forward-verbatim-ok and forward-normalised (the server gets it; forwarded below says what exactly).
type h1case struct {
	id, class, ref, note string
	bytes                string
	fin                  bool
	verdicts             []string
	from                 string // address of the client: each case has its own, so that what arrives late is known to be another's
}

func readCases(t testing.TB) (list []h1case) {
	f, err := os.Open("../testdata/h1cases.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // the column names
	for lines.Scan() {
		col := strings.Split(lines.Text(), "\t")
		if len(col) != 7 {
			t.Fatalf("%d columns: %s", len(col), lines.Text())
		}
		c := h1case{id: col[0], class: col[1], ref: col[5], note: col[6], verdicts: []string{col[3]}}
		if c.bytes, c.fin, err = unescape(col[2]); err != nil {
			t.Fatalf("%s: %v", c.id, err)
		}
		c.from = fmt.Sprintf("127.0.7.%d", len(list)+1)
		if col[4] != "" {
			c.verdicts = append(c.verdicts, strings.Split(col[4], ",")...)
		}
		list = append(list, c)
	}
	if err := lines.Err(); err != nil || len(list) != 132 {
		t.Fatalf("%d cases, %v", len(list), err)
	}
	return list
}

func unescape(s string) (out string, fin bool, err error) {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "@{FIN}"):
			fin = true
			i += len("@{FIN}")
		case strings.HasPrefix(s[i:], "@{"):
			inner, _, ok := strings.Cut(s[i+2:], "}")
			times, text, ok2 := strings.Cut(inner, "*")
			n, err := strconv.Atoi(times)
			if !ok || !ok2 || err != nil {
				return "", false, fmt.Errorf("repetition at %.20q", s[i:])
			}
			part, _, err := unescape(text)
			if err != nil {
				return "", false, err
			}
			b.WriteString(strings.Repeat(part, n))
			i += len(inner) + 3
		case s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x':
			n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return "", false, err
			}
			b.WriteByte(byte(n))
			i += 4
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("rnt\\", s[i+1]) >= 0:
			b.WriteByte("\r\n\t\\"[strings.IndexByte("rnt\\", s[i+1])])
			i += 2
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String(), fin, nil
}

// Each proxy has a server of its own, and takes one case at a time.
func TestRequestsThatOthersGotWrong(t *testing.T) {
	t.Parallel()
	cases := readCases(t)
	work := make(chan h1case, len(cases))
	for _, c := range cases {
		work <- c
	}
	close(work)
	var wg sync.WaitGroup
	for range 12 {
		server := newRecorder(t)
		proxy := start(t, setup{servers: []string{server.Addr().String()}, client: "1s", request: "1s"})
		wg.Go(func() {
			for c := range work {
				if got, wrong := c.run(t, proxy, server); wrong != nil {
					t.Errorf("%s (%s; RFC %s; %s): want %s, got %s\n\t%s", c.id, c.class, c.ref, c.note, strings.Join(c.verdicts, " or "), got, strings.Join(wrong, "\n\t"))
				}
			}
		})
	}
	wg.Wait()
}

// run sends the bytes, waits until both sides are quiet, and judges.
func (c h1case) run(t testing.TB, proxy string, server *recorder) (got string, wrong []string) {
	before := len(server.arrivals(0))
	cl := dialFrom(t, c.from, proxy)
	go func() {
		_ = cl.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if _, err := cl.Write([]byte(c.bytes)); err == nil && c.fin {
			_ = cl.CloseWrite()
		}
	}()
	// What says that nothing more will come is the end of the connection, or silence after an answer that does not announce it.
	for until := time.Now().Add(5 * time.Second); !cl.closed && cl.more(until); {
		if !strings.Contains(strings.ToLower(string(cl.got)), "connection: close") {
			until = time.Now().Add(400 * time.Millisecond)
		}
	}
	cl.Close()
	eventually(t, c.id+": the server is quiet", server.quiet)
	// The next client, perhaps on the same connection to the server, must get its own answer.
	fence := "/fence-" + c.id
	next := ask(t, proxy, "GET "+fence+" HTTP/1.1\r\nHost: fence.example\r\nConnection: close\r\n\r\n")
	if next.status != 200 || next.get("X-Answers") != "GET "+fence {
		wrong = append(wrong, fmt.Sprintf("the next client got %d for %q", next.status, next.get("X-Answers")))
	}
	eventually(t, c.id+": the server is quiet", server.quiet)

	var arrived []*arrival
	for _, a := range server.arrivals(before) {
		h, _ := parseHead(a.top)
		switch by := h.get("X-Forwarded-For"); {
		case a.line() == "GET "+fence+" HTTP/1.1":
		case by != c.from && strings.HasPrefix(by, "127.0.7.") && !a.complete: // what an earlier case left broken is read only now
			wrong = append(wrong, inspect(a, proxy, by)...)
		default:
			arrived = append(arrived, a)
		}
	}
	heads := func(int) bool { return strings.HasPrefix(c.bytes, "HEAD ") }
	answers, err := parseAnswers(cl.got, heads, cl.closed && !cl.reset)
	if err != nil {
		wrong = append(wrong, "the client got "+err.Error())
	}
	got, more := c.judge(cl, proxy, answers, arrived)
	return got, append(wrong, more...)
}

func (c h1case) judge(cl *client, proxy string, answers []answer, arrived []*arrival) (got string, wrong []string) {
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var status []string
	first := 0
	for _, a := range answers {
		if status = append(status, strconv.Itoa(a.status)); first == 0 {
			first = a.status
		}
	}
	whole := len(arrived) > 0
	for _, a := range arrived {
		whole = whole && a.complete
	}
	refused := 400 <= first && first < 500 || first == 501 || first == 505
	got = fmt.Sprintf("%d requests at the server (whole: %v), answers %v, closed %v", len(arrived), whole, status, cl.closed)

	ok := false
	for _, v := range c.verdicts {
		switch v {
		case "reject-4xx":
			ok = ok || len(arrived) == 0 && refused
		case "close":
			ok = ok || len(arrived) == 0 && len(answers) == 0 && cl.closed || len(arrived) > 0 && !whole && cl.closed && (first == 0 || refused)
		case "forward-verbatim-ok", "forward-normalised":
			ok = ok || whole && first == 200
			if whole {
				if forms := forwarded[c.id]; !slices.ContainsFunc(forms, func(f []want) bool { return matches(f, arrived) }) {
					fail("not what should arrive: %v", arrived)
				}
			}
		default:
			fail("unknown verdict %q", v)
		}
	}
	if !ok {
		fail("wrong verdict; arrived: %v", arrived)
	}
	if len(arrived) == 0 && refused && c.class != "path-acl" && first != 405 && !cl.closed {
		fail("refused, but the connection was left open")
	}
	if len(answers) > 0 && len(arrived) > len(answers) {
		fail("more requests arrived than answers came")
	}
	for _, a := range arrived {
		for _, w := range inspect(a, proxy, c.from) {
			fail("%s: %v", w, a)
		}
	}
	return got, wrong
}

// inspect holds a request at the server to what must hold of every one that comes by this proxy from an untrusted client at that address.
func inspect(a *arrival, proxy, client string) (wrong []string) {
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	h, err := parseRequestHead(a.top)
	if err != nil {
		fail("not a strict request: %v", err)
		return
	}
	// Every request that the proxy has seen as one bears its stamp.
	if v := h.all("X-Forwarded-For"); len(v) != 1 || v[0] != client {
		fail("SMUGGLED, or a forged client address: X-Forwarded-For %q", v)
	}
	_, port, _ := strings.Cut(proxy, ":")
	for name, may := range map[string]string{
		"X-Forwarded-Proto": "http", "X-Forwarded-Host": h.get("Host"), "X-Forwarded-Port": port, "X-Forwarded-Prefix": "",
		"X-Forwarded-Server": "", "X-Real-IP": client, "Forwarded": "for=" + client,
	} {
		if v := h.all(name); len(v) > 1 || len(v) == 1 && (v[0] != may || may == "") {
			fail("forged %s: %q", name, v)
		}
	}
	for _, f := range h.fields {
		name := strings.ToLower(f.name)
		folded := strings.NewReplacer("_", "-", ".", "-").Replace(name)
		switch {
		case folded != name && ownName(folded):
			fail("an alias of a field that is ours or that frames: %q", f.name)
		case slices.Contains([]string{"keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "proxy", "http2-settings"}, name):
			fail("%q was relayed", f.name)
		case name == "te" && (f.value != "trailers" || !h.lists("Connection", "te")):
			fail("TE %q was relayed", f.value)
		case name == "upgrade" && (!h.lists("Connection", "upgrade") || strings.Contains(strings.ToLower(f.value), "h2c") || strings.Contains(f.value, ",")):
			fail("Upgrade %q was relayed", f.value)
		}
	}
	for _, option := range strings.Split(h.get("Connection"), ",") {
		if option = strings.ToLower(strings.TrimSpace(option)); !slices.Contains([]string{"", "close", "keep-alive", "upgrade", "te"}, option) {
			fail("Connection option %q was relayed", option)
		}
	}
	if trailer, err := parseHead(append([]byte("trailer\r\n"), strings.TrimPrefix(string(a.trailer), "\r\n")...)); len(a.trailer) > 0 && err == nil {
		for _, f := range trailer.fields {
			if ownName(strings.ToLower(f.name)) {
				fail("trailer field %q was relayed", f.name)
			}
		}
	}
	target := strings.Split(h.line, " ")[1]
	if p, err := url.PathUnescape(strings.SplitN(target, "?", 2)[0]); err == nil {
		p, _, _ = strings.Cut(strings.ReplaceAll(p, "\\", "/"), ";")
		if p = path.Clean("/" + p); p == "/admin" || strings.HasPrefix(p, "/admin/") {
			fail("reached what the rule refuses")
		}
	}
	return wrong
}

// ownName says of a name in lower case that the proxy alone may say it, that it frames messages, or that servers take it for who asks.
func ownName(n string) bool {
	return strings.HasPrefix(n, "x-forwarded-") || strings.HasPrefix(n, "x-auth-") ||
		slices.Contains([]string{"forwarded", "x-real-ip", "remote-user", "content-length", "transfer-encoding", "host", "connection", "authorization"}, n)
}
