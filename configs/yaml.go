package configs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxBytes   = 16 << 20 // of one file
	maxNesting = 64       // of brackets, and of anything else that nests
	maxNodes   = 4 << 20  // of one file, aliases followed
)

type kind uint8

const (
	scalar kind = iota
	null
	mapping
	list
	broken // reported already; whoever decodes it says nothing more
)

func (k kind) String() string {
	return [...]string{"a single value", "nothing", "a mapping", "a list", "broken"}[k]
}

// node is one value of the YAML tree. Nodes reached through aliases are
// shared, so none is changed once read.
type node struct {
	kind  kind
	pos   Pos
	text  string // of a scalar, as written: nothing is expanded yet
	pairs []pair // of a mapping, in file order, duplicates kept
	items []*node

	skip, verbatim int // as in Text
	size           int // nodes below and including this one, aliases followed
}

type pair struct{ key, value *node }

// reader turns one file into nodes.
type reader struct {
	file    string
	lines   []string // masked, for checking columns
	anchors map[string]*node
	errs    Errors
}

// readYAML reads one document. The node is nil if there are errors that leave
// nothing to decode.
func readYAML(file string, src []byte) (*node, Errors) {
	r := &reader{file: file, anchors: map[string]*node{}}
	root := r.document(src)
	return root, r.errs
}

func (r *reader) errorf(line, col int, format string, args ...any) {
	r.errs = append(r.errs, &Error{Pos: Pos{r.file, max(line, 1), max(col, 1)}, Msg: fmt.Sprintf(format, args...)})
}

func (r *reader) document(src []byte) *node {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if len(src) > maxBytes {
		r.errorf(1, 1, "the file has %d bytes; at most %d are read", len(src), maxBytes)
		return nil
	}
	text := strings.ReplaceAll(string(src), "\r\n", "\n")
	if !r.plainText(text) {
		return nil
	}
	text = maskVariables(text)
	r.lines = strings.Split(text, "\n")

	bodies, err := r.parse(text)
	switch {
	case err != nil:
		r.syntax(err)
		return nil
	case len(bodies) == 0:
		return &node{kind: null, pos: Pos{r.file, 1, 1}, size: 1}
	case len(bodies) > 1:
		at := bodies[1].GetToken().Position
		r.errorf(at.Line, 1, "a second YAML document begins here: one file holds one; use include for more files")
		return nil
	}
	root := r.node(bodies[0])
	if root.size > maxNodes {
		r.errorf(1, 1, "the aliases unfold to more than %d values", maxNodes)
		return nil
	}
	return root
}

// plainText refuses what would not be shown as it is: bytes that are not
// UTF-8, and control characters.
func (r *reader) plainText(text string) bool {
	line, col := 1, 1
	for i, c := range text {
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			r.errorf(line, col, "byte 0x%02x is not UTF-8", text[i])
			return false
		case c < ' ' && c != '\t' && c != '\n', c == 0x7f, c >= maskBase && c < maskBase+rune(len(masked)):
			r.errorf(line, col, "the character %U has no place in a configuration", c)
			return false
		case c == '\n':
			line, col = line+1, 0
		}
		col++
	}
	return true
}

// parse runs the YAML library over text. It recurses as deep as the text
// nests, so what nests too deep is refused before.
func (r *reader) parse(text string) (bodies []ast.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			bodies, err = nil, fmt.Errorf("the parser gave up (%v)", p)
		}
	}()
	tokens := lexer.Tokenize(text)
	if tk := tooDeep(tokens); tk != nil {
		return nil, &syntaxError{tk, fmt.Sprintf("nested more than %d deep", maxNesting)}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	for _, doc := range file.Docs {
		if d, ok := doc.Body.(*ast.DirectiveNode); ok {
			return nil, &syntaxError{d.GetToken(), "directives are not supported: leave the line out"}
		}
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	return bodies, nil
}

// syntaxError has the methods of the library's own errors.
type syntaxError struct {
	tk  *token.Token
	msg string
}

func (e *syntaxError) Error() string          { return e.msg }
func (e *syntaxError) GetMessage() string     { return e.msg }
func (e *syntaxError) GetToken() *token.Token { return e.tk }

func (r *reader) syntax(err error) {
	line, col, msg := 1, 1, err.Error()
	var at interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &at) {
		msg = at.GetMessage()
		if tk := at.GetToken(); tk != nil && tk.Position != nil {
			line, col = tk.Position.Line, tk.Position.Column
		}
	}
	if strings.Contains(msg, "\t") {
		msg = "a tab stands where YAML wants spaces: indent with spaces"
	}
	r.errorf(line, col, "not YAML: %s", unmask(msg))
}

// tooDeep is the first token nested deeper than maxNesting, or nil. Brackets
// count themselves. Outside of them each dash, colon, anchor or tag further
// to the right than the one before counts one level; inside, each of these
// with no comma in between.
func tooDeep(tokens token.Tokens) *token.Token {
	var columns []int
	flow, run := 0, 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow, run = flow+1, 0
		case token.SequenceEndType, token.MappingEndType:
			flow, run = max(flow-1, 0), 0
		case token.CollectEntryType:
			run = 0
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
			if flow > 0 {
				run++
				break
			}
			for len(columns) > 0 && columns[len(columns)-1] >= tk.Position.Column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, tk.Position.Column)
		}
		if flow+run > maxNesting || len(columns) > maxNesting {
			return tk
		}
	}
	return nil
}

