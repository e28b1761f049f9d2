package configs

import (
	"encoding/json"
	"slices"
)

// schema is one JSON Schema object.
type schema map[string]any

// Schema is the JSON Schema (draft 2020-12) of edge.yaml, made of the tables
// the decoder reads. It accepts every document Parse accepts; what only the
// whole document can tell (names that must exist, addresses given twice) is
// left to Parse.
func Schema() []byte {
	s := document.schema()
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "edge.yaml"
	s["description"] = "The configuration of edge."
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // the tables hold nothing JSON cannot say
	}
	return append(out, '\n')
}

func (t table[T]) schema() schema {
	props, required := schema{}, []string{}
	for _, f := range t.fields {
		s := schema{"description": f.doc}
		for k, v := range f.schema {
			s[k] = v
		}
		props[f.key] = s
		if f.must {
			required = append(required, f.key)
		}
	}
	out := schema{"type": []string{"object", "null"}, "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		out["required"], out["type"] = required, "object"
	}
	return out
}

func anyOf(s ...schema) schema { return schema{"anyOf": s} }

// text with a pattern; a value with a variable in it is checked by Parse.
func pattern(p string) schema {
	return schema{"type": "string", "pattern": "(" + p + `)|\$\{`}
}

// variableOr is s or a string with a variable in it.
func variableOr(s schema) schema {
	return anyOf(s, schema{"type": "string", "pattern": `\$\{`})
}

func enum(names []string) schema {
	return variableOr(schema{"enum": slices.Sorted(slices.Values(names))})
}
