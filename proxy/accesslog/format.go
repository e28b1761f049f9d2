// Package accesslog answers how an exchange reads in the access log, and how its line gets there without any event loop ever waiting
// for a disk: loops fill chunks of their own and hand them to one goroutine, which writes. It knows neither rules nor
// configuration.
package accesslog

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// Formats is the vocabulary of log.access.format.
var Formats = []struct {
	Name   string
	Format Format
}{
	{"json", (*Formatter).JSON},
	{"httplog", (*Formatter).HTTPLog},
}

// Format appends the line of an exchange, its newline included, and does not allocate beyond dst.
type Format func(f *Formatter, dst []byte, x *exchange.Exchange) []byte

// Lookup finds a format by its name.
func Lookup(name string) (Format, bool) {
	for i := range Formats {
		if Formats[i].Name == name {
			return Formats[i].Format, true
		}
	}
	return nil, false
}

// Formatter writes lines. It remembers the last second it has written out, so each loop has its own. The zero value is ready.
type Formatter struct {
	second int64 // since 1970, of what follows
	utc    [19]byte
	local  [20]byte
}

// at makes the two date texts those of one second.
func (f *Formatter) at(second int64) {
	if second == f.second && f.utc[0] != 0 {
		return
	}
	f.second = second
	t := time.Unix(second, 0)
	t.UTC().AppendFormat(f.utc[:0], "2006-01-02T15:04:05")
	t.AppendFormat(f.local[:0], "02/Jan/2006:15:04:05")
}

// Client-given text is cut at this many bytes in JSON, an ellipsis marking the cut.
const maxText = 4096

// JSON appends one JSON object and a newline. Fields, in order:
//
//	time         when the request began, RFC 3339, milliseconds, UTC
//	client       address of the client; client_port, unless a trusted proxy named the client
//	peer         address that is connected to us, where it is not the client
//	frontend, backend, server   as far as it got
//	tls, sni     tls true or false; sni if the client sent one
//	method, host, path, query, proto   absent if the request could not be read; query without "?"
//	status       0 if nothing was answered
//	bytes_in, bytes_out   from and to the client, heads included
//	request_ms, queue_ms, connect_ms, response_ms, total_ms   HAProxy's TR, Tw, Tc, Tr, Ta in milliseconds to the
//	             microsecond; -1 where the exchange did not get that far
//	termination  HAProxy's two letters, "--" for a normal end; cause in words if there is one
//	retries, redispatched (if so), reused (the server connection)
//	user_agent, referer   if sent
//
// Text from outside cannot leave its string: quotes, backslashes, everything that does not print (controls, line separators, bidirectional
// overrides) is escaped, and a byte that is not UTF-8 becomes U+FFFD. Each text is cut at 4096 bytes.
func (f *Formatter) JSON(dst []byte, x *exchange.Exchange) []byte {
	wall := x.Wall + x.Begin - x.Accept
	f.at(floorDiv(wall, 1e9))
	dst = append(dst, `{"time":"`...)
	dst = append(dst, f.utc[:]...)
	dst = append(dst, '.')
	dst = digits(dst, int(wall-f.second*1e9)/1e6)
	dst = append(dst, `Z","client":"`...)
	dst = appendAddr(dst, x.Src.Addr())
	dst = append(dst, '"')
	if port := x.Src.Port(); port != 0 {
		dst = append(dst, `,"client_port":`...)
		dst = strconv.AppendUint(dst, uint64(port), 10)
	}
	if x.Peer.IsValid() && x.Peer.Addr() != x.Src.Addr() {
		dst = append(dst, `,"peer":"`...)
		dst = appendAddr(dst, x.Peer.Addr())
		dst = append(dst, '"')
	}
	dst = appendText(dst, `,"frontend":"`, x.Frontend)
	dst = appendText(dst, `,"backend":"`, x.Backend)
	dst = appendText(dst, `,"server":"`, x.Server)
	dst = append(dst, `,"tls":`...)
	dst = strconv.AppendBool(dst, x.TLS)
	dst = appendText(dst, `,"sni":"`, x.SNI)
	if len(x.Req.MethodToken) > 0 {
		dst = appendText(dst, `,"method":"`, x.Req.MethodToken)
		dst = appendText(dst, `,"host":"`, x.Req.Authority)
		dst = appendText(dst, `,"path":"`, x.Req.Path)
		dst = appendText(dst, `,"query":"`, x.Req.Query)
		dst = append(dst, `,"proto":"`...)
		dst = append(dst, proto(&x.Req)...)
		dst = append(dst, '"')
	}
	dst = appendInt(dst, `,"status":`, int64(x.Res.Status))
	dst = appendInt(dst, `,"bytes_in":`, x.BytesIn)
	dst = appendInt(dst, `,"bytes_out":`, x.BytesOut)
	t := timersOf(x)
	dst = appendMillis(dst, `,"request_ms":`, t.request)
	dst = appendMillis(dst, `,"queue_ms":`, t.queue)
	dst = appendMillis(dst, `,"connect_ms":`, t.connect)
	dst = appendMillis(dst, `,"response_ms":`, t.response)
	dst = appendMillis(dst, `,"total_ms":`, t.total)
	dst = append(dst, `,"termination":"`...)
	dst = appendLetters(dst, x.End)
	dst = append(dst, '"')
	dst = appendText(dst, `,"cause":"`, x.End.Cause)
	dst = appendInt(dst, `,"retries":`, int64(x.Retries))
	if x.Redispatched {
		dst = append(dst, `,"redispatched":true`...)
	}
	if x.Server != "" {
		dst = append(dst, `,"reused":`...)
		dst = strconv.AppendBool(dst, x.Reused)
	}
	if v, ok := x.Req.Header.Get(message.UserAgent); ok {
		dst = appendText(dst, `,"user_agent":"`, v)
	}
	if v, ok := x.Req.Header.Get(message.Referer); ok {
		dst = appendText(dst, `,"referer":"`, v)
	}
	return append(dst, '}', '\n')
}

