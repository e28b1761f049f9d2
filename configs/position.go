package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Pos is a place in a file. Line and Col count from 1, Col in characters.
type Pos struct {
	File      string
	Line, Col int
}

// String is "edge.yaml:12:14", the form editors jump to.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Text is a string and where it stands.
type Text struct {
	Pos Pos
	S   string

	skip     int // columns between Pos and the text's first character: 1 for a quote
	verbatim int // bytes of S that stand in the file just so, on Pos's line
}

// At is the place of the byte at offset in S. It is exact for a value on one
// line, up to the first ${} or escape; for what comes after and for text
// folded over lines it is where the value begins.
func (t Text) At(offset int) Pos {
	p := t.Pos
	if 0 <= offset && offset <= t.verbatim && t.verbatim <= len(t.S) && t.verbatim > 0 {
		p.Col += t.skip + utf8.RuneCountInString(t.S[:offset])
	}
	return p
}

// Error is one thing wrong, where it stands, and what would do.
type Error struct {
	Pos Pos
	Msg string
	Err error // the cause, if the system gave one
}

// Error is "edge.yaml:12:14: what is wrong".
func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Unwrap is the system's error, so that errors.Is(err, fs.ErrNotExist) works.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all the things wrong with a document, sorted by place.
type Errors []*Error

// Error has one line for each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.Is and errors.As each of them.
func (es Errors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}

// sorted orders by file as order has them, then by place, and says a thing
// once that an alias led to several times.
func (es Errors) sorted(order []string) Errors {
	rank := make(map[string]int, len(order))
	for i, f := range order {
		rank[f] = i
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(rank[a.Pos.File], rank[b.Pos.File]),
			cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
	return slices.CompactFunc(es, func(a, b *Error) bool { return a.Pos == b.Pos && a.Msg == b.Msg })
}
