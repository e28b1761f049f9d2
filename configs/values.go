package configs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plainName is what the operator may name things: HAProxy's identifiers.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// text is any string that is not empty.
var text = shape[Text]{schema{"type": []string{"string", "number", "boolean"}}, func(d *decoder, n *node) (Text, bool) {
	if !d.want(n, scalar) {
		return Text{}, false
	}
	t, ok := d.expand(n)
	if ok && strings.TrimSpace(t.S) == "" {
		d.fail(n.pos, "the value is empty")
		return t, false
	}
	return t, ok
}}

// filePath is a path, made absolute from the directory of the file it is in.
var filePath = shape[Text]{schema{"type": "string"}, func(d *decoder, n *node) (Text, bool) {
	t, ok := text.decode(d, n)
	if p := d.path(t.S); ok && p != t.S {
		t.S, t.verbatim = p, 0
	}
	return t, ok
}}

// directory is filePath as a plain string.
var directory = shape[string]{filePath.schema, func(d *decoder, n *node) (string, bool) {
	t, ok := filePath.decode(d, n)
	return t.S, ok
}}

// value is a shape for what parse makes of a string; parse's error says what
// would do.
func value[V any](s schema, parse func(string) (V, error)) shape[V] {
	return shape[V]{s, func(d *decoder, n *node) (v V, ok bool) {
		t, ok := text.decode(d, n)
		if !ok {
			return v, false
		}
		v, err := parse(t.S)
		if err != nil {
			d.fail(n.pos, "%q %s", t.S, err)
			return v, false
		}
		return v, true
	}}
}

// oneOf is one of names. noun says in messages and in later what they name.
func oneOf(noun string, names ...string) shape[string] {
	return shape[string]{enum(names), func(d *decoder, n *node) (string, bool) {
		t, ok := text.decode(d, n)
		if ok && !slices.Contains(names, t.S) {
			ok = false
			d.above(func() {
				if msg := comesLater(noun, noun, t.S); msg != "" {
					d.fail(n.pos, "%s (known: %s)", msg, strings.Join(slices.Sorted(slices.Values(names)), ", "))
				} else {
					d.fail(n.pos, "%s", unknown(noun, t.S, names))
				}
			})
		}
		return t.S, ok
	}}
}

var boolean = value(variableOr(schema{"type": "boolean"}), func(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("is neither true nor false")
})

func integer(low, high int) shape[int] {
	return value(variableOr(schema{"type": "integer", "minimum": low, "maximum": high}), func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil && !digits.MatchString(s):
			return 0, errors.New("is not a whole number")
		case err != nil || n < low || n > high:
			return 0, fmt.Errorf("is out of range: %d to %d would do", low, high)
		}
		return n, nil
	})
}

var digits = regexp.MustCompile(`^[+-]?[0-9]+$`)

var (
	units = map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	span = regexp.MustCompile(`^([0-9]+)(\s*\pL*)`)
)

const longest = 365 * 24 * time.Hour

// duration is a sum of whole numbers with units, 500ms or 1m30s, from least
// to a year.
func duration(least time.Duration) shape[time.Duration] {
	return value(pattern(`^([0-9]+(us|ms|s|m|h|d))+$`), func(s string) (total time.Duration, err error) {
		for rest := s; rest != ""; {
			m := span.FindStringSubmatch(rest)
			if m == nil && strings.HasPrefix(rest, "-") {
				return 0, errors.New("is negative")
			}
			if m == nil {
				return 0, errors.New("is not a duration: write whole numbers with a unit, such as 500ms, 5s or 1m30s")
			}
			rest = rest[len(m[0]):]
			unit, known := units[m[2]]
			switch {
			case strings.HasPrefix(rest, "."):
				return 0, errors.New("has a fraction: use a smaller unit, 1500ms for 1.5s")
			case m[2] == "":
				return 0, fmt.Errorf("has no unit: write %ss or %sms", m[1], m[1])
			case !known:
				return 0, fmt.Errorf("has the wrong unit %q: us, ms, s, m, h or d would do", m[2])
			}
			n, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil || n > int64(longest/unit) || total+time.Duration(n)*unit > longest {
				return 0, errors.New("is longer than a year")
			}
			total += time.Duration(n) * unit
		}
		if total < least {
			return 0, fmt.Errorf("is too short: at least %s would do", least)
		}
		return total, nil
	})
}

