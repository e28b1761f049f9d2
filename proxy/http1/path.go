package http1

import (
	"bytes"

	"github.com/approovia/edge/proxy/message"
)

var (
	errEscape = bad("invalid percent-encoding in the path")
	errSlash  = bad("encoded slash, backslash or NUL in the path")
	errBack   = bad("backslash in the path")
	errClimb  = bad("path climbs above its root")
	errParam  = bad("path parameter on a dot segment or on an empty one")
	errUTF8   = bad("overlong UTF-8 in the path")
)

// CanonicalPath gives a path its one form (RFC 3986 section 6.2.2): unreserved characters decoded, escapes in upper case, dot segments
// resolved, slashes merged. Forms that servers are known to read in different ways are refused. match is the path without path parameters
// (";..." at the end of a segment), which some servers cut off and others do not: conditions compare without them.
//
// A path that is canonical already is returned as it is; otherwise the bytes are made in the arena.
func CanonicalPath(p []byte, a *message.Arena) (path, match []byte, err *Error) {
	if plain(p) {
		return p, p, nil
	}
	out := a.Alloc(len(p))[:0]
	params := false
	lead := byte(0) // the escaped byte just before, if an overlong form may begin with it
	for i := 0; i < len(p); {
		// p[i] is a slash: one segment follows.
		for i < len(p) && p[i] == '/' {
			i++
		}
		start := len(out)
		out = append(out, '/')
		for i < len(p) && p[i] != '/' {
			c := p[i]
			before := lead
			lead = 0
			switch c {
			case '\\':
				return nil, nil, errBack
			case ';':
				params = true
			case '%':
				if i+2 >= len(p) {
					return nil, nil, errEscape
				}
				hi, lo := unhex[p[i+1]], unhex[p[i+2]]
				if hi > 15 || lo > 15 {
					return nil, nil, errEscape
				}
				i += 3
				switch d := hi<<4 | lo; {
				case d == '/' || d == '\\' || d == 0:
					return nil, nil, errSlash
				case d == 0xc0 || d == 0xc1 || d >= 0xf5 || before == 0xe0 && d&0xe0 == 0x80 || before == 0xf0 && d&0xf0 == 0x80:
					return nil, nil, errUTF8
				case d == 0xe0 || d == 0xf0:
					lead = d
					out = append(out, '%', upperHex[hi], upperHex[lo])
				case unreserved[d]:
					out = append(out, d)
				default:
					out = append(out, '%', upperHex[hi], upperHex[lo])
				}
				continue
			}
			out = append(out, c)
			i++
		}
		lead = 0
		seg := out[start+1:]
		last := i == len(p)
		if name, ok := beforeParam(seg); ok && (isDots(name) || len(name) == 0 && !last) {
			return nil, nil, errParam
		}
		switch {
		case len(seg) == 1 && seg[0] == '.':
			out = out[:start]
			if last {
				out = append(out, '/')
			}
		case len(seg) == 2 && seg[0] == '.' && seg[1] == '.':
			out = out[:start]
			if len(out) == 0 {
				return nil, nil, errClimb
			}
			out = out[:bytes.LastIndexByte(out, '/')]
			if last {
				out = append(out, '/')
			}
		}
	}
	if len(out) == 0 {
		out = append(out, '/')
	}
	if !params {
		return out, out, nil
	}
	return out, withoutParams(out, a), nil
}

func isDots(b []byte) bool { return string(b) == "." || string(b) == ".." }

// beforeParam cuts a segment at its first ";". One that is escaped counts for dots as well: a server may decode it before it looks.
func beforeParam(seg []byte) (name []byte, ok bool) {
	if len(seg) > 0 && seg[0] == '.' {
		if i := bytes.Index(seg, []byte("%3B")); i >= 0 && isDots(seg[:i]) {
			return seg[:i], true
		}
	}
	i := bytes.IndexByte(seg, ';')
	if i < 0 {
		return nil, false
	}
	return seg[:i], true
}

// plain says whether nothing in the path needs a second look.
func plain(p []byte) bool {
	prev := byte(0)
	for _, c := range p {
		if special[c] && (c != '/' && c != '.' || prev == '/') {
			return false
		}
		prev = c
	}
	return true
}

func withoutParams(p []byte, a *message.Arena) []byte {
	m := a.Alloc(len(p))[:0]
	skip := false
	for _, c := range p {
		switch c {
		case ';':
			skip = true
			continue
		case '/':
			skip = false
		}
		if !skip {
			m = append(m, c)
		}
	}
	return m
}

const upperHex = "0123456789ABCDEF"

var (
	special    [256]bool // "%", "\", ";", and "/" or "." after a slash
	unreserved [256]bool // RFC 3986 section 2.3
	unhex      [256]byte // 255: no hexadecimal digit
)

func init() {
	for _, c := range "%\\;/." {
		special[c] = true
	}
	for c := range 256 {
		unhex[c] = 255
		switch {
		case '0' <= c && c <= '9':
			unhex[c] = byte(c - '0')
			unreserved[c] = true
		case 'a' <= c|0x20 && c|0x20 <= 'z' && c < 128:
			if c|0x20 <= 'f' {
				unhex[c] = byte(c | 0x20 - 'a' + 10)
			}
			unreserved[c] = true
		}
	}
	for _, c := range "-._~" {
		unreserved[c] = true
	}
}
