package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// result is all that one scenario gave.
type result struct {
	scenario scenario
	entries  []entry // the first is what the ratios are to
}

// entry is one contender's rounds.
type entry struct {
	name   string
	rounds []measure
}

// line is one run in short, for whoever watches.
func (m measure) line(s scenario) string {
	if s.idle {
		return fmt.Sprintf("%.2f KiB per connection", m.perConn/1024)
	}
	return fmt.Sprintf("%7.2f us/request (user %.2f, system %.2f)  %6.0f requests/s  p50 %s  p99 %s  %.1f MiB  %d failed, %d unlogged",
		m.cpuPerRequest(), per(m.cpu.user, m.requests), per(m.cpu.system, m.requests),
		m.rate(), short(m.P50), short(m.P99), mib(m.rss), m.Failed, m.unlogged)
}

func (m measure) rate() float64 { return float64(m.requests) / m.window.Seconds() }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// short writes a latency with three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// median of the values of all rounds; the lower of the middle two if they are even in number.
func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// of takes a value from each round.
func of[T any](e entry, value func(measure) T) []T {
	var all []T
	for _, m := range e.rounds {
		all = append(all, value(m))
	}
	return all
}

// ratio is the median of what the rounds' ratios of a to b are, with the least and the greatest. A
// value of b that is not positive makes none: ok says whether there is one.
func ratio(a, b entry, value func(measure) float64) (mid, least, greatest float64, ok bool) {
	var all []float64
	for i := range min(len(a.rounds), len(b.rounds)) {
		if base := value(b.rounds[i]); base > 0 {
			all = append(all, value(a.rounds[i])/base)
		}
	}
	if len(all) == 0 {
		return 0, 0, 0, false
	}
	return median(all), slices.Min(all), slices.Max(all), true
}

// cost is what a scenario is about: processor time per request, or memory per idle connection.
func cost(s scenario) func(measure) float64 {
	if s.idle {
		return func(m measure) float64 { return m.perConn }
	}
	return measure.cpuPerRequest
}

func p99(m measure) float64 { return float64(m.P99) }

func ratioText(a, b entry, value func(measure) float64) string {
	mid, least, greatest, ok := ratio(a, b, value)
	if !ok {
		return "-"
	}
	if len(a.rounds) == 1 || a.name == b.name {
		return fmt.Sprintf("%.2f", mid)
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", mid, least, greatest)
}

// render writes the results as Markdown.
func render(o options, facts []fact, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# edge beside the others\n\n")
	fmt.Fprintf(&b, "Written by `make bench`: %d rounds, in each of which every proxy has its turn.\n", o.rounds)
	fmt.Fprintf(&b, "CPU and requests/s are of the %s after the load's first %s; latencies are of the whole load, its connecting included.\n",
		o.duration, o.warmup)
	b.WriteString(`Numbers are medians of the rounds; a ratio is the median of the rounds' ratios (least-greatest), below 1 being
better. CPU is the processor time of all the proxy's processes, user and system, divided by the requests that reached
the origin in the same time.
Load, origin and proxy share one machine, so compare within a table, and requests per second with care.

The job, the same for all: four ACLs, three rules on them, X-Forwarded-For, an access log to a file, statistics, health
checks, a route by path to a backend of two servers, connections to servers kept; two threads, processes or loops each.
HAProxy logs to standard output, which is a file, keeps its default ` + "`http-reuse safe`" + ` unless said otherwise, and may
use 80 % of its descriptors (default: 20 %) before it stops keeping server connections; nginx keeps as many idle server
connections as there are clients; std is Go's httputil.ReverseProxy. Failed are requests and connections, unlogged are
answered requests without a line in the access log, both over all rounds (HAProxy drops a line rather than let one
thread wait for another at the file).

`)
	b.WriteString("| measured on | |\n|---|---|\n")
	for _, f := range facts {
		fmt.Fprintf(&b, "| %s | %s |\n", f.what, f.value)
	}
	renderGoals(&b, results)
	b.WriteString("\n## Scenarios\n")
	for _, r := range results {
		renderScenario(&b, r)
	}
	return b.String()
}

func renderScenario(b *strings.Builder, r result) {
	fmt.Fprintf(b, "\n### %s\n%s.\n\n", r.scenario.name, strings.ToUpper(r.scenario.about[:1])+r.scenario.about[1:])
	base := r.entries[0]
	if r.scenario.idle {
		fmt.Fprintf(b, "| | KiB per connection | ratio to %s | MiB in all |\n|---|---|---|---|\n", base.name)
		for _, e := range r.entries {
			fmt.Fprintf(b, "| %s | %.2f | %s | %.1f |\n", e.name,
				median(of(e, cost(r.scenario)))/1024, ratioText(e, base, cost(r.scenario)),
				mib(median(of(e, func(m measure) int64 { return m.rss }))))
		}
		return
	}
	fmt.Fprintf(b, "| | CPU us/request | user | system | ratio to %s | requests/s | p50 | p99 | p99 ratio | RSS MiB | failed | unlogged |\n", base.name)
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, e := range r.entries {
		failed, unlogged := 0, 0
		for _, m := range e.rounds {
			failed += m.Failed
			unlogged += m.unlogged
		}
		fmt.Fprintf(b, "| %s | %.2f | %.2f | %.2f | %s | %.0f | %s | %s | %s | %.1f | %d | %d |\n", e.name,
			median(of(e, measure.cpuPerRequest)),
			median(of(e, func(m measure) float64 { return per(m.cpu.user, m.requests) })),
			median(of(e, func(m measure) float64 { return per(m.cpu.system, m.requests) })),
			ratioText(e, base, measure.cpuPerRequest),
			median(of(e, measure.rate)),
			short(median(of(e, func(m measure) time.Duration { return m.P50 }))),
			short(median(of(e, func(m measure) time.Duration { return m.P99 }))),
			ratioText(e, base, p99),
			mib(median(of(e, func(m measure) int64 { return m.rss }))),
			failed, unlogged)
	}
}