// maxRequestLine is how much of a request line httplog shows, in bytes before escaping: tune.http.logurilen's default in HAProxy,
// less its end mark.
const maxRequestLine = 1023

// HTTPLog appends the line that HAProxy's "option httplog" writes (configuration manual, section 8.2.3) and a newline:
//
//	%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B - - %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq "%r"
//
// without captured cookies and headers. The date is local time. The path is the canonical one, which is what was routed. Bytes that are not
// printable ASCII are written #XX, and so are '#' and '"' (section 8.6).
func (f *Formatter) HTTPLog(dst []byte, x *exchange.Exchange) []byte {
	wall := x.Wall + x.Begin - x.Accept
	f.at(floorDiv(wall, 1e9))
	if x.Src.IsValid() {
		dst = appendAddr(dst, x.Src.Addr())
	} else {
		dst = append(dst, "unix"...)
	}
	dst = appendInt(dst, ":", int64(x.Src.Port()))
	dst = append(dst, ' ', '[')
	dst = append(dst, f.local[:]...)
	dst = append(dst, '.')
	dst = digits(dst, int(wall-f.second*1e9)/1e6)
	dst = append(dst, ']', ' ')
	dst = appendHash(dst, x.Frontend)
	if x.TLS {
		dst = append(dst, '~')
	}
	dst = append(dst, ' ')
	if x.Backend != "" {
		dst = appendHash(dst, x.Backend)
	} else {
		dst = appendHash(dst, x.Frontend) // no switching yet: HAProxy names the frontend
	}
	dst = append(dst, '/')
	if x.Server != "" {
		dst = appendHash(dst, x.Server)
	} else {
		dst = append(dst, "<NOSRV>"...)
	}
	t := timersOf(x)
	dst = appendInt(dst, " ", t.request.millis())
	dst = appendInt(dst, "/", t.queue.millis())
	dst = appendInt(dst, "/", t.connect.millis())
	dst = appendInt(dst, "/", t.response.millis())
	dst = appendInt(dst, "/", t.total.millis())
	status := int64(x.Res.Status)
	if status == 0 {
		status = -1
	}
	dst = appendInt(dst, " ", status)
	dst = appendInt(dst, " ", x.BytesOut)
	dst = append(dst, " - - "...)
	dst = appendLetters(dst, x.End)
	dst = append(dst, '-', '-')
	dst = appendInt(dst, " ", int64(x.ActConn))
	dst = appendInt(dst, "/", int64(x.FeConn))
	dst = appendInt(dst, "/", int64(x.BeConn))
	dst = appendInt(dst, "/", int64(x.SrvConn))
	dst = append(dst, '/')
	if x.Redispatched {
		dst = append(dst, '+')
	}
	dst = strconv.AppendInt(dst, int64(x.Retries), 10)
	dst = appendInt(dst, " ", int64(x.SrvQueue))
	dst = appendInt(dst, "/", int64(x.BackendQueue))
	dst = append(dst, ' ', '"')
	if x.Head == 0 || len(x.Req.MethodToken) == 0 {
		dst = append(dst, "<BADREQ>"...) // as in HAProxy, also where a method could be made out
	} else {
		dst = appendRequestLine(dst, &x.Req)
	}
	return append(dst, '"', '\n')
}

