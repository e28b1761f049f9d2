// Package sample answers what an expression such as src, req.hdr(host),lower or "id-%[uuid]" is worth for an exchange. The names
// and their meaning are HAProxy's (configuration manual, section 7.3). It knows messages, not wires, and decides nothing.
//
// Everything compiled here is read-only afterwards and may be used by any number of exchanges at once; values belong to the exchange
// they were read from.
package sample

import (
	"math"
	"net/netip"
	"strconv"
	"unsafe"

	"github.com/approovia/edge/proxy/message"
)

// Type is what a value is.
type Type uint8

// The types. Same stands in the converter table for "as the input".
const (
	Str Type = iota // text or bytes
	Int
	Bool
	Addr
)

var typeNames = [...]string{Str: "string", Int: "integer", Bool: "boolean", Addr: "address"}

func (t Type) String() string { return typeNames[t] }

// Value is what an expression yields. Bytes are a view of the message or lie in the exchange's arena: never written to, and
// valid until the exchange has ended.
type Value struct {
	Type  Type
	Bytes []byte     // Str
	Int   int64      // Int; Bool as 0 or 1
	Addr  netip.Addr // Addr
}

func text(b []byte) Value         { return Value{Type: Str, Bytes: b} }
func integer(n int64) Value       { return Value{Type: Int, Int: n} }
func addr(a netip.Addr) Value     { return Value{Type: Addr, Addr: a.Unmap().WithZone("")} }
func name(s string) (Value, bool) { return text(view(s)), s != "" }
func boolean(b bool) Value {
	if b {
		return Value{Type: Bool, Int: 1}
	}
	return Value{Type: Bool}
}

// view reads a string as bytes without copying; nobody writes to a Value's bytes.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Text is the value as text: booleans are "1" and "0" as in HAProxy. What has to be made lies in the arena.
func (v Value) Text(a *message.Arena) []byte {
	var b [48]byte
	switch v.Type {
	case Str:
		return v.Bytes
	case Addr:
		return a.Copy(v.Addr.AppendTo(b[:0]))
	case Bool:
		return view("01")[v.Int : v.Int+1]
	}
	if 0 <= v.Int && v.Int <= 9 {
		return view("0123456789")[v.Int : v.Int+1]
	}
	return a.Copy(strconv.AppendInt(b[:0], v.Int, 10))
}

// castable says whether a value of one type can be read as another at all.
func castable(from, to Type) bool {
	return from == to || to != Addr || from == Str
}

// Cast reads a value as another type as HAProxy does: text is read as its leading integer ("12ab" is 12, "x" is 0, "" fails), an IPv4
// address as its 32 bits, numbers other than 0 are true. ok is false where the value does not allow it.
func (v Value) Cast(to Type, a *message.Arena) (_ Value, ok bool) {
	if v.Type == to {
		return v, true
	}
	switch to {
	case Str:
		return text(v.Text(a)), true
	case Addr:
		if v.Type != Str || len(v.Bytes) > 45 {
			return Value{}, false
		}
		ip, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(v.Bytes), len(v.Bytes)))
		return addr(ip), err == nil
	}
	n := v.Int
	switch v.Type {
	case Str:
		if len(v.Bytes) == 0 {
			return Value{}, false
		}
		n = leading(v.Bytes)
	case Addr:
		if !v.Addr.Is4() {
			return Value{}, false
		}
		b := v.Addr.As4()
		n = int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])
	}
	if to == Bool {
		return boolean(n != 0), true
	}
	return integer(n), true
}

// leading reads the integer b begins with, 0 if none; what does not fit becomes the nearest that does.
func leading(b []byte) int64 {
	neg := false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg, b = b[0] == '-', b[1:]
	}
	var n int64 // counted downwards: the negative side is one larger
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		d := int64(c - '0')
		if n < (math.MinInt64+d)/10 {
			if neg {
				return math.MinInt64
			}
			return math.MaxInt64
		}
		n = n*10 - d
	}
	if neg {
		return n
	}
	if n == math.MinInt64 {
		return math.MaxInt64
	}
	return -n
}
