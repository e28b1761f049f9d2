package sample

import (
	"bytes"
	"encoding/base64"
	"math"

	"github.com/approovia/edge/proxy/exchange"
)

// Converter is one row of the table of converters.
type Converter struct {
	Name    string
	Args    []Param
	In, Out Type // the input is cast to In first
	Doc     string
	Example string // an expression that uses it
	Gives   string // what Example is worth

	check func(a []Arg) error // of the arguments together, may be nil
	eval  func(x *exchange.Exchange, v Value, a []Arg) (Value, bool)
}

// Converters is the table of converters. It is not to be changed.
func Converters() []Converter { return converters }

var (
	cutArgs  = []Param{{"index", NonZero, true}, {"delimiters", NonEmpty, true}, {"count", Integer, false}}
	trimArgs = []Param{{"chars", Text, true}}
	sumArgs  = []Param{{"value", Integer, true}}
)

var converters = []Converter{
	{Name: "lower", In: Str, Out: Str, Doc: "ASCII letters in lower case.", Example: "str(A-b),lower", Gives: "a-b",
		eval: func(x *exchange.Exchange, v Value, _ []Arg) (Value, bool) {
			return text(mapLetters(x, v.Bytes, 'A')), true
		}},
	{Name: "upper", In: Str, Out: Str, Doc: "ASCII letters in upper case.", Example: "str(A-b),upper", Gives: "A-B",
		eval: func(x *exchange.Exchange, v Value, _ []Arg) (Value, bool) {
			return text(mapLetters(x, v.Bytes, 'a')), true
		}},
	{Name: "length", In: Str, Out: Int, Doc: "The length in bytes.", Example: "str(abc),length", Gives: "3",
		eval: func(_ *exchange.Exchange, v Value, _ []Arg) (Value, bool) { return integer(int64(len(v.Bytes))), true }},
	{Name: "bytes", Args: []Param{{"offset", NotNegative, true}, {"length", NotNegative, false}}, In: Str, Out: Str, Doc: "The bytes from offset on, at most length of them; empty if there are none.", Example: "str(012345),bytes(1,3)", Gives: "123", eval: cutBytes},
	{Name: "field", Args: cutArgs, In: Str, Out: Str, Doc: "The field with that index, counted from 1, or from the end with -1; every delimiter ends one, so fields may be empty. count fields (0: all that follow) with what is between them.", Example: "str(f1_f2_f3__f5),field(2,_,2)", Gives: "f2_f3", eval: field},
	{Name: "word", Args: cutArgs, In: Str, Out: Str, Doc: "As field, but delimiters in a row count as one and those at the ends do not count.", Example: "str(/f1////f2/f3),word(2,/)", Gives: "f2", eval: word},
	{Name: "regsub", Args: []Param{{"regex", Text, true}, {"substitute", Text, true}, {"flags", RegsubFlags, false}}, In: Str, Out: Str, Doc: "The first match of the regular expression (RE2) replaced, all with flag g, ignoring case with flag i; \\1 to \\9 in the substitute are groups, \\0 the match.", Example: "str(/a//b),'regsub(\"/+\",/,g)'", Gives: "/a/b",
		check: compileRegsub, eval: regsub},
	{Name: "url_dec", Args: []Param{{"in_form", Integer, false}}, In: Str, Out: Str, Doc: "Percent-decoded; + is a space after a question mark, or everywhere if in_form is not 0. Fails on a broken escape.", Example: "str(a%20b+c?d+e),url_dec", Gives: "a b+c?d e", eval: urlDecode},
	{Name: "base64", In: Str, Out: Str, Doc: "Base64 (RFC 4648 section 4) of the bytes.", Example: "str(a?>),base64", Gives: "YT8+", eval: encode64},
	{Name: "b64dec", In: Str, Out: Str, Doc: "What base64 encodes; fails on anything else.", Example: "str(YT8+),b64dec", Gives: "a?>", eval: decode64},
	{Name: "ltrim", Args: trimArgs, In: Str, Out: Str, Doc: "Without any of chars at the beginning.", Example: "str(//a/),ltrim(/)", Gives: "a/",
		eval: func(_ *exchange.Exchange, v Value, a []Arg) (Value, bool) {
			b := v.Bytes
			for len(b) > 0 && bytes.IndexByte(a[0].Bytes, b[0]) >= 0 {
				b = b[1:]
			}
			return text(b), true
		}},
	{Name: "rtrim", Args: trimArgs, In: Str, Out: Str, Doc: "Without any of chars at the end.", Example: "str(/a//),rtrim(/)", Gives: "/a",
		eval: func(_ *exchange.Exchange, v Value, a []Arg) (Value, bool) {
			b := v.Bytes
			for len(b) > 0 && bytes.IndexByte(a[0].Bytes, b[len(b)-1]) >= 0 {
				b = b[:len(b)-1]
			}
			return text(b), true
		}},
	{Name: "add", Args: sumArgs, In: Int, Out: Int, Doc: "The sum, kept within 64 bits.", Example: "int(40),add(2)", Gives: "42",
		eval: func(_ *exchange.Exchange, v Value, a []Arg) (Value, bool) { return integer(sum(v.Int, a[0].Int)), true }},
	{Name: "sub", Args: sumArgs, In: Int, Out: Int, Doc: "The difference, kept within 64 bits.", Example: "int(44),sub(2)", Gives: "42",
		eval: func(_ *exchange.Exchange, v Value, a []Arg) (Value, bool) {
			if a[0].Int == math.MinInt64 { // its negative does not exist
				return integer(sum(sum(v.Int, math.MaxInt64), 1)), true
			}
			return integer(sum(v.Int, -a[0].Int)), true
		}},
}

