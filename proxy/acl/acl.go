// Package acl answers whether a condition holds for an exchange: HAProxy's ACLs and the conditions made of them (configuration manual,
// section 7). It compares samples with patterns and changes nothing.
//
// What is compiled is read-only and may be used by any number of exchanges at once. Evaluation does not allocate.
package acl

import (
	"errors"
	"strings"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/sample"
)

// Error is a fault in the text of an ACL or a condition, with the byte offset in that text. Errors joined in one error are listed by
// sample.Errors.
type Error = sample.Error

// test is one ACL line: a sample, how to compare it, with what.
type test struct {
	expr   *sample.Expr
	method *Method
	with   matcher
}

// eval tries every value the sample has. An absent sample matches nothing.
func (t *test) eval(x *exchange.Exchange) bool {
	if !t.expr.Many() {
		v, ok := t.expr.Eval(x)
		return ok && t.holds(v, x)
	}
	var at sample.Cursor
	for {
		v, next, ok, more := t.expr.Next(x, at)
		if !more {
			return false
		}
		if ok && t.holds(v, x) {
			return true
		}
		at = next
	}
}

func (t *test) holds(v sample.Value, x *exchange.Exchange) (ok bool) {
	if !t.method.any && v.Type != t.method.Input {
		if v, ok = v.Cast(t.method.Input, &x.Arena); !ok {
			return false
		}
	}
	return t.with.match(v, &x.Arena)
}

// criterion finds what the first word of an ACL names: a criterion of a family (path_beg: a row's Family, an underscore and a method) or
// else any sample fetch. method is nil where the sample's type decides.
func criterion(w sample.Word) (f *sample.Fetch, method *Method) {
	name := sample.FetchName(w.Text)
	rows := sample.Fetches()
	for i := range rows {
		rest, ok := strings.CutPrefix(name, rows[i].Family)
		if !ok || rows[i].Family == "" {
			continue
		}
		if rest == "" {
			return &rows[i], nil
		}
		if suffix, ok := strings.CutPrefix(rest, "_"); ok {
			if m := findMethod(suffix); m != nil && m.Suffix {
				return &rows[i], m
			}
		}
	}
	return nil, nil
}

// Criteria lists the names of a family's criteria with a suffix, which sample.Fetches does not list: path_beg, hdr_dom ...
func Criteria() (names []string) {
	for _, f := range sample.Fetches() {
		if f.Family != "" {
			names = append(names, f.Family)
			for _, m := range methods {
				if m.Suffix {
					names = append(names, f.Family+"_"+m.Name)
				}
			}
		}
	}
	return names
}

// foreignFlags are HAProxy's flags that this version does not have.
var foreignFlags = map[string]string{
	"-f": "patterns from a file: list them here",
	"-M": "patterns from a map file",
	"-u": "an ACL id",
}

// parseTest compiles the words of an ACL: criterion [flags] [operator] pattern...
func parseTest(words []sample.Word) (*test, error) {
	w := words[0]
	f, method := criterion(w)
	expr, err := sample.ParseWord(w, f, sample.Response) // the phase is checked where the ACL is used
	if err != nil {
		return nil, suggest(w, err)
	}
	if method != nil && expr.Converted() {
		return nil, sample.Errorf(w.Offset, "%s takes no converters: put them behind %s and name the method with -m %s", sample.FetchName(w.Text), f.Family, method.Name)
	}
	if method == nil {
		method = defaultMethod(expr.Type())
	}
	fold, forced := false, false
	i := 1
flags:
	for ; i < len(words) && !words[i].Quoted && strings.HasPrefix(words[i].Text, "-"); i++ {
		switch flag := words[i].Text; flag {
		case "-i":
			fold = true
		case "-n": // no name is ever resolved
		case "--":
			i++
			break flags
		case "-m":
			if forced {
				return nil, sample.Errorf(words[i].Offset, "there is a -m already")
			}
			if i++; i == len(words) {
				return nil, sample.Errorf(words[i-1].Offset, "-m needs a method (%s)", strings.Join(methodNames(), ", "))
			}
			m := findMethod(words[i].Text)
			if m == nil {
				return nil, sample.Unknown(words[i].Offset, "match method", words[i].Text, "bin", methodNames())
			}
			if !m.any && !castable(expr.Type(), m.Input) {
				return nil, sample.Errorf(words[i].Offset, "-m %s cannot compare a sample of type %s", m.Name, expr.Type())
			}
			method, forced = m, true
		default:
			if why := foreignFlags[flag]; why != "" {
				return nil, sample.Errorf(words[i].Offset, "flag %s (%s) is not supported by this version of edge", flag, why)
			}
			return nil, sample.Errorf(words[i].Offset, "unknown flag %q (known: -i, -m, -n, --); write -- before patterns that begin with -", flag)
		}
	}
	var patterns []pattern
	for _, w := range words[i:] {
		if w.Text == "" {
			return nil, sample.Errorf(w.Offset, "an empty pattern never matches: use -m found for presence or -m len 0 for emptiness")
		}
		patterns = append(patterns, pattern{w})
	}
	if method.Pattern && len(patterns) == 0 {
		return nil, sample.Errorf(w.Offset, "%s has no pattern to compare with and would never match: add one, or use -m found for presence", w.Text)
	}
	if !method.Pattern && len(patterns) > 0 {
		return nil, sample.Errorf(patterns[0].Offset, "a %s match takes no pattern, %q would be ignored (a named ACL is negated with !)", method.Name, patterns[0].Text)
	}
	with, err := method.compile(patterns, fold)
	if err != nil {
		return nil, err
	}
	return &test{expr, method, with}, nil
}

// suggest adds the criteria of families to the names a wrong one is compared with.
func suggest(w sample.Word, err error) error {
	name := sample.FetchName(w.Text)
	if e := sample.Errors(err)[0]; strings.HasPrefix(e.Msg, "unknown fetch") && e.Offset == w.At(0) {
		if near := sample.Nearest(name, Criteria()); near != "" && !strings.Contains(e.Msg, "did you mean") {
			return sample.Errorf(e.Offset, "unknown criterion %q; did you mean %q?", name, near)
		}
	}
	return err
}

// castable is HAProxy's matrix of types and methods (section 7.1): all but an address from a number.
func castable(from, to sample.Type) bool {
	return to != sample.Addr || from == sample.Addr || from == sample.Str
}

func methodNames() (n []string) {
	for i := range methods {
		n = append(n, methods[i].Name)
	}
	return n
}

// join makes one error of several, nil of none.
func join(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
