package sample

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// Param is one argument a fetch or converter takes.
type Param struct {
	Name     string
	Kind     Kind
	Required bool
}

// Kind is what an argument may be.
type Kind uint8

// The kinds.
const (
	Text Kind = iota
	NonEmpty
	HeaderName
	Occurrence // a number counted from 1, or from the end: -1 to -10
	Integer
	NonZero
	Positive
	NotNegative
	Boolean
	UUIDVersion
	RegsubFlags
)

// kinds says what each kind of argument is, and what it must be.
var kinds = [...]struct {
	want     string
	min, max int64
	number   bool
}{
	Text:        {want: "text"},
	NonEmpty:    {want: "one character or more"},
	HeaderName:  {want: "a header field name"},
	Occurrence:  {"a number of at least -10", -10, math.MaxInt32, true},
	Integer:     {"an integer", math.MinInt64, math.MaxInt64, true},
	NonZero:     {"an integer other than 0", math.MinInt32, math.MaxInt32, true},
	Positive:    {"an integer above 0", 1, math.MaxInt64, true},
	NotNegative: {"an integer of at least 0", 0, math.MaxInt32, true},
	Boolean:     {want: "true or false"},
	UUIDVersion: {"4 or 7", 4, 7, true},
	RegsubFlags: {want: "g, i or both"},
}

// Arg is an argument, ready for use.
type Arg struct {
	Int    int64
	Bytes  []byte
	Name   message.Name
	Regexp *regexp.Regexp
}

func (k Kind) parse(s string, at int) (a Arg, err error) {
	row := kinds[k]
	a.Bytes = []byte(s)
	ok := true
	switch k {
	case NonEmpty:
		ok = s != ""
	case HeaderName:
		ok = Token(s)
		a.Name = message.NewName(s)
	case Boolean:
		switch strings.ToLower(s) {
		case "1", "true", "yes", "on":
			a.Int = 1
		case "0", "false", "no", "off":
		default:
			ok = false
		}
	case RegsubFlags:
		ok = strings.Trim(s, "gi") == ""
	}
	if row.number {
		a.Int, err = strconv.ParseInt(s, 10, 64)
		ok = err == nil && row.min <= a.Int && a.Int <= row.max
		ok = ok && (k != NonZero || a.Int != 0) && (k != UUIDVersion || a.Int == 4 || a.Int == 7)
	}
	if !ok {
		return a, Errorf(at, "%q is not %s", s, row.want)
	}
	return a, nil
}

// Token says whether s is a token of RFC 9110 section 5.6.2, as field names and methods have to be.
func Token(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// Expr is a compiled expression: a fetch and the converters behind it.
type Expr struct {
	fetch *Fetch
	args  []Arg
	conv  []conversion
	typ   Type
}

type conversion struct {
	*Converter
	args []Arg
}

// Type is what the expression yields.
func (e *Expr) Type() Type { return e.typ }

// From is the earliest phase in which the expression has a value.
func (e *Expr) From() Phase { return e.fetch.From }

// Fetch is the row the expression reads.
func (e *Expr) Fetch() *Fetch { return e.fetch }

// Converted says whether there are converters.
func (e *Expr) Converted() bool { return len(e.conv) > 0 }

// Eval returns the expression's value; ok is false where there is none (no such header, a conversion that fails).
func (e *Expr) Eval(x *exchange.Exchange) (v Value, ok bool) {
	v, ok = e.fetch.eval(x, e.args)
	if ok && len(e.conv) > 0 {
		return e.convert(x, v)
	}
	return v, ok
}

// Many says whether the sample may have several values, to be read with Next.
func (e *Expr) Many() bool { return e.fetch.each != nil }

// Next returns the value after at of a sample that may have several (req.hdr), as an ACL tries them one by one, and where to go on.
// Start with the zero Cursor; more is false behind the last one. ok is false for a value whose conversion failed.
func (e *Expr) Next(x *exchange.Exchange, at Cursor) (v Value, next Cursor, ok, more bool) {
	if e.fetch.each == nil {
		if at.line != 0 {
			return v, at, false, false
		}
		v, ok = e.Eval(x)
		return v, Cursor{1, 0}, ok, ok
	}
	v, next, more = e.fetch.each(x, e.args, at)
	ok = more
	if ok && len(e.conv) > 0 {
		v, ok = e.convert(x, v)
	}
	return v, next, ok, more
}

func (e *Expr) convert(x *exchange.Exchange, v Value) (_ Value, ok bool) {
	for i := range e.conv {
		c := &e.conv[i]
		if v, ok = v.Cast(c.In, &x.Arena); !ok {
			return v, false
		}
		if v, ok = c.eval(x, v, c.args); !ok {
			return v, false
		}
	}
	return v, true
}

// Parse compiles an expression such as "req.hdr(host),lower" for rules of a phase.
func Parse(text string, p Phase) (*Expr, error) {
	e, end, err := parseExpr(text, 0, p)
	if err == nil && end < len(text) {
		err = trailing(text, end)
	}
	return e, err
}

// ParseAs compiles an expression whose first word, whatever it is, stands for a fetch: ACL criteria have names of their own.
func ParseAs(f *Fetch, text string) (*Expr, error) {
	e, end, err := parseRest(f, text, ident(text, 0))
	if err == nil && end < len(text) {
		err = trailing(text, end)
	}
	return e, err
}

// FetchName returns the name an expression begins with.
func FetchName(text string) string { return text[:ident(text, 0)] }

func trailing(text string, at int) error {
	return Errorf(at, "unexpected %q after the expression (converters follow a comma)", text[at:])
}

// ident returns the end of the name that begins at i.
func ident(s string, i int) int {
	for i < len(s) {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-' || c == '+') {
			break
		}
		i++
	}
	return i
}