func findConverter(name string) *Converter {
	for i := range converters {
		if converters[i].Name == name {
			return &converters[i]
		}
	}
	return nil
}

func converterNames() (n []string) {
	for i := range converters {
		n = append(n, converters[i].Name)
	}
	return n
}

// mapLetters flips the case of the 26 letters that begin with first. Text without such letters is not copied.
func mapLetters(x *exchange.Exchange, b []byte, first byte) []byte {
	for i, c := range b {
		if c-first < 26 {
			out := x.Arena.Copy(b)
			for ; i < len(out); i++ {
				if out[i]-first < 26 {
					out[i] ^= 0x20
				}
			}
			return out
		}
	}
	return b
}

func sum(a, b int64) int64 {
	s := a + b
	switch {
	case a > 0 && b > 0 && s < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && s >= 0:
		return math.MinInt64
	}
	return s
}

func cutBytes(_ *exchange.Exchange, v Value, a []Arg) (Value, bool) {
	b := v.Bytes[min(a[0].Int, int64(len(v.Bytes))):]
	if len(a) > 1 {
		b = b[:min(a[1].Int, int64(len(b)))]
	}
	return text(b), true
}

// field cuts out fields; a value that has no field with that index fails.
func field(_ *exchange.Exchange, v Value, a []Arg) (Value, bool) {
	return cut(v.Bytes, a, false)
}

func word(_ *exchange.Exchange, v Value, a []Arg) (Value, bool) {
	return cut(v.Bytes, a, true)
}

