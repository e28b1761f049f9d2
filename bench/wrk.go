package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/approovia/edge/bench/load"
)

// wrk runs the load generator wrk against the URL for d, which it takes in whole seconds. script may be
// empty or the name of a Lua file that chooses the requests.
func wrk(ctx context.Context, url string, conns int, d time.Duration, closing bool, script string) (load.Result, error) {
	args := []string{
		"--threads", strconv.Itoa(min(conns, 2)),
		"--connections", strconv.Itoa(conns),
		"--duration", fmt.Sprintf("%ds", int(d.Seconds())),
		"--timeout", "10s",
		"--latency",
	}
	if closing {
		args = append(args, "--header", "Connection: close")
	}
	if script != "" {
		args = append(args, "--script", script)
	}
	out, err := exec.CommandContext(ctx, "wrk", append(args, url)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s%s", err, out, exit.Stderr)
		}
		return load.Result{}, fmt.Errorf("run wrk: %w", err)
	}
	return parseWrk(string(out))
}

var (
	wrkTotal    = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+[a-z]+),`)
	wrkQuantile = regexp.MustCompile(`(?m)^\s*(50|99)%\s+([\d.]+[a-z]+)\s*$`)
	wrkSocket   = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus   = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

// parseWrk reads what wrk 4 prints with --latency. Socket errors and answers other than 2xx and 3xx
// count as failed.
func parseWrk(text string) (load.Result, error) {
	var r load.Result
	total := wrkTotal.FindStringSubmatch(text)
	if total == nil {
		return r, fmt.Errorf("read wrk's answer: no number of requests in %q", text)
	}
	var err error
	if r.Requests, err = strconv.Atoi(total[1]); err != nil {
		return r, fmt.Errorf("read wrk's answer: %w", err)
	}
	if r.Elapsed, err = wrkDuration(total[2]); err != nil {
		return r, fmt.Errorf("read wrk's answer: %w", err)
	}
	for _, q := range wrkQuantile.FindAllStringSubmatch(text, -1) {
		d, err := wrkDuration(q[2])
		if err != nil {
			return r, fmt.Errorf("read wrk's answer: %w", err)
		}
		if q[1] == "50" {
			r.P50 = d
		} else {
			r.P99 = d
		}
	}
	if r.Requests > 0 && (r.P50 == 0 || r.P99 == 0) {
		return r, fmt.Errorf("read wrk's answer: no latency distribution in %q", text)
	}
	for _, form := range []*regexp.Regexp{wrkSocket, wrkStatus} {
		counts := form.FindStringSubmatch(text)
		for _, count := range counts[min(1, len(counts)):] {
			n, err := strconv.Atoi(count)
			if err != nil {
				return r, fmt.Errorf("read wrk's answer: %w", err)
			}
			r.Failed += n
		}
	}
	return r, nil
}

// wrkDuration reads a time as wrk writes it: 12.34us, 1.02ms, 3.00s, 1.10m, 1.00h.
func wrkDuration(text string) (time.Duration, error) {
	if strings.Trim(text, "0123456789.umsh") != "" {
		return 0, fmt.Errorf("time %q: unknown unit", text)
	}
	return time.ParseDuration(text)
}
