package sample

import (
	"bytes"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// Cursor is a place among the values of a header field: a line and how much of it has been read.
type Cursor struct{ line, pos int32 }

// side picks the message whose header is read.
type side func(x *exchange.Exchange) *message.Header

func requestHeader(x *exchange.Exchange) *message.Header  { return &x.Req.Header }
func responseHeader(x *exchange.Exchange) *message.Header { return &x.Res.Header }

// nextValue returns the value after at. Whole lines are not split at commas. Host is what Req.Authority holds, one value whichever
// way the client named it.
func nextValue(x *exchange.Exchange, h *message.Header, n message.Name, whole bool, at Cursor) ([]byte, Cursor, bool) {
	if n.ID == message.Host && h == &x.Req.Header {
		return x.Req.Authority, Cursor{1, 0}, at.line == 0 && len(x.Req.Authority) > 0
	}
	i := h.Next(n, int(at.line))
	if i < 0 {
		return nil, at, false
	}
	v, from := h.Fields[i].Value, 0
	if int32(i) == at.line {
		from = int(at.pos)
	}
	if whole {
		return v, Cursor{int32(i) + 1, 0}, true
	}
	end := from + valueEnd(v[from:])
	next := Cursor{int32(i), int32(end) + 1}
	if end == len(v) {
		next = Cursor{int32(i) + 1, 0}
	}
	return bytes.Trim(v[from:end], " \t"), next, true
}

// valueEnd finds the comma that ends the first value of a list, or the end. A comma inside a quoted string does not count
// (RFC 9110 section 5.6.4).
func valueEnd(v []byte) int {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return i
		}
	}
	return len(v)
}

// pick returns the value with number occ, counted from 1, or from the end with -1 for the last one.
func pick(x *exchange.Exchange, h *message.Header, n message.Name, whole bool, occ int64) ([]byte, bool) {
	var last [10][]byte // HAProxy keeps as many
	var at Cursor
	var v []byte
	ok := true
	found := int64(0)
	for {
		if v, at, ok = nextValue(x, h, n, whole, at); !ok {
			break
		}
		if found++; found == occ {
			return v, true
		}
		if occ < 0 {
			last[found%int64(len(last))] = v
		}
	}
	if occ > 0 || found+occ < 0 {
		return nil, false
	}
	return last[(found+occ+1)%int64(len(last))], true
}

func occurrence(a []Arg) int64 {
	if len(a) > 1 && a[1].Int != 0 {
		return a[1].Int
	}
	return -1
}

func header(of side, whole bool) func(*exchange.Exchange, []Arg) (Value, bool) {
	return func(x *exchange.Exchange, a []Arg) (Value, bool) {
		v, ok := pick(x, of(x), a[0].Name, whole, occurrence(a))
		return text(v), ok
	}
}

func headerEach(of side, whole bool) func(*exchange.Exchange, []Arg, Cursor) (Value, Cursor, bool) {
	return func(x *exchange.Exchange, a []Arg, at Cursor) (Value, Cursor, bool) {
		if len(a) > 1 && a[1].Int != 0 { // one is asked for: that one only
			if at.line != 0 {
				return Value{}, at, false
			}
			v, ok := pick(x, of(x), a[0].Name, whole, a[1].Int)
			return text(v), Cursor{1, 0}, ok
		}
		v, at, ok := nextValue(x, of(x), a[0].Name, whole, at)
		return text(v), at, ok
	}
}

func headerCount(of side) func(*exchange.Exchange, []Arg) (Value, bool) {
	return func(x *exchange.Exchange, a []Arg) (Value, bool) {
		n := int64(0)
		for at, ok := (Cursor{}), true; ; n++ {
			if _, at, ok = nextValue(x, of(x), a[0].Name, false, at); !ok {
				return integer(n), true
			}
		}
	}
}

func headerInt(of side) func(*exchange.Exchange, []Arg) (Value, bool) {
	get := header(of, false)
	return func(x *exchange.Exchange, a []Arg) (Value, bool) {
		v, ok := get(x, a)
		return integer(leading(v.Bytes)), ok
	}
}

func headerIntEach(of side) func(*exchange.Exchange, []Arg, Cursor) (Value, Cursor, bool) {
	get := headerEach(of, false)
	return func(x *exchange.Exchange, a []Arg, at Cursor) (Value, Cursor, bool) {
		v, at, ok := get(x, a, at)
		return integer(leading(v.Bytes)), at, ok
	}
}