// parseExpr compiles the expression that begins at i and returns where it ends.
func parseExpr(s string, i int, p Phase) (*Expr, int, error) {
	end := ident(s, i)
	if end == i {
		return nil, i, Errorf(i, "a sample expression is missing here (such as src or req.hdr(host))")
	}
	f := FindFetch(s[i:end], p)
	if f == nil {
		return nil, i, Unknown(i, "fetch", s[i:end], foreignFetches, fetchNames())
	}
	if f.From > p {
		return nil, i, Errorf(i, "fetch %q reads the %s, which does not exist yet in %s rules", s[i:end], f.From, p)
	}
	return parseRest(f, s, end)
}

// parseRest compiles what follows the fetch's name: arguments and converters.
func parseRest(f *Fetch, s string, i int) (*Expr, int, error) {
	e := &Expr{fetch: f, typ: f.Type}
	var err error
	if e.args, i, err = parseArgs(f.Name, f.Args, s, i); err != nil {
		return nil, i, err
	}
	for i < len(s) && s[i] == ',' {
		at := i + 1
		end := ident(s, at)
		if end == at {
			return nil, at, Errorf(at, "a converter is missing after the comma")
		}
		c := findConverter(s[at:end])
		if c == nil {
			return nil, at, Unknown(at, "converter", s[at:end], foreignConverters, converterNames())
		}
		if !castable(e.typ, c.In) {
			return nil, at, Errorf(at, "converter %q takes a %s and cannot read a %s", c.Name, c.In, e.typ)
		}
		conv := conversion{Converter: c}
		if conv.args, i, err = parseArgs(c.Name, c.Args, s, end); err != nil {
			return nil, i, err
		}
		if c.check != nil {
			if err := c.check(conv.args); err != nil {
				return nil, at, Errorf(at, "%s: %s", c.Name, err)
			}
		}
		e.conv, e.typ = append(e.conv, conv), c.Out
	}
	return e, i, nil
}

// parseArgs reads "(a,b)" at i. Quotes and backslashes work inside as in HAProxy: a second level below that of the line.
func parseArgs(owner string, params []Param, s string, i int) (args []Arg, end int, err error) {
	open := i
	var texts []string
	var at []int
	if i < len(s) && s[i] == '(' {
		for i++; ; i++ {
			var b strings.Builder
			at = append(at, i)
			if i, err = parseArg(&b, s, i); err != nil {
				return nil, i, err
			}
			texts = append(texts, b.String())
			if s[i] == ')' {
				break
			}
		}
		i++
		if len(texts) == 1 && texts[0] == "" && (len(params) == 0 || !params[0].Required) {
			texts = nil // "uuid()" is "uuid"
		}
	}
	if len(texts) > len(params) {
		return nil, i, Errorf(at[len(params)], "%s takes %s, not %d arguments", owner, signature(params), len(texts))
	}
	for n, p := range params {
		if n >= len(texts) {
			if p.Required {
				return nil, i, Errorf(open, "%s needs its argument %q: %s%s", owner, p.Name, owner, signature(params))
			}
			break
		}
		a, err := p.Kind.parse(texts[n], at[n])
		if err != nil {
			return nil, i, Errorf(at[n], "%s, argument %q: %s", owner, p.Name, err)
		}
		args = append(args, a)
	}
	return args, i, nil
}

// parseArg reads one argument up to an unquoted comma or parenthesis and returns where that stands.
func parseArg(b *strings.Builder, s string, i int) (int, error) {
	quote, begin := byte(0), i
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case (c == '"' || c == '\'') && (quote == 0 || quote == c):
			quote ^= c
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			switch n := s[i]; n {
			case '\\', ' ', '"', '\'':
				b.WriteByte(n)
			case 'r':
				b.WriteByte('\r')
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte('\\')
				b.WriteByte(n)
			}
		case quote == 0 && (c == ',' || c == ')'):
			return i, nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return i, Errorf(begin, "a quote (%c) in this argument is never closed", quote)
	}
	return i, Errorf(begin-1, "this parenthesis is never closed")
}

func signature(params []Param) string {
	if len(params) == 0 {
		return "no arguments"
	}
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			p.Name = "," + p.Name
		}
		if !p.Required {
			p.Name = "[" + p.Name + "]"
		}
		b.WriteString(p.Name)
	}
	return "(" + b.String() + ")"
}