// cut walks over the pieces between delimiters from the end that the index counts from. near and far are the borders of what was asked
// for, near being the one closer to that end.
func cut(b []byte, a []Arg, words bool) (Value, bool) {
	index, delims, count := a[0].Int, a[1].Bytes, int64(1)
	if len(a) > 2 {
		count = a[2].Int
	}
	back := index < 0
	at := func(i int) byte { // the i-th byte from that end
		if back {
			return b[len(b)-1-i]
		}
		return b[i]
	}
	if back {
		index = -index
	}
	near, far, piece, inside := 0, -1, int64(0), false
	if !words {
		piece, inside = 1, true
	}
	for i := 0; i < len(b); i++ {
		delim := bytes.IndexByte(delims, at(i)) >= 0
		switch {
		case words && !inside && !delim:
			if piece < index {
				piece++
				near = i
			}
			inside = true
		case inside && delim:
			if piece == index {
				if count == 1 {
					far = i
				} else if count > 1 {
					count--
				}
			} else if !words {
				piece++
				near = i + 1
			}
			inside = !words
		}
		if far >= 0 {
			break
		}
	}
	if piece != index {
		return Value{}, false
	}
	if far < 0 {
		far = len(b)
	}
	if back {
		near, far = len(b)-far, len(b)-near
	}
	return text(b[near:far]), true
}

func compileRegsub(a []Arg) error {
	flags := ""
	if len(a) > 2 {
		flags = string(a[2].Bytes)
	}
	re, err := Regexp(string(a[0].Bytes), bytes.ContainsRune([]byte(flags), 'i'))
	a[0].Regexp = re
	if err == nil {
		for s := a[1].Bytes; len(s) > 1; s = s[1:] {
			if s[0] == '\\' {
				if c := s[1]; '0' <= c && c <= '9' && int(c-'0') > re.NumSubexp() {
					return Errorf(0, "the substitute uses \\%c, but the regular expression has %d groups", c, re.NumSubexp())
				}
				s = s[1:]
			}
		}
	}
	return err
}

// regsub allocates: package regexp has no search that returns groups without it.
func regsub(x *exchange.Exchange, v Value, a []Arg) (Value, bool) {
	re, b := a[0].Regexp, v.Bytes
	n := 1
	if len(a) > 2 && bytes.IndexByte(a[2].Bytes, 'g') >= 0 {
		n = -1
	}
	matches := re.FindAllSubmatchIndex(b, n)
	if matches == nil {
		return v, true
	}
	var out []byte
	last := 0
	for _, m := range matches {
		out = append(out, b[last:m[0]]...)
		for s := a[1].Bytes; len(s) > 0; s = s[1:] {
			switch {
			case s[0] != '\\' || len(s) == 1:
				out = append(out, s[0])
			case '0' <= s[1] && s[1] <= '9':
				if g := 2 * int(s[1]-'0'); m[g] >= 0 {
					out = append(out, b[m[g]:m[g+1]]...)
				}
				s = s[1:]
			default:
				out = append(out, s[1])
				s = s[1:]
			}
		}
		last = m[1]
	}
	return text(append(out, b[last:]...)), true
}

func urlDecode(x *exchange.Exchange, v Value, a []Arg) (Value, bool) {
	form := len(a) > 0 && a[0].Int != 0
	if bytes.IndexByte(v.Bytes, '%') < 0 && bytes.IndexByte(v.Bytes, '+') < 0 {
		return v, true
	}
	out := x.Arena.Copy(v.Bytes)
	n := 0
	for i := 0; i < len(out); i, n = i+1, n+1 {
		c := out[i]
		switch {
		case c == '?':
			form = true
		case c == '+' && form:
			c = ' '
		case c == '%':
			if i+2 >= len(out) {
				return Value{}, false
			}
			hi, lo := unhex(out[i+1]), unhex(out[i+2])
			if hi < 0 || lo < 0 {
				return Value{}, false
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		out[n] = c
	}
	return text(out[:n]), true
}

func encode64(x *exchange.Exchange, v Value, _ []Arg) (Value, bool) {
	out := x.Arena.Alloc(base64.StdEncoding.EncodedLen(len(v.Bytes)))
	base64.StdEncoding.Encode(out, v.Bytes)
	return text(out), true
}

func decode64(x *exchange.Exchange, v Value, _ []Arg) (Value, bool) {
	out := x.Arena.Alloc(base64.StdEncoding.DecodedLen(len(v.Bytes)))
	n, err := base64.StdEncoding.Decode(out, v.Bytes)
	return text(out[:n]), err == nil
}
