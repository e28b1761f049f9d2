package configs

import (
	"fmt"
	"strings"
)

// decoder carries what decoding one document needs. It goes from file to file.
type decoder struct {
	opt     Options
	cfg     *Config
	dir     string            // relative paths of the file being decoded start here
	where   []string          // the sections and the key that lead to the value being decoded
	defined map[string]Pos    // what may be there once, over all files
	sources map[string][]byte // every file read, by full path
	include []Text            // the patterns in the file being decoded
	errs    Errors
}

// fail reports an error of the value being decoded.
func (d *decoder) fail(at Pos, format string, args ...any) { d.failErr(at, nil, format, args...) }

func (d *decoder) failErr(at Pos, cause error, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if len(d.where) > 0 {
		msg = strings.Join(d.where, ": ") + ": " + msg
	}
	d.errs = append(d.errs, &Error{Pos: at, Msg: msg, Err: cause})
}

// in runs f with name at the end of where.
func (d *decoder) in(name string, f func()) {
	d.where = append(d.where, name)
	f()
	d.where = d.where[:len(d.where)-1]
}

// above runs f with the end of where left out.
func (d *decoder) above(f func()) {
	last := d.where[len(d.where)-1]
	d.where = d.where[:len(d.where)-1]
	f()
	d.where = append(d.where, last)
}

// want reports and answers false unless n is of kind k.
func (d *decoder) want(n *node, k kind) bool {
	switch n.kind {
	case k:
		return true
	case broken:
	case null:
		d.fail(n.pos, "no value is given; %s is wanted", k)
	case mapping:
		d.fail(n.pos, "%s is wanted here, not a mapping (a value with a colon in it may need quotes)", k)
	default:
		d.fail(n.pos, "%s is wanted here, not %s", k, n.kind)
	}
	return false
}

// A shape says what may stand at one place: how it is decoded and what the
// JSON Schema says of it. decode answers false if it reported an error.
type shape[V any] struct {
	schema schema
	decode func(d *decoder, n *node) (V, bool)
}

// A field is one key of a section: a row of a table in keys.go.
type field[T any] struct {
	key, doc string
	must     bool
	schema   schema
	decode   func(d *decoder, n *node, into *T)
}

// A table is a section: its keys are the one list that decoder, hints and
// schema read.
type table[T any] struct {
	name   string // the section's name in later
	fields []field[T]
	check  func(d *decoder, at Pos, t *T) // what no single key can tell; may be nil
}

// key is a row whose value goes where ref points.
func key[T, V any](name, doc string, s shape[V], ref func(*T) *V) field[T] {
	return field[T]{key: name, doc: doc, schema: s.schema, decode: func(d *decoder, n *node, into *T) {
		d.cfg.places[ref(into)] = n.pos // wrong is not missing
		if v, ok := s.decode(d, n); ok {
			*ref(into) = v
		}
	}}
}

// put is a row whose value goes to more than one place.
func put[T, V any](name, doc string, s shape[V], set func(*T, V)) field[T] {
	return field[T]{key: name, doc: doc, schema: s.schema, decode: func(d *decoder, n *node, into *T) {
		if v, ok := s.decode(d, n); ok {
			set(into, v)
		}
	}}
}

// must marks a key that may not be left out.
func must[T any](f field[T]) field[T] {
	f.must = true
	return f
}

// section is a row whose value is a table of its own, decoded in place: what
// is there already is the default.
func section[T, U any](name, doc string, t table[U], ref func(*T) *U) field[T] {
	return field[T]{key: name, doc: doc, schema: t.schema(), decode: func(d *decoder, n *node, into *T) {
		t.into(d, n, ref(into))
	}}
}

// pick is the table with only the named keys.
func (t table[T]) pick(keys ...string) table[T] {
	out := t
	out.fields = nil
	for _, k := range keys {
		for _, f := range t.fields {
			if f.key == k {
				out.fields = append(out.fields, f)
			}
		}
	}
	return out
}

func (t table[T]) keys() []string {
	names := make([]string, len(t.fields))
	for i, f := range t.fields {
		names[i] = f.key
	}
	return names
}

// into decodes a mapping; an empty one is fine unless a key must be there.
func (t table[T]) into(d *decoder, n *node, into *T) bool {
	if n.kind != null && !d.want(n, mapping) {
		return false
	}
	before := len(d.errs)
	seen, strange := make(map[string]Pos, len(n.pairs)), false
	for _, p := range n.pairs {
		name := p.key.text
		if first, twice := seen[name]; twice {
			d.fail(p.key.pos, "key %q is given twice, first at %s", name, first)
			continue
		}
		seen[name] = p.key.pos
		f := t.find(name)
		if f == nil {
			strange = true
			if msg := comesLater(t.name, "", name); msg != "" {
				d.fail(p.key.pos, "%s", msg)
			} else {
				d.fail(p.key.pos, "%s", unknown("key", name, t.keys()))
			}
			continue
		}
		if p.value.kind != broken {
			d.in(name, func() { f.decode(d, p.value, into) })
		}
	}
	for _, f := range t.fields {
		// Beside a strange key a missing one is most likely that, misspelt.
		if _, given := seen[f.key]; f.must && !given && !strange {
			d.fail(n.pos, "the key %q is missing: %s", f.key, firstSentence(f.doc))
		}
	}
	if t.check != nil && len(d.errs) == before {
		t.check(d, n.pos, into)
	}
	return len(d.errs) == before
}

