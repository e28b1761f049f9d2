package configs

import (
	"fmt"
	"slices"
	"strings"
)

// unknown is the message for a name that is not one of known: what there is,
// and which of it was probably meant.
func unknown(noun, name string, known []string) string {
	if len(known) == 0 {
		return fmt.Sprintf("unknown %s %q (there is none)", noun, name)
	}
	known = slices.Sorted(slices.Values(known))
	list := known
	if len(list) > 24 {
		list = append(slices.Clone(list[:24]), "...")
	}
	msg := fmt.Sprintf("unknown %s %q (known: %s)", noun, name, strings.Join(list, ", "))
	if near := nearest(name, known); near != "" {
		msg += fmt.Sprintf("; did you mean %q?", near)
	}
	return msg
}

// nearest is the known name that name is most likely a slip of, or "".
// Upper case and a dash for an underscore cost nothing.
func nearest(name string, known []string) string {
	fold := strings.NewReplacer("-", "_", " ", "_")
	name = fold.Replace(strings.ToLower(name))
	if len(name) > 64 {
		return ""
	}
	best, bestCost := "", 1+min(3, (len(name)+1)/3)
	for _, k := range known {
		if len(k) > 2 && len(name) > 2 && bestCost > 1 && (strings.HasPrefix(name, fold.Replace(k)) || strings.HasPrefix(k, name)) {
			best, bestCost = k, 1 // a longer or shorter word for it
		}
		if n := len(k) - len(name); n >= bestCost || -n >= bestCost {
			continue
		}
		if c := slips(name, fold.Replace(strings.ToLower(k))); c < bestCost {
			best, bestCost = k, c
		}
	}
	return best
}

// slips counts the letters to insert, drop, change or swap with a neighbour
// to make b of a (optimal string alignment distance).
func slips(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := above[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(above[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
