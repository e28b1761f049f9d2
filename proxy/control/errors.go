package control

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of refusal. Compare with errors.Is.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("generation has moved on") // compare-and-set failed; nothing was changed
	ErrInvalid  = errors.New("invalid")
	ErrBusy     = errors.New("busy") // the same kind of operation is under way
)

// Error is a refusal with its kind and the words for the operator.
type Error struct {
	Kind       error // one of the kinds above
	Text       string
	Generation uint64 // the current one, for ErrConflict
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// NotFound is the refusal of a name that does not exist; known are the names that do, from which it suggests one.
func NotFound(noun, name string, known []string) error {
	return &Error{Kind: ErrNotFound, Text: fmt.Sprintf("no %s %q%s", noun, name, hint(name, known))}
}

// Conflict is the refusal of a change that expected another generation than the current one.
func Conflict(expected, current uint64) error {
	return &Error{Kind: ErrConflict, Generation: current,
		Text: fmt.Sprintf("expected generation %d, but the current one is %d", expected, current)}
}

// Invalid is the refusal of a value.
func Invalid(format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Text: fmt.Sprintf(format, args...)}
}

// Busy is the refusal of a second operation of a kind that runs one at a time.
func Busy(what string) error { return &Error{Kind: ErrBusy, Text: what + " is under way already"} }

// hint suggests the nearest known name, if one is near enough to be a slip of the fingers.
func hint(name string, known []string) string {
	best, least := "", len(name)/3+2
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k), least); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is Levenshtein's, or some number >= limit as soon as it cannot be smaller.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
