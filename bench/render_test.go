package main

import (
	"strings"
	"testing"
	"time"

	"github.com/approovia/edge/bench/load"
)

// us makes a round of 1000 requests at so many microseconds of CPU each.
func us(cost int, p99 time.Duration) measure {
	return measure{
		Result:   load.Result{Requests: 1000, P50: p99 / 2, P99: p99},
		window:   time.Second,
		requests: 1000,
		cpu:      usage{user: time.Duration(cost) * 400 * time.Microsecond, system: time.Duration(cost) * 600 * time.Microsecond},
		rss:      8 << 20,
	}
}

func TestARatioIsTheMedianOfTheRoundsRatios(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	// The machine was slow in the second round; the medians' ratio would be 15/20.
	a := entry{"edge", []measure{us(10, ms), us(45, ms), us(15, ms)}}
	b := entry{"haproxy", []measure{us(20, ms), us(50, ms), us(15, ms)}}
	mid, least, greatest, ok := ratio(a, b, measure.cpuPerRequest)
	if !ok || mid != 0.9 || least != 0.5 || greatest != 1 {
		t.Errorf("got %v (%v-%v) %v, want 0.9 (0.5-1) true", mid, least, greatest, ok)
	}
	if _, _, _, ok := ratio(a, entry{"haproxy", []measure{{}}}, measure.cpuPerRequest); ok {
		t.Error("there is a ratio to nothing")
	}
}

func TestTheMedianOfAnEvenNumberIsOneOfItsValues(t *testing.T) {
	t.Parallel()
	for want, values := range map[int][]int{1: {1}, 2: {3, 2}, 3: {9, 3, 1}, 4: {7, 4, 1, 9}} {
		if got := median(values); got != want {
			t.Errorf("median of %v: %d, want %d", values, got, want)
		}
	}
}

func TestTheResultsSayWhatWasMeasuredAndWhichGoalsAreMet(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	failing := us(9, 2*ms)
	failing.Failed, failing.unlogged = 7, 3
	results := []result{
		{scenario{name: "keepalive-64", about: "about it"}, []entry{
			{"haproxy", []measure{us(10, ms), us(10, ms), us(10, ms)}},
			{"edge", []measure{us(9, 2*ms), us(8, 2*ms), failing}},
		}},
		{scenario{name: "idle-5000", about: "memory", idle: true}, []entry{
			{"haproxy", []measure{{perConn: 1024}}},
			{"edge", []measure{{perConn: 512}}},
		}},
	}
	text := render(options{rounds: 3, duration: 3 * time.Second, warmup: time.Second}, []fact{{"cores", "2"}}, results)
	for _, want := range []string{
		"| cores | 2 |",
		"| keepalive-64 | CPU per request, to HAProxy's | 1.00 | 0.90 | met |",
		"| keepalive-64 | p99, to HAProxy's | 1.00 | 2.00 | **missed** |",
		"| idle-5000 | KiB per idle connection | 1.00 | 0.50 | met |",
		"### keepalive-64\nAbout it.",
		"| haproxy | 10.00 | 4.00 | 6.00 | 1.00 | 1000 | 500µs | 1ms | 1.00 | 8.0 | 0 | 0 |",
		"| edge | 9.00 | 3.60 | 5.40 | 0.90 (0.80-0.90) | 1000 | 1ms | 2ms | 2.00 (2.00-2.00) | 8.0 | 7 | 3 |",
		"| edge | 0.50 | 0.50 | 0.0 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "routes-10000") {
		t.Error("a goal of a scenario that was not run is in the results")
	}
}

func TestEveryGoalNamesAScenario(t *testing.T) {
	t.Parallel()
	for _, g := range goals {
		found := false
		for _, s := range scenarios {
			found = found || s.name == g.scenario
		}
		if !found {
			t.Errorf("a goal for %s, which is no scenario", g.scenario)
		}
	}
}
