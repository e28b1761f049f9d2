package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// variable is ${...} on one line.
var variable = regexp.MustCompile(`\$\{[^{}\n\r"']*\}`)

// YAML reads braces and commas as its own inside { } and [ ]. So that ${NAME}
// needs no quotes there, they are masked before YAML sees the text, one
// character by one so that columns stay, and unmasked in the values.
// The masks are noncharacters of Unicode, refused in the text itself.
const (
	masked   = "{},[]:#&*!"
	maskBase = '\uFDD0'
)

var (
	mask = strings.NewReplacer(maskPairs(false)...)
	bare = strings.NewReplacer(maskPairs(true)...)
)

func maskPairs(back bool) (pairs []string) {
	for i, c := range masked {
		from, to := string(c), string(maskBase+rune(i))
		if back {
			from, to = to, from
		}
		pairs = append(pairs, from, to)
	}
	return pairs
}

func maskVariables(text string) string {
	return variable.ReplaceAllStringFunc(text, mask.Replace)
}

func unmask(text string) string { return bare.Replace(text) }

var (
	varName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	varForm = "write ${NAME}, ${NAME:-default} or ${file:/path}; $${ stands for ${ itself"
)

// expand replaces ${NAME}, ${NAME:-default} and ${file:path} in n's text and
// $${ by ${. What comes in is not expanded again. It happens inside values
// the YAML is already cut into, so no value can add keys.
func (d *decoder) expand(n *node) (Text, bool) {
	t := Text{Pos: n.pos, S: n.text, skip: n.skip, verbatim: n.verbatim}
	if !strings.Contains(n.text, "${") {
		return t, true
	}
	written, exact, ok := t, -1, true
	var out strings.Builder
	for rest := n.text; ; {
		i := strings.Index(rest, "${")
		if i < 0 {
			out.WriteString(rest)
			break
		}
		at := len(n.text) - len(rest) + i
		if i > 0 && rest[i-1] == '$' {
			if exact < 0 {
				exact = at - 1
			}
			out.WriteString(rest[:i-1] + "${")
			rest = rest[i+2:]
			continue
		}
		if exact < 0 {
			exact = at
		}
		out.WriteString(rest[:i])
		name, after, closed := strings.Cut(rest[i+2:], "}")
		if !closed {
			d.fail(written.At(at), "${ without }: %s", varForm)
			return t, false
		}
		rest = after
		value, why := d.lookup(name)
		if why != nil {
			d.failErr(written.At(at), why, "${%s}: %s", name, reason(why))
			ok = false
		}
		out.WriteString(value)
	}
	t.S, t.verbatim = out.String(), min(exact, n.verbatim)
	return t, ok
}

func (d *decoder) lookup(name string) (string, error) {
	if path, is := strings.CutPrefix(name, "file:"); is {
		if path == "" {
			return "", errors.New("names no file: write ${file:/path}")
		}
		b, err := d.read(d.path(path))
		if err != nil {
			return "", err
		}
		return oneLine(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
	}
	name, other, hasOther := strings.Cut(name, ":-")
	if !varName.MatchString(name) {
		return "", errors.New("not a variable's name: " + varForm)
	}
	value, set := d.opt.Getenv(name)
	switch {
	case value == "" && hasOther:
		return other, nil
	case !set:
		return "", fmt.Errorf("the environment variable %s is not set; ${%s:-default} gives a default", name, name)
	}
	return oneLine(value)
}

// oneLine refuses what no value of the document could hold if it were written
// there: a header or a log line is made of some of them.
func oneLine(s string) (string, error) {
	if i := strings.IndexFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }); i >= 0 {
		return "", fmt.Errorf("the value has a line break or control character, %q", s[i:i+1])
	}
	if !utf8.ValidString(s) {
		return "", errors.New("the value is not UTF-8")
	}
	return s, nil
}

// path makes what the file names absolute, from the file's own directory.
func (d *decoder) path(name string) string {
	if d.dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.dir, name)
}

// reason is a system error without the path that the message has already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Sprintf("%s cannot be read: %v", pe.Path, pe.Err)
	}
	return err.Error()
}
