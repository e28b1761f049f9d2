package acl

import (
	"fmt"
	"strings"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/sample"
)

// Condition is a compiled condition: alternatives, each a list of ACLs that all have to hold, or not to hold. The nil Condition holds always.
type Condition struct {
	any    [][]term
	unless bool
}

type term struct {
	acl *ACL
	not bool
}

// Eval says whether the condition holds now. ACLs are evaluated in the order they are written in, and only as far as needed.
func (c *Condition) Eval(x *exchange.Exchange) bool {
	if c == nil {
		return true
	}
	for _, all := range c.any {
		holds := true
		for i := range all {
			if all[i].acl.eval(x) == all[i].not {
				holds = false
				break
			}
		}
		if holds {
			return !c.unless
		}
	}
	return c.unless
}

// Compile compiles a condition for request rules: "if office !admin or { path_beg /x }". The leading "if" may be left out; "unless" negates
// the whole. Names are ACLs of env (nil: the predefined ones). Errors carry byte offsets in text; several are reported at once.
func Compile(text string, env *Env) (*Condition, error) {
	words, err := sample.Words(text)
	if err != nil {
		return nil, err
	}
	return CompileWords(words, env, sample.Request)
}

// CompileWords compiles the condition that the last words of a line make up, for rules of a phase.
func CompileWords(words []sample.Word, env *Env, phase sample.Phase) (*Condition, error) {
	c := &Condition{}
	var errs []error
	var all []term
	end := 0 // where the text ends, for "something is missing here"
	if n := len(words); n > 0 {
		end = words[n-1].At(len(words[n-1].Text))
		if words[0].Is("if") || words[0].Is("unless") {
			c.unless = words[0].Text == "unless"
			words = words[1:]
		}
	}
	not, open := false, true // open: an ACL has to follow
	notAt := 0
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !w.Quoted {
			for strings.HasPrefix(w.Text, "!") {
				not, open, notAt = !not, true, w.Offset
				w = sample.Word{Text: w.Text[1:], Offset: w.Offset + 1}
			}
			if w.Text == "" {
				continue // the ! stands alone and counts for the next word
			}
			if strings.EqualFold(w.Text, "or") || w.Text == "||" {
				if open {
					errs = append(errs, sample.Errorf(w.Offset, "%q needs a condition before it", w.Text))
				}
				if all != nil {
					c.any = append(c.any, all)
				}
				all, not, open, notAt = nil, false, true, w.Offset
				continue
			}
			if hint := foreignWords[w.Text]; hint != "" {
				errs = append(errs, sample.Errorf(w.Offset, "%q is no word of a condition: %s", w.Text, hint))
				open = false
				continue
			}
		}
		var a *ACL
		var err error
		if w.Text == "{" && !w.Quoted {
			close := i + 1
			for close < len(words) && !words[close].Is("}") {
				close++
			}
			switch {
			case close == len(words):
				return nil, join(append(errs, sample.Errorf(w.Offset, "this { is never closed: } has to stand as a word of its own")))
			case close == i+1:
				err = sample.Errorf(w.Offset, "{ } is empty: write a test such as { path_beg /x }")
			default:
				var t *test
				if t, err = parseTest(words[i+1 : close]); err == nil {
					a = &ACL{tests: []*test{t}}
				}
			}
			i = close
		} else {
			a, err = env.find(w)
		}
		if err == nil {
			err = a.check(w, phase)
		}
		if err != nil {
			errs = append(errs, err)
		}
		all = append(all, term{a, not})
		not, open = false, false
	}
	if open && errs == nil {
		switch {
		case len(words) == 0:
			errs = append(errs, sample.Errorf(end, "a condition is missing: names of ACLs, or a test such as { path_beg /x }"))
		default:
			errs = append(errs, sample.Errorf(notAt, "nothing follows %q", words[len(words)-1].Text))
		}
	}
	if errs != nil {
		return nil, join(errs)
	}
	c.any = append(c.any, all)
	return c, nil
}

// foreignWords are what other languages would say.
var foreignWords = map[string]string{
	"and": "ACLs in a row are joined by and", "&&": "ACLs in a row are joined by and", "AND": "ACLs in a row are joined by and",
	"not": "write !", "NOT": "write !",
	"if": "it may stand at the beginning only", "unless": "it may stand at the beginning only",
	"(": "there are no parentheses; declare an ACL for what they hold", ")": "there are no parentheses; declare an ACL for what they hold",
	"}": "there is no { before it",
}

// check refuses ACLs that read what does not exist yet.
func (a *ACL) check(w sample.Word, phase sample.Phase) error {
	for _, t := range a.tests {
		if t.expr.From() > phase {
			what := "this test"
			if a.name != "" {
				what = fmt.Sprintf("ACL %q", a.name)
			}
			return sample.Errorf(w.Offset, "%s reads %q of the %s, which does not exist yet in %s rules", what, t.expr.Fetch().Name, t.expr.From(), phase)
		}
	}
	return nil
}
