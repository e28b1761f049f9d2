package sample

import (
	"regexp"
	"strings"
)

// pcreOnly lists what HAProxy's PCRE has and RE2 has not, by its first bytes, longest first where one begins another.
var pcreOnly = []struct{ syntax, name string }{
	{"(?=", "a lookahead"}, {"(?!", "a negative lookahead"}, {"(?<=", "a lookbehind"}, {"(?<!", "a negative lookbehind"},
	{"(?>", "an atomic group"}, {"(?(", "a conditional group"}, {"(?|", "a branch reset"}, {"(?#", "a comment"},
	{"(?R)", "a recursion"}, {"(?&", "a subroutine call"}, {"(?P=", "a back-reference"}, {"(?P>", "a subroutine call"}, {"(*", "a backtracking verb"},
	{`\k`, "a back-reference"}, {`\g`, "a back-reference"}, {`\K`, "a match reset"}, {`\G`, "a match-start anchor"}, {`\Z`, "the anchor \\Z"},
	{`\R`, "a line-break class"}, {`\X`, "a grapheme class"}, {`\h`, "the class \\h"}, {`\H`, "the class \\H"}, {`\N`, "the class \\N"},
	{"*+", "a possessive quantifier"}, {"++", "a possessive quantifier"}, {"?+", "a possessive quantifier"}, {"}+", "a possessive quantifier"},
}

// Regexp compiles a regular expression as RE2 (time linear in the text, which is what a proxy needs): HAProxy's PCRE syntax but for
// what RE2 cannot do, which is refused by name. fold ignores letter case. The error's offset is in the pattern.
func Regexp(pattern string, fold bool) (*regexp.Regexp, error) {
	if at, what := perlOnly(pattern); what != "" {
		return nil, Errorf(at, "regular expression %q has %s, which this version of edge (RE2) does not support; only PCRE does", pattern, what)
	}
	p := pattern
	if fold {
		p = "(?i:" + p + ")"
	}
	re, err := regexp.Compile(p)
	if err != nil {
		return nil, Errorf(0, "regular expression %q: %s", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

// perlOnly finds syntax of pcreOnly outside of character classes and escapes.
func perlOnly(p string) (int, string) {
	class := false
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '\\' && i+1 < len(p):
			if c := p[i+1]; !class && '1' <= c && c <= '9' {
				return i, "the back-reference " + p[i:i+2]
			}
			if !class {
				for _, s := range pcreOnly {
					if s.syntax[0] == '\\' && strings.HasPrefix(p[i:], s.syntax) {
						return i, s.name
					}
				}
			}
			if strings.HasPrefix(p[i:], `\Q`) {
				end := strings.Index(p[i:], `\E`)
				if end < 0 {
					return 0, ""
				}
				i += end
			}
			i++
			// An escaped quantifier is a literal: "\++" is one or more "+".
			if !class && i+1 < len(p) && strings.IndexByte("*+?", p[i]) >= 0 && p[i+1] == '+' {
				i++
			}
		case class:
			if p[i] == ']' {
				class = false
			} else if strings.HasPrefix(p[i:], "[:") {
				if end := strings.Index(p[i:], ":]"); end > 0 {
					i += end + 1
				}
			}
		case p[i] == '[':
			class = true
			for _, first := range []string{"^", "]"} { // a ] directly after [ or [^ is a member
				if strings.HasPrefix(p[i+1:], first) {
					i++
				}
			}
		default:
			for _, s := range pcreOnly {
				if s.syntax[0] != '\\' && strings.HasPrefix(p[i:], s.syntax) {
					return i, s.name
				}
			}
		}
	}
	return 0, ""
}
