package sample

import (
	"strings"

	"github.com/approovia/edge/proxy/exchange"
)

// Format is a compiled log-format string: text with %[expression] in it (configuration manual, section 8.2.6). It is also how a plain
// constant is held.
type Format struct {
	parts []part
}

// part is an expression, or text where there is none.
type part struct {
	text []byte
	expr *Expr
}

// ParseFormat compiles a log-format string for rules of a phase: %[expr] is the value of an expression, %% is a percent sign.
func ParseFormat(s string, p Phase) (*Format, error) {
	f := &Format{}
	var text []byte
	flush := func() {
		if len(text) > 0 {
			f.parts = append(f.parts, part{text: text})
			text = nil
		}
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			text = append(text, s[i])
			continue
		}
		at := i
		i++
		switch {
		case i < len(s) && s[i] == '%':
			text = append(text, '%')
		case i < len(s) && s[i] == '[':
			e, end, err := parseExpr(s, i+1, p)
			if err != nil {
				return nil, err
			}
			if end == len(s) {
				return nil, Errorf(at, "%%[ is never closed")
			}
			if s[end] != ']' {
				return nil, Errorf(end, "unexpected %q in %%[...]: expected a comma and a converter, or ]", s[end:end+1])
			}
			flush()
			f.parts = append(f.parts, part{expr: e})
			i = end
		case i < len(s) && (s[i] == '{' || s[i] == '('):
			return nil, Errorf(at, "flags and names (%%{+Q}, %%(name)) are not supported by this version of edge")
		default:
			end := ident(s, i)
			if end > i {
				return nil, Errorf(at, "log-format alias %q is not supported by this version of edge: use an expression such as %%[src], or %%%% for a percent sign", s[at:end])
			}
			return nil, Errorf(at, "a lone percent sign: write %%%%, or %%[expression]")
		}
	}
	flush()
	return f, nil
}

// ParseFormatWord compiles a word of a line; errors carry offsets in the line.
func ParseFormatWord(w Word, p Phase) (*Format, error) {
	f, err := ParseFormat(w.Text, p)
	if err != nil {
		return nil, shift(err, w)
	}
	return f, nil
}

// ParseWord compiles a word of a line as an expression; errors carry offsets in the line. With a fetch f the word's first name stands
// for that one.
func ParseWord(w Word, f *Fetch, p Phase) (e *Expr, err error) {
	if f != nil {
		e, err = ParseAs(f, w.Text)
	} else {
		e, err = Parse(w.Text, p)
	}
	if err != nil {
		return nil, shift(err, w)
	}
	return e, nil
}

// Const returns the text of a format without expressions; ok is false if there are any.
func (f *Format) Const() (text []byte, ok bool) {
	switch {
	case len(f.parts) == 0:
		return nil, true
	case len(f.parts) == 1 && f.parts[0].expr == nil:
		return f.parts[0].text, true
	}
	return nil, false
}

// Literals returns the format's own text without what its expressions yield.
func (f *Format) Literals() string {
	var b strings.Builder
	for i := range f.parts {
		b.Write(f.parts[i].text)
	}
	return b.String()
}

func (p *part) bytes(x *exchange.Exchange) []byte {
	if p.expr == nil {
		return p.text
	}
	v, ok := p.expr.Eval(x)
	if !ok {
		return nil
	}
	return v.Text(&x.Arena)
}

// Append adds the format's text to dst. An expression without a value adds nothing.
func (f *Format) Append(dst []byte, x *exchange.Exchange) []byte {
	for i := range f.parts {
		dst = append(dst, f.parts[i].bytes(x)...)
	}
	return dst
}

// Bytes returns the format's text for the exchange, valid until it has ended and not to be written to: a constant and the value of a
// single expression are not copied, the rest is joined in the exchange's arena.
func (f *Format) Bytes(x *exchange.Exchange) []byte {
	if text, ok := f.Const(); ok {
		return text
	}
	if len(f.parts) == 1 {
		return f.parts[0].bytes(x)
	}
	var joined [9][]byte // what there is so far, and eight more
	n := 1
	for i := range f.parts {
		joined[n] = f.parts[i].bytes(x)
		if n++; n == len(joined) || i == len(f.parts)-1 {
			joined[0] = concat(&x.Arena, joined[:n]...)
			n = 1
		}
	}
	return joined[0]
}
