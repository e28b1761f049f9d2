package configs

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func itoa(i int) string { return strconv.Itoa(i) }

func TestTheSchemaAcceptsWhatParseAcceptsAndRefusesSlips(t *testing.T) {
	t.Parallel()
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		src  string
		good bool
	}{
		{string(Example), true},
		{site, true},
		{site + "global: {log: {access: off}}\ninclude: [a.yaml]", true},
		{site + "global: {loops: '${LOOPS:-2}'}\ntimeouts: {client: 1m30s}", true},
		{site + "global: {lops: 2}", false},
		{site + "global: {loops: -1}", false},
		{site + "timeouts: {client: 5}", false},
		{site + "mesh: {}", false},
		{strings.Replace(site, "servers", "balance: leastcon, servers", 1), false},
	} {
		var v any
		if err := yaml.Unmarshal([]byte(c.src), &v); err != nil {
			t.Fatal(err)
		}
		if err := check(s, v, "$"); (err == nil) != c.good {
			t.Errorf("%s\n%v, good is %t", c.src, err, c.good)
		}
	}
}

func TestEveryKeyHasADescription(t *testing.T) {
	t.Parallel()
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	count := 0
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			props, _ := v["properties"].(map[string]any)
			for name, p := range props {
				count++
				if d, _ := p.(map[string]any)["description"].(string); len(d) < 5 || !strings.HasSuffix(d, ".") {
					t.Errorf("%s.%s: description %q", at, name, d)
				}
			}
			for k, e := range v {
				walk(at+"."+k, e)
			}
		case []any:
			for _, e := range v {
				walk(at, e)
			}
		}
	}
	walk("$", s)
	if count < 70 {
		t.Errorf("only %d keys", count)
	}
}

// check is as much of JSON Schema as Schema uses.
func check(s map[string]any, v any, at string) error {
	if all, ok := s["anyOf"].([]any); ok {
		var errs []string
		for _, one := range all {
			err := check(one.(map[string]any), v, at)
			if err == nil {
				return nil
			}
			errs = append(errs, err.Error())
		}
		return fmt.Errorf("%s: none of: %s", at, strings.Join(errs, "; "))
	}
	if c, ok := s["const"]; ok && c != v {
		return fmt.Errorf("%s: %v is not %v", at, v, c)
	}
	if e, ok := s["enum"].([]any); ok && !slices.Contains(e, v) {
		return fmt.Errorf("%s: %v is none of %v", at, v, e)
	}
	var is []string
	switch v := v.(type) {
	case nil:
		is = []string{"null"}
	case bool:
		is = []string{"boolean"}
	case string:
		is = []string{"string"}
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Errorf("%s: %q does not match %s", at, v, p)
		}
	case uint64, int64, float64:
		is = []string{"integer", "number"}
		f, err := strconv.ParseFloat(fmt.Sprint(v), 64)
		if err != nil || f != math.Trunc(f) {
			is = []string{"number"}
		}
		if low, ok := s["minimum"].(float64); ok && (f < low || f > s["maximum"].(float64)) {
			return fmt.Errorf("%s: %v is out of range", at, v)
		}
	case []any:
		is = []string{"array"}
		for i, e := range v {
			items, ok := s["items"].(map[string]any)
			if !ok {
				break
			}
			if err := check(items, e, at+"["+itoa(i)+"]"); err != nil {
				return err
			}
		}
	case map[string]any:
		is = []string{"object"}
		props, _ := s["properties"].(map[string]any)
		for k, e := range v {
			p, ok := props[k].(map[string]any)
			if !ok {
				p, ok = s["additionalProperties"].(map[string]any)
			}
			if !ok {
				return fmt.Errorf("%s: no key %s", at, k)
			}
			if err := check(p, e, at+"."+k); err != nil {
				return err
			}
		}
		required, _ := s["required"].([]any)
		for _, k := range required {
			if _, ok := v[k.(string)]; !ok {
				return fmt.Errorf("%s: %s is missing", at, k)
			}
		}
	default:
		return fmt.Errorf("%s: a %T", at, v)
	}
	want := s["type"]
	if list, ok := want.([]any); ok {
		if !slices.ContainsFunc(list, func(w any) bool { return slices.Contains(is, w.(string)) }) {
			return fmt.Errorf("%s: %v is not %v", at, v, list)
		}
	} else if w, ok := want.(string); ok && !slices.Contains(is, w) {
		return fmt.Errorf("%s: %v is not %s", at, v, w)
	}
	return nil
}
