package acl

import (
	"bytes"
	"regexp"

	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/sample"
)

// Method is one row of the table of match methods: how a sample is compared with patterns.
type Method struct {
	Name    string
	Suffix  bool        // there are criteria that end in _Name: path_beg, hdr_beg ...
	Input   sample.Type // what the sample is cast to; any: not cast
	any     bool
	Pattern bool // takes patterns, and needs one at least
	Number  bool // patterns are numbers, ranges and the operators eq ge gt le lt
	Doc     string
	Example string // a criterion that uses it

	compile func(p []pattern, fold bool) (matcher, error)
}

// Methods is the table of match methods, the flag -m of an ACL. It is not to be changed.
func Methods() []Method { return methods }

// methods, the default for each type first: bool, int, ip and str.
var methods = []Method{
	{Name: "bool", Input: sample.Bool, Doc: "True, or a number other than 0.", Example: "ssl_fc -m bool",
		compile: func([]pattern, bool) (matcher, error) { return isTrue{}, nil }},
	{Name: "int", Input: sample.Int, Pattern: true, Number: true, Doc: "A number or a range a:b, a: or :b; after eq, ge, gt, le or lt compared with each number.", Example: "dst_port -m int 80 8000:8999", compile: compileRanges},
	{Name: "ip", Input: sample.Addr, Pattern: true, Doc: "An address or a network, with prefix length or netmask.", Example: "src -m ip 10.0.0.0/8 ::1", compile: compileNetworks},
	{Name: "str", Input: sample.Str, Pattern: true, Doc: "Equal.", Example: "path -m str /a", compile: compileExact},
	{Name: "beg", Suffix: true, Input: sample.Str, Pattern: true, Doc: "Begins with the pattern, byte for byte: /api matches /apiary.", Example: "path_beg /api",
		compile: func(p []pattern, fold bool) (matcher, error) { return compileAffixes(p, fold, false), nil }},
	{Name: "end", Suffix: true, Input: sample.Str, Pattern: true, Doc: "Ends with the pattern.", Example: "path_end .gif .png",
		compile: func(p []pattern, fold bool) (matcher, error) { return compileAffixes(p, fold, true), nil }},
	{Name: "sub", Suffix: true, Input: sample.Str, Pattern: true, Doc: "Contains the pattern.", Example: "hdr_sub(user-agent) -i bot", compile: compileContains},
	{Name: "dir", Suffix: true, Input: sample.Str, Pattern: true, Doc: "Contains the pattern between slashes, question marks or the ends.", Example: "path_dir img",
		compile: func(p []pattern, fold bool) (matcher, error) { return compileBetween(p, fold, "/?") }},
	{Name: "dom", Suffix: true, Input: sample.Str, Pattern: true, Doc: "Contains the pattern between dots, colons, slashes, question marks or the ends, wherever: example.com matches example.com.evil.net.", Example: "hdr_dom(host) example.com",
		compile: func(p []pattern, fold bool) (matcher, error) { return compileBetween(p, fold, "/?.:") }},
	{Name: "reg", Suffix: true, Input: sample.Str, Pattern: true, Doc: "Matches the regular expression (RE2) somewhere.", Example: `path_reg ^/v[0-9]+/`, compile: compileRegexps},
	{Name: "len", Suffix: true, Input: sample.Str, Pattern: true, Number: true, Doc: "The length in bytes is the number or in the range.", Example: "path_len gt 100",
		compile: func(p []pattern, _ bool) (matcher, error) {
			r, err := parseRanges(p)
			return lengths{r}, err
		}},
	{Name: "found", any: true, Doc: "There is a sample, whatever it holds.", Example: "hdr(x-beta) -m found",
		compile: func([]pattern, bool) (matcher, error) { return found{}, nil }},
}

func findMethod(name string) *Method {
	for i := range methods {
		if methods[i].Name == name {
			return &methods[i]
		}
	}
	return nil
}

// defaultMethod is how a sample of a type is compared without -m.
func defaultMethod(t sample.Type) *Method {
	return findMethod([...]string{sample.Str: "str", sample.Int: "int", sample.Bool: "bool", sample.Addr: "ip"}[t])
}

// pattern is a word to compare with.
type pattern struct {
	sample.Word
}

func (p pattern) errorf(format string, args ...any) error {
	return sample.Errorf(p.Offset, format, args...)
}

// matcher compares a value, already of its method's type. The arena is for what has to be made.
type matcher interface {
	match(v sample.Value, a *message.Arena) bool
}

type found struct{}

func (found) match(sample.Value, *message.Arena) bool { return true }

type isTrue struct{}

func (isTrue) match(v sample.Value, _ *message.Arena) bool { return v.Int != 0 }

// lowered is text in lower case, in the arena if it had to change.
func lowered(b []byte, a *message.Arena) []byte {
	for i, c := range b {
		if c-'A' < 26 {
			out := a.Copy(b)
			for ; i < len(out); i++ {
				out[i] = lower(out[i])
			}
			return out
		}
	}
	return b
}

func lower(c byte) byte {
	if c-'A' < 26 {
		return c + 'a' - 'A'
	}
	return c
}

// texts are the patterns' bytes, in lower case with fold.
func texts(p []pattern, fold bool) []string {
	out := make([]string, len(p))
	for i := range p {
		b := []byte(p[i].Text)
		if fold {
			for j, c := range b {
				b[j] = lower(c)
			}
		}
		out[i] = string(b)
	}
	return out
}

// exact is equality: a set, so that the cost does not depend on the number of patterns.
type exact struct {
	one  string // where there is a single pattern
	set  map[string]struct{}
	max  int // length of the longest pattern: what is longer needs no lower case
	fold bool
}

func compileExact(p []pattern, fold bool) (matcher, error) {
	m := &exact{fold: fold}
	list := texts(p, fold)
	if len(list) == 1 {
		m.one, m.max = list[0], len(list[0])
		return m, nil
	}
	m.set = make(map[string]struct{}, len(list))
	for _, s := range list {
		m.set[s] = struct{}{}
		m.max = max(m.max, len(s))
	}
	return m, nil
}

func (m *exact) match(v sample.Value, a *message.Arena) bool {
	b := v.Bytes
	if len(b) > m.max {
		return false
	}
	if m.set == nil {
		return string(b) == m.one || m.fold && message.EqualFold(b, m.one)
	}
	if m.fold {
		b = lowered(b, a)
	}
	_, ok := m.set[string(b)]
	return ok
}

// contains looks for patterns anywhere, one after the other.
type contains struct {
	list [][]byte
	fold bool
}

func compileContains(p []pattern, fold bool) (matcher, error) {
	m := &contains{fold: fold}
	for _, s := range texts(p, fold) {
		m.list = append(m.list, []byte(s))
	}
	return m, nil
}

func (m *contains) match(v sample.Value, a *message.Arena) bool {
	b := v.Bytes
	if m.fold {
		b = lowered(b, a)
	}
	for _, p := range m.list {
		if bytes.Contains(b, p) {
			return true
		}
	}
	return false
}

type regexps []*regexp.Regexp

func compileRegexps(p []pattern, fold bool) (matcher, error) {
	var m regexps
	for i := range p {
		re, err := sample.Regexp(p[i].Text, fold)
		if err != nil {
			e := sample.Errors(err)[0]
			return nil, sample.Errorf(p[i].At(e.Offset), "%s", e.Msg)
		}
		m = append(m, re)
	}
	return m, nil
}

func (m regexps) match(v sample.Value, _ *message.Arena) bool {
	for _, re := range m {
		if re.Match(v.Bytes) {
			return true
		}
	}
	return false
}
