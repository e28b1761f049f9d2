package blackbox

import (
	"regexp"
	"strings"
)

// want is a request as it must arrive at the server.
type want struct{ line, host, body string }

// matches says whether these requests, and no others, arrived. Letter case of percent escapes is the proxy's to choose.
func matches(form []want, arrived []*arrival) bool {
	if len(form) != len(arrived) {
		return false
	}
	for i, w := range form {
		h, err := parseHead(arrived[i].top)
		line := strings.TrimSuffix(strings.TrimSuffix(h.line, " HTTP/1.1"), " HTTP/1.0")
		line = escapes.ReplaceAllStringFunc(line, strings.ToLower)
		if err != nil || line != w.line || h.get("Host") != w.host || string(arrived[i].body) != w.body {
			return false
		}
	}
	return true
}

var escapes = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

func one(line, body string) [][]want { return [][]want{{{line, "example.com", body}}} }

func hosts(line string, names ...string) (forms [][]want) {
	for _, n := range names {
		forms = append(forms, []want{{line, n, ""}})
	}
	return forms
}

const inner = "GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"

// forwarded says for each case that may be forwarded what has to arrive: one of the forms.
var forwarded = map[string][][]want{
	"H002": one("POST /ok", "hello"),
	"H003": one("POST /ok", "hello"),
	"H004": one("POST /ok", "01234567890123456789a"),
	"H005": one("POST /ok", "hello"),
	"H008": one("HEAD /ok", ""),
	"H010": one("GET /ok?a=1", ""),
	"H011": {{{"GET /one", "example.com", ""}, {"GET /two", "example.com", ""}}},
	"H012": one("GET /afterempty", ""),
	"H014": one("GET /ok", ""),
	"H018": one("PROPFIND /ok", ""),
	"H020": one("POST /ok", ""),
	"H023": hosts("GET /ok", "[2001:db8::1]:8080"),
	"H026": {{{"POST /p", "example.com", ""}}, {{"POST /p", "example.com", ""}, {"GET /smuggled", "example.com", ""}}}, // a request of its own, or dropped
	"H028": one("POST /p", "hello"),
	"H050": one("POST /p", "0\r\n\r\n"+inner),
	"H051": one("POST /p", "0\r\n\r\n"+inner),
	"H054": one("POST /p", "hello"),
	"H080": one("POST /p", inner),
	"H082": one("POST /p", "hello"),
	"H106": one("POST /p", "hello"),
	"H109": one("POST /p", strings.Repeat("x", 3000)),
	"H111": one("POST /p", "hello"),
	"H113": one("POST /p", "hello"),
	"H117": one("GET /ok", ""),
	"H119": {{{"GET /ok", "example.com", ""}, {"GET /smuggled", "example.com", ""}}},
	"H124": one("GET /ok", ""),
	"H170": one("GET /ok", ""),
	"H194": hosts("GET /ok", "example.com", "example.com."),
	"H196": hosts("GET /ok", "evil.test"),
	"H197": hosts("GET /ok", "example.com:81"),
	"H216": one("GET /ADMIN", ""),
	"H222": one("GET /etc/passwd", ""),
	"H227": one("GET /administer", ""),
	"H230": one("GET /ok", ""),
	"H232": one("GET /ok", ""),
	"H233": one("GET /ok", ""),
	"H234": one("GET /ok", ""),
	"H235": one("GET /ok", ""),
	"H236": one("GET /ok", ""),
	"H237": one("GET /ok", ""),
	"H239": one("GET /ok", ""),
	"H240": one("GET /ok", ""),
	"H241": one("GET /ok", ""),
	"H250": one("OPTIONS *", ""),
	"H251": one("GET /ok", ""),
	"H255": one("GET /ok", ""),
	"H260": one("GET /ok%0aFAKE%20LOG%20LINE", ""),
	"H263": one("GET /static/x.css%3f.php", ""),
	"H264": one("GET /ok", ""),
}
