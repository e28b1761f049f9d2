package configs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzParse: no document makes Parse panic; an error has a place inside the
// document; a text that claims to stand somewhere stands there; what was
// accepted is accepted again.
func FuzzParse(f *testing.F) {
	f.Add(string(Example))
	f.Add(site)
	f.Add("a: &a [*a, <<: *a]\n? b\n: |\n  c\n")
	f.Add("frontends: {web: {bind: ':80', deny: [\"é\", '${A:-b}', $${x}   ]}}\r\nbackends:\r\n")
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(b).Files {
			f.Add(string(file.Data))
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		opt := fake(map[string]string{"x": "y\n"}, map[string]string{"A": "a", "B": "{b: c}"})
		c, err := Parse("edge.yaml", []byte(src), opt)
		lines := strings.Split(strings.TrimPrefix(src, "\ufeff"), "\n")
		if err != nil {
			errs, ok := err.(Errors)
			if !ok || len(errs) == 0 {
				t.Fatalf("%T without errors", err)
			}
			for _, e := range slices.Concat(errs, c.Warnings) {
				if e.Pos.File == "x" {
					continue // included
				}
				if e.Pos.File != "edge.yaml" || e.Pos.Line < 1 || e.Pos.Line > len(lines)+1 || e.Pos.Col < 1 || e.Msg == "" || !utf8.ValidString(e.Msg) {
					t.Errorf("no place in %d lines: %v", len(lines), e)
				}
			}
			return
		}
		var texts []Text
		for _, f := range c.Frontends {
			texts = append(texts, slices.Concat(f.Allow, f.Deny, f.Request, f.Response)...)
			for _, a := range f.ACLs {
				texts = append(texts, a.Lines...)
			}
			for _, r := range f.Routes {
				texts = append(texts, r.Backend)
			}
		}
		for _, x := range texts {
			if x.verbatim == 0 {
				continue
			}
			p, written := x.At(0), []rune(lines[x.Pos.Line-1])
			if p.Col-1 > len(written) || !strings.HasPrefix(string(written[p.Col-1:]), x.S[:x.verbatim]) {
				t.Errorf("%q does not stand at %s", x.S[:x.verbatim], p)
			}
		}
		again, err := Parse("edge.yaml", []byte(src), opt)
		if err != nil || again.Digest != c.Digest {
			t.Errorf("accepted once, then: %v", err)
		}
	})
}
