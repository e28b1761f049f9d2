package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// told answers with what the server is told of the client, line by line in a fixed order.
func told(t testing.TB) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		var out []string
		for name, values := range r.Header {
			if strings.HasPrefix(name, "X-Forwarded") || name == "Forwarded" || name == "X-Real-Ip" {
				out = append(out, name+"="+strings.Join(values, "|"))
			}
		}
		slices.Sort(out)
		fmt.Fprint(w, strings.Join(out, "\n"))
	})
}

func TestServersAreToldWhoTheClientIsAndNoForgedWord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, trusted, rules string
		send                 string // header lines of the client's
		want                 []string
		client               string // in the log
	}{
		{"nothing is sent", "[]", "", "", []string{"For=127.0.0.1", "Host=a", "Port=PORT", "Proto=http"}, "127.0.0.1"},
		{"forged from a stranger", "[]", "",
			"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-Server: s\r\n",
			[]string{"For=127.0.0.1", "Host=a", "Port=PORT", "Proto=http"}, "127.0.0.1"},
		{"forged twice and in odd case", "[]", "",
			"x-forwarded-for: 1.2.3.4\r\nX-FORWARDED-FOR: 5.6.7.8\r\n", []string{"For=127.0.0.1", "Host=a", "Port=PORT", "Proto=http"}, "127.0.0.1"},
		{"named in Connection, so that it should vanish", "[]", "",
			"X-Forwarded-For: 1.2.3.4\r\nConnection: X-Forwarded-For, X-Forwarded-Proto\r\n", []string{"For=127.0.0.1", "Host=a", "Port=PORT", "Proto=http"}, "127.0.0.1"},
		{"a trusted proxy's word", "[127.0.0.0/8]", "",
			"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 443\r\n",
			[]string{"For=1.2.3.4, 127.0.0.1", "Host=b", "Port=443", "Proto=https"}, "1.2.3.4"},
		{"a chain of trusted proxies", "[127.0.0.0/8, 10.0.0.0/8]", "",
			"X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n",
			[]string{"For=6.6.6.6, 1.2.3.4, 10.0.0.1, 10.0.0.2, 127.0.0.1", "Host=a", "Port=PORT", "Proto=http"}, "1.2.3.4"},
		{"a chain that breaks on nonsense", "[127.0.0.0/8, 10.0.0.0/8]", "",
			"X-Forwarded-For: 1.2.3.4, unknown, 10.0.0.2\r\n",
			[]string{"For=1.2.3.4, unknown, 10.0.0.2, 127.0.0.1", "Host=a", "Port=PORT", "Proto=http"}, "10.0.0.2"},
		{"an address with a port, and IPv6", "[127.0.0.0/8, \"fd00::/8\"]", "",
			"X-Forwarded-For: 1.2.3.4:5678, fd00::1\r\n",
			[]string{"For=1.2.3.4:5678, fd00::1, 127.0.0.1", "Host=a", "Port=PORT", "Proto=http"}, "1.2.3.4"},
		{"a rule's word wins", "[]", "[\"set-header X-Forwarded-Proto https\", \"set-header X-Forwarded-Host other\"]",
			"X-Forwarded-Proto: gopher\r\n", []string{"For=127.0.0.1", "Host=other", "Port=PORT", "Proto=https"}, "127.0.0.1"},
		{"a rule sees the client of a trusted proxy", "[127.0.0.0/8]", "[\"set-header X-Forwarded-Port 7 if { src 1.2.3.4 }\"]",
			"X-Forwarded-For: 1.2.3.4\r\n", []string{"For=1.2.3.4, 127.0.0.1", "Host=a", "Port=7", "Proto=http"}, "1.2.3.4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := site("", told(t))
			if c.rules != "" {
				text = strings.Replace(text, "web: {", "web: {request: "+c.rules+", ", 1)
			}
			e := start(t, text, setup{global: "  trusted_proxies: " + c.trusted + "\n"})
			_, port, _ := strings.Cut(e.addr(0), ":")
			_, got := ask(t, e.addr(0), "GET / HTTP/1.1\r\nHost: a\r\n"+c.send+"\r\n")
			want := strings.ReplaceAll("X-Forwarded-"+strings.Join(c.want, "\nX-Forwarded-"), "PORT", port)
			if got != want {
				t.Errorf("the server was told\n%s\nwant\n%s", got, want)
			}
			l := e.lines(1)[0]
			if l.Client != c.client || (l.Peer != "") != (c.client != "127.0.0.1") {
				t.Errorf("%+v", l)
			}
		})
	}
}
