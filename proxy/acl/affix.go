package acl

import (
	"slices"
	"strings"

	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/sample"
)

// affixes finds out whether a value begins with one of the patterns, or ends with one: by one binary search, whatever their number. That
// works because no pattern is kept that has another as its beginning (the shorter one matches whenever the longer does): between
// a pattern and a value that begins with it no other pattern can sort.
type affixes struct {
	sorted []string
	fold   bool
	back   bool // compare from the end
}

func compileAffixes(p []pattern, fold, back bool) *affixes {
	m := &affixes{fold: fold, back: back}
	list := texts(p, fold)
	slices.SortFunc(list, func(a, b string) int {
		if c := compare(a, b, fold, back); c != 0 {
			return -c
		}
		return len(a) - len(b) // one begins with the other
	})
	for _, s := range list {
		if n := len(m.sorted); n == 0 || compare(m.sorted[n-1], s, fold, back) != 0 {
			m.sorted = append(m.sorted, s)
		}
	}
	return m
}

// compare says where v sorts against p: 0 if v begins with p, or is itself the beginning of p; -1 before, 1 behind. p is in lower case
// with fold; back reads both from their ends.
func compare[V ~string | ~[]byte](p string, v V, fold, back bool) int {
	for i := range min(len(p), len(v)) {
		a, b := p[i], byte(0)
		if back {
			a, b = p[len(p)-1-i], v[len(v)-1-i]
		} else {
			b = v[i]
		}
		if fold {
			b = lower(b)
		}
		if a != b {
			if b < a {
				return -1
			}
			return 1
		}
	}
	return 0
}

func (m *affixes) match(v sample.Value, _ *message.Arena) bool {
	lo, hi := 0, len(m.sorted)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		p := m.sorted[mid]
		switch c := compare(p, v.Bytes, m.fold, m.back); {
		case c == 0 && len(p) <= len(v.Bytes):
			return true
		case c <= 0: // before, or too short for this pattern
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return false
}

// between finds patterns that stand between delimiters.
type between struct {
	list   []string
	delims string
	fold   bool
}

func compileBetween(p []pattern, fold bool, delims string) (matcher, error) {
	m := &between{delims: delims, fold: fold}
	for i, s := range texts(p, fold) {
		s = strings.Trim(s, delims)
		if s == "" {
			return nil, p[i].errorf("pattern %q consists of delimiters only (%s) and never matches", p[i].Text, delims)
		}
		m.list = append(m.list, s)
	}
	return m, nil
}

func (m *between) match(v sample.Value, _ *message.Arena) bool {
	b := v.Bytes
	fresh := true // a pattern may begin here
	for i := range b {
		if strings.IndexByte(m.delims, b[i]) >= 0 {
			fresh = true
			continue
		}
		if !fresh {
			continue
		}
		fresh = false
		for _, p := range m.list {
			if rest := b[i:]; len(p) <= len(rest) && m.equal(rest[:len(p)], p) &&
				(len(p) == len(rest) || strings.IndexByte(m.delims, rest[len(p)]) >= 0) {
				return true
			}
		}
	}
	return false
}

func (m *between) equal(b []byte, p string) bool {
	return string(b) == p || m.fold && message.EqualFold(b, p)
}
