package main

import (
	"fmt"
	"strings"
)

// goal is something edge must reach in a scenario: a value of its own, or its ratio to another entry,
// of at most limit.
type goal struct {
	scenario string
	what     string
	limit    float64
	value    func(find func(scenario, contender string) (entry, bool)) (float64, bool)
}

// toHAProxy is the median of the rounds' ratios of edge to HAProxy.
func toHAProxy(scenario string, value func(measure) float64) func(func(string, string) (entry, bool)) (float64, bool) {
	return func(find func(string, string) (entry, bool)) (float64, bool) {
		return ratioOf(find, scenario, "edge", scenario, "haproxy", value)
	}
}

func ratioOf(find func(string, string) (entry, bool), s1, c1, s2, c2 string, value func(measure) float64) (float64, bool) {
	a, okA := find(s1, c1)
	b, okB := find(s2, c2)
	if !okA || !okB {
		return 0, false
	}
	mid, _, _, ok := ratio(a, b, value)
	return mid, ok
}

var goals = func() []goal {
	var all []goal
	for _, s := range []string{"keepalive-64", "keepalive-512", "keepalive-2000", "nolog-64", "nolog-512", "nolog-2000"} {
		all = append(all,
			goal{s, "CPU per request, to HAProxy's", 1, toHAProxy(s, measure.cpuPerRequest)},
			goal{s, "p99, to HAProxy's", 1, toHAProxy(s, p99)})
	}
	return append(all,
		goal{"body-1m", "CPU per byte, to HAProxy's", 1, toHAProxy("body-1m", measure.cpuPerRequest)},
		goal{"idle-5000", "KiB per idle connection", 1, func(find func(string, string) (entry, bool)) (float64, bool) {
			e, ok := find("idle-5000", "edge")
			if !ok {
				return 0, false
			}
			return median(of(e, func(m measure) float64 { return m.perConn })) / 1024, true
		}},
		goal{"routes-10000", "CPU per request, to its own with 10 routes", 1.1, func(find func(string, string) (entry, bool)) (float64, bool) {
			return ratioOf(find, "routes-10000", "edge", "routes-10", "edge", measure.cpuPerRequest)
		}})
}()

// renderGoals says of each goal whose scenarios were run whether it is met.
func renderGoals(b *strings.Builder, results []result) {
	find := func(scenario, contender string) (entry, bool) {
		for _, r := range results {
			for _, e := range r.entries {
				if r.scenario.name == scenario && e.name == contender && len(e.rounds) > 0 {
					return e, true
				}
			}
		}
		return entry{}, false
	}
	rows := ""
	for _, g := range goals {
		value, ok := g.value(find)
		if !ok {
			continue
		}
		verdict := "met"
		if value > g.limit {
			verdict = "**missed**"
		}
		rows += fmt.Sprintf("| %s | %s | %.2f | %.2f | %s |\n", g.scenario, g.what, g.limit, value, verdict)
	}
	if rows != "" {
		b.WriteString("\n## Goals\n\n| scenario | goal for edge | at most | measured | |\n|---|---|---|---|---|\n" + rows)
	}
}