func appendRequestLine(dst []byte, r *message.Request) []byte {
	room := maxRequestLine
	dst = appendSome(dst, r.MethodToken, &room)
	dst = appendSome(dst, " ", &room)
	dst = appendSome(dst, r.Path, &room)
	if r.HasQuery {
		dst = appendSome(dst, "?", &room)
		dst = appendSome(dst, r.Query, &room)
	}
	dst = appendSome(dst, " ", &room)
	return appendSome(dst, proto(r), &room)
}

// appendSome appends as much of s as there is room for.
func appendSome[T ~[]byte | ~string](dst []byte, s T, room *int) []byte {
	s = s[:min(len(s), *room)]
	*room -= len(s)
	return appendHash(dst, s)
}

func proto(r *message.Request) string {
	switch {
	case r.Major2:
		return "HTTP/2.0"
	case r.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// timer is a time in nanoseconds, negative if it never began or never ended.
type timer int64

// millis rounds down, as HAProxy's timers do; -1 if there is no time.
func (t timer) millis() int64 {
	if t < 0 {
		return -1
	}
	return int64(t) / 1e6
}

// timers are the five of section 8.4, in order.
type timers struct{ request, queue, connect, response, total timer }

func timersOf(x *exchange.Exchange) timers {
	return timers{
		request:  between(x.Begin, x.Head),
		queue:    between(x.Head, x.Queued),
		connect:  between(x.Queued, x.Connect),
		response: between(x.Connect, x.Answer),
		total:    max(0, timer(x.Done-x.Begin)), // is never absent
	}
}

// between is the time from one moment to the next, if both were reached.
func between(from, to int64) timer {
	if from == 0 || to == 0 {
		return -1
	}
	return max(0, timer(to-from))
}

// appendMillis writes milliseconds with up to three decimals.
func appendMillis(dst []byte, key string, t timer) []byte {
	dst = append(dst, key...)
	if t < 0 {
		return append(dst, '-', '1')
	}
	us := int64(t) / 1e3
	dst = strconv.AppendInt(dst, us/1e3, 10)
	dst = append(dst, '.')
	return digits(dst, int(us%1e3))
}

func appendInt(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(dst, key...), n, 10)
}

// digits writes three of them.
func digits(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
}

func appendLetters(dst []byte, e exchange.End) []byte {
	for _, c := range [2]byte{e.Who, e.When} {
		if c == 0 {
			c = '-'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendAddr writes an IPv4-mapped address as IPv4, and no zone: interface names are nobody's business.
func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return dst
	}
	return a.Unmap().WithZone("").AppendTo(dst)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
