package sample

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is a fault in the text of an expression, condition or rule. Whoever knows where the text stands adds file and line.
type Error struct {
	Offset int // in bytes from the beginning of the text that was given, counted from 0
	Msg    string
}

func (e *Error) Error() string { return e.Msg }

// Errorf makes an Error.
func Errorf(offset int, format string, args ...any) error {
	return &Error{offset, fmt.Sprintf(format, args...)}
}

// Errors returns every *Error in err, in the order of their offsets; an error without an offset counts as one at 0.
func Errors(err error) []*Error {
	if err == nil {
		return nil
	}
	var list []*Error
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			list = append(list, Errors(e)...)
		}
		slices.SortStableFunc(list, func(a, b *Error) int { return a.Offset - b.Offset })
		return list
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{0, err.Error()}
	}
	return []*Error{e}
}

// shift moves the offsets in err, found in a word, to the line the word stands in.
func shift(err error, w Word) error {
	list := Errors(err)
	out := make([]error, len(list))
	for i, e := range list {
		out[i] = &Error{w.At(e.Offset), e.Msg}
	}
	if len(out) == 1 {
		return out[0]
	}
	return errors.Join(out...)
}

// Unknown words the refusal of a name: as a name of HAProxy's that this version does not have, or as no name at all, with what
// may have been meant.
func Unknown(offset int, kind, name string, foreign string, known []string) error {
	if listed(foreign, name) {
		return Errorf(offset, "%s %q is not supported by this version of edge", kind, name)
	}
	if near := Nearest(name, known); near != "" {
		return Errorf(offset, "unknown %s %q; did you mean %q?", kind, name, near)
	}
	slices.Sort(known)
	if len(known) > 24 {
		return Errorf(offset, "unknown %s %q", kind, name)
	}
	return Errorf(offset, "unknown %s %q (known: %s)", kind, name, strings.Join(slices.Compact(known), ", "))
}

// listed says whether name is one of the words of list; a word ending in * stands for all that begin with it.
func listed(list, name string) bool {
	for w := range strings.FieldsSeq(list) {
		if p, ok := strings.CutSuffix(w, "*"); w == name || ok && strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// Nearest returns the name closest to what was written, "" if none is close: at most a third of it may differ.
func Nearest(written string, names []string) string {
	best, dist := "", len(written)/3+1
	for _, n := range names {
		if d := distance(strings.ToLower(written), strings.ToLower(n)); d < dist || d == dist && d == 1 && best == "" {
			best, dist = n, d
		}
	}
	return best
}

// distance counts inserted, removed, changed and swapped bytes.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var prev, row, next [65]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], prev[j-2]+1)
			}
		}
		prev, row = row, next
	}
	return row[len(b)]
}