// positive is a timeout or an interval. The proxy's clock has milliseconds.
var positive = duration(time.Millisecond)

// hostPort cuts "host:port" and checks the port; IPv6 addresses stand in
// brackets.
func hostPort(s string, lowest int) (host string, port int, err error) {
	host, number, ok := cutLast(s, ":")
	switch {
	case !ok || strings.HasSuffix(s, "]"):
		return "", 0, fmt.Errorf("has no port: write %s:PORT", s)
	case strings.HasPrefix(host, "["):
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, errors.New("has no IPv6 address between the brackets")
		}
	case strings.Contains(host, ":"):
		return "", 0, errors.New("has an IPv6 address without brackets: write [ADDRESS]:PORT")
	}
	port, err = strconv.Atoi(number)
	if err != nil || !digits.MatchString(number) || port < lowest || port > math.MaxUint16 {
		return "", 0, fmt.Errorf("has the port %q: %d to 65535 would do", number, lowest)
	}
	return host, port, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// join is net.JoinHostPort without a leading zero or plus in the port.
func join(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

// listenAddress is where a socket is opened: an IP address or nothing (* is
// nothing too) and a port; port 0 is the kernel's choice.
var listenAddress = value(pattern(`:[0-9]+$`), func(s string) (string, error) {
	host, port, err := hostPort(s, 0)
	if err != nil {
		return "", err
	}
	if host == "*" {
		host = ""
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil {
		return "", fmt.Errorf("has no IP address before the port: write 127.0.0.1:%d, or :%d for all addresses", port, port)
	}
	return join(host, port), nil
})

// remoteAddress is where something is dialled: an IP address or a host name,
// and a port.
var remoteAddress = value(pattern(`.:[0-9]+$`), func(s string) (string, error) {
	host, port, err := hostPort(s, 1)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostName.MatchString(host) {
		return "", errors.New("has neither an IP address nor a host name before the port")
	}
	if numbers.MatchString(host) {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", errors.New("has no valid IP address before the port")
		}
	}
	return join(host, port), nil
})

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
	numbers  = regexp.MustCompile(`^[0-9.]+$`)
)

// unixAddress is "unix:/path"; the path is at most what the kernel takes.
var unixAddress = shape[string]{pattern(`^unix:.`), func(d *decoder, n *node) (string, bool) {
	t, ok := text.decode(d, n)
	if !ok {
		return "", false
	}
	p, is := strings.CutPrefix(t.S, "unix:")
	if !is || p == "" {
		d.fail(n.pos, "%q is not a unix socket: write unix:/run/edge/admin.sock; TCP is not supported by this version of edge", t.S)
		return "", false
	}
	if p = d.path(p); len(p) > 107 {
		d.fail(n.pos, "%q has %d bytes; a socket's path has at most 107", p, len(p))
		return "", false
	}
	return "unix:" + p, true
}}

// network is an address or a prefix; host bits must not be set.
var network = value(pattern(`^[0-9A-Fa-f.:]+(/[0-9]+)?$`), func(s string) (netip.Prefix, error) {
	p, err := ownNetwork(s)
	if err == nil && p != p.Masked() {
		return p, fmt.Errorf("has host bits set: write %s for the network or %s for the one address", p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return p, err
})

// interfaceAddress is an own address with its network's length.
var interfaceAddress = value(pattern(`^[0-9A-Fa-f.:]+(/[0-9]+)?$`), ownNetwork)

func ownNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("is neither an IP address nor a network such as 10.0.0.0/24")
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("is an IPv4 address written as IPv6: write %s", p.Addr().Unmap())
	}
	return p, nil
}

// publicKey is a WireGuard key in base64.
var publicKey = value(pattern(`^[A-Za-z0-9+/]{43}=$`), func(s string) (string, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	switch {
	case err != nil:
		return "", errors.New("is not a key: 44 characters of base64, as wg pubkey prints them, would do")
	case len(b) != 32:
		return "", fmt.Errorf("has %d bytes; a key has 32", len(b))
	case string(b) == string(make([]byte, 32)):
		return "", errors.New("is all zeros, which is no key")
	}
	return s, nil
})

