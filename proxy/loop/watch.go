package loop

import (
	"bytes"
	"context"
	"runtime"
	"time"
)

// awayAfter is how long a loop may stay away from its events before it is counted and reported.
const awayAfter = 10 * time.Millisecond

// checkAway counts a round that took too long.
func (l *Loop) checkAway() {
	if took := nanotime() - l.now; took >= int64(awayAfter) {
		l.away.Add(1)
		if l.since.Load() > 0 && l.group.tell() { // the watch has not seen it
			l.group.opt.Logf("loop %d was away for %v", l.Index, time.Duration(took).Round(time.Millisecond))
		}
	}
}

// tell says whether an absence is to be logged: one a second is enough to see what is wrong.
func (g *Group) tell() bool {
	last, now := g.told.Load(), nanotime()
	return (last == 0 || now-last >= int64(time.Second)) && g.told.CompareAndSwap(last, now)
}

// watch looks at the loops every few milliseconds while any of them is busy, so that the stack of one that is away can be shown while it is.
func (g *Group) watch(ctx context.Context) {
	const busy, idle = awayAfter / 2, 5 * awayAfter
	t := time.NewTimer(idle)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		wait := idle
		now := nanotime()
		for _, l := range g.Loops {
			since := l.since.Load()
			if since > 0 {
				wait = busy
			}
			if since <= 0 || now-since < int64(awayAfter) || !l.since.CompareAndSwap(since, -since) {
				continue
			}
			if g.tell() {
				g.opt.Logf("loop %d has been away for %v:\n%s", l.Index, time.Duration(now-since).Round(time.Millisecond), running())
			}
		}
		t.Reset(wait)
	}
}

// running is the stacks of the goroutines that are on a loop and not parked.
func running() []byte {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []byte
	for _, g := range bytes.Split(buf, []byte("\n\n")) {
		head, _, _ := bytes.Cut(g, []byte("\n"))
		if !bytes.Contains(head, []byte("[coroutine")) && bytes.Contains(g, []byte("/loop.(*strand).do")) {
			out = append(append(out, g...), '\n')
		}
	}
	if len(out) == 0 {
		return []byte("(it has come back)")
	}
	return out
}
