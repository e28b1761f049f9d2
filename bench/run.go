package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/approovia/edge/bench/load"
)

// measure is what one run of one contender gave.
type measure struct {
	load.Result // of the whole run: what failed, and the latencies

	// The window is the part of the load after the warm-up: how long it was, how many requests reached
	// the origin in it, and what all the contender's processes used of the processors.
	window   time.Duration
	requests int
	cpu      usage

	rss      int64   // bytes, at the end
	unlogged int     // of load.Result's requests, those that are missing in the access log
	perConn  float64 // idle connections only: the growth of rss by connections, over their number
}

// cpuPerRequest is in microseconds.
func (m measure) cpuPerRequest() float64 { return per(m.cpu.total(), m.requests) }

func per(d time.Duration, n int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(max(n, 1))
}

// runner is what all runs share.
type runner struct {
	dir      string
	bin      binaries
	files    origin // answers GETs
	sink     origin // answers POSTs
	duration time.Duration
	warmup   time.Duration // none if 0
}

// origin is the one that the scenario loads.
func (r runner) origin(s scenario) origin {
	if s.upload > 0 {
		return r.sink
	}
	return r.files
}

// run starts the contender, sees that it does its job, measures it, and stops it.
func (r runner) run(ctx context.Context, s scenario, c contender) (m measure, err error) {
	dir, err := os.MkdirTemp(r.dir, c.name+"-")
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	j := job{dir: dir, servers: r.origin(s).servers(), logs: !s.nolog, routes: s.routes, conns: s.conns, reuse: s.reuse, splice: s.splice}
	if j.reuse == "" {
		j.reuse = "safe"
	}
	if c.name == "edge-mesh" {
		way, peer, err := dig(ctx, r.bin.meshpeer, dir, j.servers)
		if err != nil {
			return measure{}, err
		}
		defer func() { err = errors.Join(err, peer.stop()) }()
		j.tunnel, j.servers = way, way.servers()
	}
	p, err := withPorts(2, func(addrs []string) (*process, error) {
		j.addr, j.stats = addrs[0], addrs[1]
		return launch(ctx, dir, c.program(j, r.bin), j.addr)
	})
	if err != nil {
		return m, err
	}
	m, err = r.measure(ctx, s, j, p)
	if err == nil && j.logs {
		m.unlogged, err = unlogged(ctx, j.logFile(), m.Requests)
	}
	return m, errors.Join(err, p.stop())
}

// unlogged is how many of the requests have no line in the log, once the log has had 3 s to come after.
func unlogged(ctx context.Context, name string, requests int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		lines, err := countLines(name)
		if err != nil || lines >= requests {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return requests - lines, nil
		case <-tick.C:
		}
	}
}

func (r runner) measure(ctx context.Context, s scenario, j job, p *process) (measure, error) {
	if err := verify(ctx, j); err != nil {
		return measure{}, fmt.Errorf("it does not do its job: %w", err)
	}
	if s.idle {
		return r.idle(ctx, s, j, p)
	}
	return r.loaded(ctx, s, j, p)
}

func countLines(name string) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("count the log's lines: %w", err)
	}
	defer f.Close()
	lines, block := 0, make([]byte, 64<<10)
	for {
		n, err := f.Read(block)
		lines += bytes.Count(block[:n], []byte{'\n'})
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return 0, fmt.Errorf("count the log's lines: %w", err)
		}
	}
}

// loaded measures a contender under load.
func (r runner) loaded(ctx context.Context, s scenario, j job, p *process) (m measure, err error) {
	script := ""
	if s.routes > 0 {
		script = j.file("paths.lua")
		if err := os.WriteFile(script, []byte(luaPaths(s.paths())), 0o600); err != nil {
			return m, err
		}
	}
	pids, err := family(p.cmd.Process.Pid)
	if err != nil {
		return m, err
	}
	done := make(chan error, 1)
	go func() {
		var err error
		if s.upload > 0 {
			m.Result, err = load.Upload(ctx, j.addr, pathUpload, s.conns, s.upload, r.warmup+r.duration)
		} else {
			m.Result, err = wrk(ctx, "http://"+j.addr+s.paths()[0], s.conns, r.warmup+r.duration, s.close, script)
		}
		done <- err
	}()
	// The window begins when the connections are open and the pools filled, and ends with the load.
	var early error
	select {
	case early = <-done:
		return m, fmt.Errorf("the load ended before its time: %w", early)
	case <-time.After(r.warmup):
	}
	before, early := r.sample(ctx, s, pids)
	if err := errors.Join(early, <-done); err != nil {
		return m, err
	}
	after, err := r.sample(ctx, s, pids)
	if err != nil {
		return m, err
	}
	m.window, m.requests, m.cpu = after.at.Sub(before.at), after.requests-before.requests, after.cpu.minus(before.cpu)
	if m.requests <= 0 || m.Requests == 0 {
		return m, fmt.Errorf("no request was answered, %d failed", m.Failed)
	}
	m.rss, err = rss(pids)
	return m, err
}

// sample is one reading of what grows.
type sample struct {
	at       time.Time
	requests int
	cpu      usage
}

func (r runner) sample(ctx context.Context, s scenario, pids []int) (sample, error) {
	n, err := r.origin(s).requests(ctx)
	if err != nil {
		return sample{}, err
	}
	used, err := cpu(pids)
	return sample{at: time.Now(), requests: n, cpu: used}, err
}

// idle measures what an idle connection costs in memory.
func (r runner) idle(ctx context.Context, s scenario, j job, p *process) (m measure, err error) {
	pids, err := family(p.cmd.Process.Pid)
	if err != nil {
		return m, err
	}
	// A few connections first, so that what the first ones touch for all is not counted.
	release, err := load.Hold(ctx, j.addr, s.paths()[0], 200)
	if err != nil {
		return m, err
	}
	release()
	before, err := settledRSS(ctx, pids)
	if err != nil {
		return m, err
	}
	start := time.Now()
	release, err = load.Hold(ctx, j.addr, s.paths()[0], s.conns)
	if err != nil {
		return m, err
	}
	defer release()
	m.Requests, m.Elapsed = s.conns, time.Since(start)
	if m.rss, err = settledRSS(ctx, pids); err != nil {
		return m, err
	}
	m.perConn = float64(m.rss-before) / float64(s.conns)
	return m, nil
}

// settledRSS waits until the processes give no more memory back (for 3 s, at most 20 s) and returns
// what is left.
func settledRSS(ctx context.Context, pids []int) (int64, error) {
	const settled, most = 3 * time.Second, 20 * time.Second
	least, err := rss(pids)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	since := start
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < settled && time.Since(start) < most {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
		now, err := rss(pids)
		if err != nil {
			return 0, err
		}
		if now < least-least/200 { // by half a percent: pages come and go
			least, since = now, time.Now()
		}
	}
	return least, nil
}

// luaPaths is a wrk script that requests the paths in turn.
func luaPaths(paths []string) string {
	var b strings.Builder
	b.WriteString("local requests, turn = {}, 0\nfunction init()\n  for _, path in ipairs({\n")
	for _, p := range paths {
		fmt.Fprintf(&b, "    %q,\n", p)
	}
	b.WriteString("  }) do requests[#requests + 1] = wrk.format(nil, path) end\nend\n")
	b.WriteString("function request()\n  turn = turn % #requests + 1\n  return requests[turn]\nend\n")
	return b.String()
}