// routeHost is a name, a name with * as its first label, or an IP address.
var routeHost = value(schema{"type": "string"}, func(s string) (string, error) {
	name := strings.ToLower(s)
	base := strings.TrimPrefix(name, "*.")
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return name, nil
	}
	switch {
	case name == "*":
		return "", errors.New("stands for every host: leave host out")
	case strings.Contains(base, "*"):
		return "", errors.New("has * in the middle: it stands for whole names, as in *.example.com")
	case !hostName.MatchString(base) || len(name) > 253:
		return "", errors.New("is not a host name: letters, digits, - and dots would do; no port and no scheme")
	}
	return strings.TrimSuffix(name, "."), nil
})

// hostField is what a check sends as Host: a name or an address, and a port
// if need be.
var hostField = value(schema{"type": "string"}, func(s string) (string, error) {
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '/' || c == '@' }) {
		return "", errors.New("is not a host name: no blanks, no scheme and no path")
	}
	return s, nil
})

// urlPath is a path in the canonical form requests are compared in.
var urlPath = value(pattern(`^/`), func(s string) (string, error) {
	clean := path.Clean("/" + strings.TrimLeft(s, "/"))
	if strings.HasSuffix(s, "/") && clean != "/" {
		clean += "/"
	}
	switch {
	case s[0] != '/':
		return "", fmt.Errorf("does not begin with /: write /%s", s)
	case strings.ContainsAny(s, "?#"):
		return "", errors.New("has ? or #, which a path cannot: use a condition on the query")
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }):
		return "", errors.New("has a blank or a backslash, which a path cannot")
	case s != clean:
		return "", fmt.Errorf("never matches, paths are compared in canonical form: write %s", clean)
	}
	return s, nil
})

var methods = []string{"GET", "HEAD", "OPTIONS", "POST"}

type request struct{ method, target string }

// httpCheck is "METHOD /path" or "/path", which means GET.
var httpCheck = value(pattern(`^([A-Z]+ +)?/`), func(s string) (request, error) {
	method, target, two := strings.Cut(s, " ")
	if target = strings.TrimLeft(target, " "); !two {
		method, target = "GET", s
	}
	switch {
	case !slices.Contains(methods, method) && (two || !strings.HasPrefix(target, "/")):
		return request{}, fmt.Errorf("does not begin with a method or a path: %s", unknown("method", method, methods))
	case !strings.HasPrefix(target, "/"):
		return request{}, fmt.Errorf("has no path: write %s /healthz", method)
	case strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }):
		return request{}, errors.New("has a blank, a # or a character beyond ASCII in its path")
	}
	return request{method, target}, nil
})

// statusRange is "200", "200-399" or "200,204,300-399".
var statusRange = value(variableOr(anyOf(
	schema{"type": "integer", "minimum": 100, "maximum": 599},
	schema{"type": "string", "pattern": "^[1-5][0-9][0-9]( *[-,] *[1-5][0-9][0-9])*$"})),
	func(s string) (out []StatusRange, err error) {
		for part := range strings.SplitSeq(s, ",") {
			low, high, two := strings.Cut(part, "-")
			if !two {
				high = low
			}
			from, err1 := strconv.Atoi(strings.TrimSpace(low))
			to, err2 := strconv.Atoi(strings.TrimSpace(high))
			if err1 != nil || err2 != nil || from < 100 || to > 599 || from > to {
				return nil, errors.New("is not a status or a range of them: 200, 200-399 or 200,204 would do")
			}
			out = append(out, StatusRange{from, to})
		}
		return out, nil
	})

// logTarget is stdout, stderr or a file.
var logTarget = shape[string]{schema{"type": "string"}, func(d *decoder, n *node) (string, bool) {
	t, ok := text.decode(d, n)
	switch {
	case !ok:
		return "", false
	case t.S == "stdout" || t.S == "stderr":
		return t.S, true
	case strings.Contains(t.S, "/"):
		return d.path(t.S), true
	}
	d.above(func() {
		d.fail(n.pos, "%s", unknown("log target", t.S, []string{"stdout", "stderr", "./" + t.S + " for a file"}))
	})
	return "", false
}}

// logFormat is a name; a HAProxy log-format string is known by its percents.
var logFormat = shape[string]{logFormatName.schema, func(d *decoder, n *node) (string, bool) {
	if n.kind == scalar && strings.Contains(n.text, "%") {
		d.fail(n.pos, "a log-format string is not supported by this version of edge (known: httplog, json)")
		return "", false
	}
	return logFormatName.decode(d, n)
}}

var logFormatName = oneOf("log format", "json", "httplog")
