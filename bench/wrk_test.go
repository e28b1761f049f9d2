package main

import (
	"strings"
	"testing"
	"time"

	"github.com/approovia/edge/bench/load"
	"github.com/google/go-cmp/cmp"
)

const wrkWell = `Running 1s test @ http://127.0.0.1:1/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   620.38us    1.04ms  18.97ms   93.10%
    Req/Sec    73.21k     6.94k   85.51k    70.00%
  Latency Distribution
     50%  366.00us
     75%  617.00us
     90%    1.21ms
     99%    5.29ms
  146046 requests in 1.01s, 24.51MB read
Requests/sec: 145120.21
Transfer/sec:     24.36MB
`

const wrkBadly = `Running 3s test @ http://127.0.0.1:1/
  1 threads and 1 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.20s   100.00ms   1.38s    93.10%
    Req/Sec     1.00      0.00     1.00    100.00%
  Latency Distribution
     50%    1.20s 
     75%    1.25s 
     90%    1.30s 
     99%    1.03m 
  7 requests in 3.00s, 1.00KB read
  Socket errors: connect 1, read 20, write 300, timeout 4000
  Non-2xx or 3xx responses: 50000
Requests/sec:      2.33
Transfer/sec:      340.00B
`

func TestWhatWrkPrintsIsRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       load.Result
	}{
		{"well", wrkWell, load.Result{Requests: 146046, Elapsed: 1010 * time.Millisecond, P50: 366 * time.Microsecond, P99: 5290 * time.Microsecond}},
		{"badly", wrkBadly, load.Result{Requests: 7, Failed: 54321, Elapsed: 3 * time.Second, P50: 1200 * time.Millisecond, P99: 61800 * time.Millisecond}},
	} {
		got, err := parseWrk(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestWhatWrkDoesNotPrintIsAnError(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":         "",
		"no latencies":    "  5 requests in 1.00s, 1KB read\n",
		"an unknown unit": strings.Replace(wrkWell, "1.01s,", "1.01fortnights,", 1),
		"a huge number":   strings.Replace(wrkWell, "146046", strings.Repeat("9", 30), 1),
	} {
		if r, err := parseWrk(text); err == nil {
			t.Errorf("%s was read as %+v", name, r)
		}
	}
}

func FuzzParseWrk(f *testing.F) {
	f.Add(wrkWell)
	f.Add(wrkBadly)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseWrk(text)
		if err == nil && (r.Requests < 0 || r.Elapsed < 0 || r.Requests > 0 && (r.P50 <= 0 || r.P99 <= 0)) {
			t.Errorf("%q was read as %+v", text, r)
		}
	})
}