// node converts a value of the library's tree.
func (r *reader) node(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.AnchorNode:
		v := r.node(n.Value)
		r.anchors[n.Name.GetToken().Value] = v // after its value: an alias inside cannot reach it
		return v
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		if v := r.anchors[name]; v != nil {
			return v
		}
		known := make([]string, 0, len(r.anchors))
		for k := range r.anchors {
			known = append(known, k)
		}
		return r.broken(n, "%s", unknown("anchor", name, known))
	case *ast.MappingNode:
		return r.mapping(n, n.Values)
	case *ast.MappingValueNode:
		return r.mapping(n, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out := r.at(n, list)
		for _, item := range n.Values {
			v := r.node(item)
			out.items = append(out.items, v)
			out.size = min(out.size+v.size, maxNodes+1)
		}
		return out
	case *ast.NullNode:
		return r.at(n, null)
	case *ast.LiteralNode:
		out := r.at(n, scalar)
		out.text = unmask(strings.TrimRight(n.Value.Value, "\n"))
		return out
	case *ast.TagNode:
		return r.broken(n, "the tag %s is not supported: leave it out", n.GetToken().Value)
	case *ast.MappingKeyNode:
		return r.broken(n, "a key after ? is not supported: write it as key: value")
	case nil:
		return &node{kind: null, pos: Pos{r.file, 1, 1}, size: 1}
	}
	out := r.at(n, scalar)
	r.place(out, n.GetToken())
	return out
}

func (r *reader) at(n ast.Node, k kind) *node {
	p := n.GetToken().Position
	return &node{kind: k, pos: Pos{r.file, p.Line, max(p.Column, 1)}, size: 1}
}

func (r *reader) broken(n ast.Node, format string, args ...any) *node {
	out := r.at(n, broken)
	r.errorf(out.pos.Line, out.pos.Col, format, args...)
	return out
}

// mapping also unfolds merge keys: what << brings in yields to what is written.
func (r *reader) mapping(n ast.Node, values []*ast.MappingValueNode) *node {
	out := r.at(n, mapping)
	var merged []pair
	for i, v := range values {
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			from := r.node(v.Value)
			out.size = min(out.size+from.size, maxNodes+1)
			all := []*node{from}
			if from.kind == list {
				all = from.items
			}
			for _, m := range all {
				if m.kind != mapping && m.kind != broken {
					r.errorf(m.pos.Line, m.pos.Col, "<< takes an alias of a mapping, not %s", m.kind)
				}
				merged = append(merged, m.pairs...)
			}
			continue
		}
		key, value := r.node(v.Key), r.node(v.Value)
		if i == 0 && n.GetToken().Type != token.MappingStartType {
			out.pos = key.pos // the library has the colon's
		}
		if key.kind == null {
			key.kind, key.text = scalar, "null"
		}
		if key.kind != scalar {
			if key.kind != broken {
				r.errorf(key.pos.Line, key.pos.Col, "a key is a name, not %s", key.kind)
			}
			continue
		}
		if value.kind == null {
			value.pos = key.pos // an absent value has no place of its own
		}
		out.pairs = append(out.pairs, pair{key, value})
		out.size = min(out.size+1+value.size, maxNodes+1)
	}
	written := make(map[string]bool, len(out.pairs))
	for _, p := range out.pairs {
		written[p.key.text] = true
	}
	for _, p := range merged {
		if !written[p.key.text] {
			written[p.key.text] = true
			out.pairs = append(out.pairs, p)
		}
	}
	return out
}

// place sets a scalar's text and finds where exactly it stands. The library
// counts blanks at a line's end into the column of a plain scalar.
func (r *reader) place(n *node, tk *token.Token) {
	text := tk.Value
	n.text = unmask(text)
	if tk.Type == token.ImplicitNullType || n.pos.Line > len(r.lines) || text == "" {
		return
	}
	line := r.lines[n.pos.Line-1]
	if len(line) > 1<<16 {
		return // searching such lines again and again would take too long
	}
	quote := ""
	switch tk.Type {
	case token.DoubleQuoteType:
		quote = `"`
	case token.SingleQuoteType:
		quote = `'`
	}
	off, ok := byteOffset(line, n.pos.Col)
	written := quote + text + quote
	if !ok || !strings.HasPrefix(line[off:], written) {
		off = strings.LastIndex(line[:min(off+len(written), len(line))], written)
		if off < 0 || quote != "" {
			return // folded over lines, or with escapes
		}
		n.pos.Col = 1 + utf8.RuneCountInString(line[:off])
	}
	n.skip, n.verbatim = len(quote), len(n.text)
}

// byteOffset is where column col, counted in characters, begins in line.
func byteOffset(line string, col int) (off int, ok bool) {
	for ; col > 1; col-- {
		if off >= len(line) {
			return len(line), false
		}
		_, n := utf8.DecodeRuneInString(line[off:])
		off += n
	}
	return off, true
}