func (t table[T]) find(name string) *field[T] {
	for i := range t.fields {
		if t.fields[i].key == name {
			return &t.fields[i]
		}
	}
	return nil
}

func firstSentence(doc string) string {
	if i := strings.Index(doc, ". "); i >= 0 {
		doc = doc[:i]
	}
	return strings.TrimSuffix(doc, ".")
}

// object is a table decoded into what fresh makes, defaults set.
func object[T any](t table[T], fresh func(at Pos) *T) shape[*T] {
	return shape[*T]{t.schema(), func(d *decoder, n *node) (*T, bool) {
		v := fresh(n.pos)
		return v, t.into(d, n, v)
	}}
}

// halfRight keeps what was decoded beside an error, so that the rest of it is
// checked as well.
func halfRight[V any](s shape[V]) shape[V] {
	return shape[V]{s.schema, func(d *decoder, n *node) (V, bool) {
		v, _ := s.decode(d, n)
		return v, true
	}}
}

// orText is an object that may be written as a single value, which goes where
// ref points.
func orText[T, V any](o shape[*T], s shape[V], fresh func(at Pos) *T, ref func(*T) *V) shape[*T] {
	return shape[*T]{anyOf(s.schema, o.schema), func(d *decoder, n *node) (*T, bool) {
		if n.kind != scalar {
			return o.decode(d, n)
		}
		out := fresh(n.pos)
		v, ok := s.decode(d, n)
		*ref(out) = v
		d.cfg.places[ref(out)] = n.pos
		return out, ok
	}}
}

// pointer is s for a field that is nil when the key is left out.
func pointer[V any](s shape[V]) shape[*V] {
	return shape[*V]{s.schema, func(d *decoder, n *node) (*V, bool) {
		v, ok := s.decode(d, n)
		return &v, ok
	}}
}

// listOf is a list; a list of one may be written without its dash.
func listOf[V any](s shape[V]) shape[[]V] {
	many := schema{"type": []string{"array", "null"}, "items": s.schema}
	return shape[[]V]{anyOf(s.schema, many), func(d *decoder, n *node) ([]V, bool) {
		items := n.items
		switch n.kind {
		case broken:
			return nil, false
		case scalar, mapping:
			items = []*node{n}
		}
		out, at, ok := make([]V, 0, len(items)), make([]Pos, 0, len(items)), true
		for _, item := range items {
			if item.kind == broken {
				ok = false
				continue
			}
			v, good := s.decode(d, item)
			if !good {
				ok = false
				continue
			}
			out, at = append(out, v), append(at, item.pos)
		}
		for i := range out {
			d.cfg.places[&out[i]] = at[i]
		}
		return out, ok || len(out) > 0
	}}
}

// named is a row whose value is a mapping from names the operator chooses to
// elements, kept in file order. noun names one of them in messages.
func named[T, E any](name, doc, noun string, elem shape[*E], set func(e *E, name string, at Pos), ref func(*T) *[]*E) field[T] {
	sc := schema{"type": "object", "additionalProperties": elem.schema,
		"propertyNames": schema{"pattern": plainName.String()}}
	return field[T]{key: name, doc: doc, schema: sc, decode: func(d *decoder, n *node, into *T) {
		if n.kind != null && !d.want(n, mapping) {
			d.cfg.places[ref(into)] = n.pos // wrong is not missing
			return
		}
		d.above(func() {
			scope := strings.Join(d.where, ": ")
			for _, p := range n.pairs {
				id, at := p.key.text, p.key.pos
				if !plainName.MatchString(id) {
					d.fail(at, "%s %q: a name has letters, digits, and . _ : - only, at most 64 of them", noun, id)
					continue
				}
				once := scope + "\x00" + noun + "\x00" + id
				if first, twice := d.defined[once]; twice {
					d.fail(at, "%s %q is defined twice, first at %s", noun, id, first)
					continue
				}
				d.defined[once] = at
				d.in(fmt.Sprintf("%s %q", noun, id), func() {
					if p.value.kind == broken {
						return
					}
					// What is half right is kept, so that its name is known to the rest.
					e, _ := elem.decode(d, p.value)
					set(e, id, at)
					*ref(into) = append(*ref(into), e)
				})
			}
		})
	}}
}
