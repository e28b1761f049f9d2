package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// writer is a scripted io.Writer.
type writer struct {
	mu   sync.Mutex
	text bytes.Buffer
	room int           // bytes until the "disk" is full, -1 = endless
	gate chan struct{} // nil, or every Write waits for it to be closed
	in   chan struct{} // gets a word when a Write has begun
}

var errFull = errors.New("no space left on device")

func (w *writer) Write(b []byte) (int, error) {
	if w.gate != nil {
		select {
		case w.in <- struct{}{}:
		default:
		}
		<-w.gate
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room >= 0 && len(b) > w.room {
		n, _ := w.text.Write(b[:w.room])
		w.room = 0
		return n, errFull
	}
	if w.room >= 0 {
		w.room -= len(b)
	}
	return w.text.Write(b)
}

func line(b *Buffer, text string) { b.End(append(append(b.Begin(), text...), '\n')) }

// run runs a sink and returns how to end it.
func run(t *testing.T, s *Sink) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() error { cancel(); return <-done }
}

func TestEveryLineArrivesWholeAndInTheOrderOfItsLoop(t *testing.T) {
	t.Parallel()
	const loops, lines = 4, 5000
	w := &writer{room: -1}
	s := NewSink(w, loops*lines)
	stop := run(t, s)
	var wg sync.WaitGroup
	for l := range loops {
		wg.Go(func() {
			b := s.NewBuffer()
			for i := range lines {
				line(b, fmt.Sprintf("%d %d %s", l, i, strings.Repeat("x", i%300)))
				if i%97 == 0 {
					b.Flush()
				}
			}
			b.Flush()
		})
	}
	wg.Wait()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if s.Written() != loops*lines || s.Dropped() != 0 {
		t.Errorf("written %d, dropped %d", s.Written(), s.Dropped())
	}
	var next [loops]int
	for text := range strings.Lines(w.text.String()) {
		var l, i int
		var xs string
		if _, err := fmt.Sscanf(text, "%d %d %s", &l, &i, &xs); err != nil && i%300 != 0 {
			t.Fatalf("%q: %v", text, err)
		}
		if i != next[l] || len(xs) != i%300 {
			t.Fatalf("loop %d: %q, expected line %d", l, text, next[l])
		}
		next[l]++
	}
}

func TestABlockedWriterHoldsUpNoLoopAndEveryLostLineIsCounted(t *testing.T) {
	t.Parallel()
	const loops, flushes, perFlush, depth = 4, 200, 3, 5
	w := &writer{room: -1, gate: make(chan struct{}), in: make(chan struct{}, 1)}
	s := NewSink(w, depth)
	stop := run(t, s)
	// One chunk is in the blocked Write, so that what follows is exact.
	b := s.NewBuffer()
	line(b, "first")
	b.Flush()
	<-w.in
	var wg sync.WaitGroup
	for range loops {
		wg.Go(func() {
			b := s.NewBuffer()
			for range flushes {
				for range perFlush {
					line(b, "x")
				}
				b.Flush() // would wait here for ever if it waited at all: nobody opens the gate
			}
		})
	}
	wg.Wait()
	if want := uint64((loops*flushes - depth) * perFlush); s.Dropped() != want || s.Written() != 0 {
		t.Errorf("dropped %d, want %d; written %d, want 0", s.Dropped(), want, s.Written())
	}
	close(w.gate)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if want := uint64(1 + depth*perFlush); s.Written() != want || uint64(strings.Count(w.text.String(), "\n")) != want {
		t.Errorf("written %d, want %d: %q", s.Written(), want, w.text.String())
	}
}

func TestAStuckWriterDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	w := &writer{room: -1, gate: make(chan struct{}), in: make(chan struct{}, 1)}
	s := NewSink(w, 1)
	stop := run(t, s)
	b := s.NewBuffer()
	line(b, "x")
	b.Flush()
	<-w.in
	if err := stop(); !errors.Is(err, ErrStuck) {
		t.Error(err)
	}
	close(w.gate)
}

// The disk is full after any number of bytes, and has room again later: what is there are whole lines, and the counters are right.
func TestAFullDiskLeavesNoLineGluedToAnother(t *testing.T) {
	t.Parallel()
	const text = "one\ntwo\nthree\n"
	for room := range len(text) + 1 {
		for second := range 8 {
			w := &writer{room: room}
			s := NewSink(w, 8)
			put := func(lines ...string) {
				c := &chunk{}
				for _, l := range lines {
					c.text = append(append(c.text, l...), '\n')
					c.lines++
				}
				s.write(c)
			}
			put("one", "two", "three")
			w.room = second // a little more room, perhaps not enough for the rest of a line
			put("four")
			w.room = -1
			put("five", "six")
			allowed := map[string]bool{"one": true, "two": true, "three": true, "four": true, "five": true, "six": true}
			seen := uint64(0)
			for l := range strings.Lines(w.text.String()) {
				if !allowed[strings.TrimSuffix(l, "\n")] || !strings.HasSuffix(l, "\n") {
					t.Fatalf("room %d, then %d: line %q in %q", room, second, l, w.text.String())
				}
				seen++
			}
			if s.Written() != seen || s.Written()+s.Dropped() != 6 {
				t.Fatalf("room %d, then %d: %d lines are there, written %d, dropped %d", room, second, seen, s.Written(), s.Dropped())
			}
		}
	}
}

func TestALineTornAtTheEndCountsAsDropped(t *testing.T) {
	t.Parallel()
	w := &writer{room: 5}
	s := NewSink(w, 1)
	stop := run(t, s)
	b := s.NewBuffer()
	line(b, "one")
	line(b, "two")
	b.Flush()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if s.Written() != 1 || s.Dropped() != 1 {
		t.Errorf("written %d, dropped %d", s.Written(), s.Dropped())
	}
}

func TestABufferIsDueOnceItsLinesHaveWaited(t *testing.T) {
	t.Parallel()
	b := NewSink(&writer{room: -1}, 1).NewBuffer()
	const now = int64(1e9)
	for _, c := range []struct {
		step string
		do   func()
		at   int64
		due  bool
	}{
		{"empty", func() {}, now, false},
		{"first seen", func() { line(b, "x") }, now, false},
		{"a little later", func() { line(b, "y") }, now + FlushEvery - 1, false},
		{"in time", func() {}, now + FlushEvery, true},
		{"flushed", b.Flush, now + FlushEvery, false},
		{"flushed, much later", func() {}, now + 10*FlushEvery, false},
		{"again", func() { line(b, "x") }, now + 11*FlushEvery, false},
	} {
		c.do()
		if got := b.Due(c.at); got != c.due {
			t.Errorf("%s: due is %v", c.step, got)
		}
	}
	if !b.Pending() {
		t.Error("a line waits, but nothing is pending")
	}
}

func TestALineLargerThanAChunkIsALineLikeAnother(t *testing.T) {
	t.Parallel()
	w := &writer{room: -1}
	s := NewSink(w, 4)
	stop := run(t, s)
	b := s.NewBuffer()
	line(b, "small")
	line(b, strings.Repeat("x", 5*chunkSize)) // flushes itself
	if b.Pending() {
		t.Error("a full chunk was not handed over")
	}
	line(b, "small")
	b.Flush()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if s.Written() != 3 || w.text.Len() != 5*chunkSize+1+12 {
		t.Errorf("written %d lines, %d bytes", s.Written(), w.text.Len())
	}
	if cap(b.chunk.text) > 2*chunkSize {
		t.Error("the monster's memory is kept")
	}
}

func TestInSteadyStateNothingIsAllocated(t *testing.T) {
	s := NewSink(&writer{room: -1, text: *bytes.NewBuffer(make([]byte, 0, 8<<20))}, 4)
	b := s.NewBuffer()
	x := whole()
	one := func() {
		for range 10 {
			b.Log((*Formatter).JSON, x)
		}
		b.Flush()
		s.write(<-s.full)
	}
	one()
	if n := testing.AllocsPerRun(100, one); n != 0 {
		t.Errorf("%v allocations a flush", n)
	}
	if s.Written() != 10*102 || s.Dropped() != 0 {
		t.Errorf("written %d, dropped %d", s.Written(), s.Dropped())
	}
}

func TestALineBegunAndNotEndedIsForgotten(t *testing.T) {
	t.Parallel()
	w := &writer{room: -1}
	s := NewSink(w, 1)
	stop := run(t, s)
	b := s.NewBuffer()
	_ = append(b.Begin(), "half"...)
	line(b, "whole")
	b.Flush()
	if err := stop(); err != nil || w.text.String() != "whole\n" {
		t.Errorf("%q, %v", w.text.String(), err)
	}
}

func TestARotatedFileIsOpenedAgain(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "access.log")
	f, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := NewSink(f, 8)
	stop := run(t, s)
	b := s.NewBuffer()
	line(b, "before")
	b.Flush()
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	// The chunk may be written before or after the reopening; it is somewhere, once.
	if err := s.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	line(b, "after")
	b.Flush()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(name + ".1")
	now, err := os.ReadFile(name)
	if got := string(old) + string(now); err != nil || got != "before\nafter\n" || !strings.HasSuffix(string(now), "after\n") {
		t.Errorf("old %q, new %q, %v", old, now, err)
	}
}

func TestAReopeningThatFailsKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	s := NewSink(f, 8)
	stop := run(t, s)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(t.Context()); err == nil {
		t.Error("opened a file in a directory that is gone")
	}
	b := s.NewBuffer()
	line(b, "x")
	b.Flush()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir+".moved", "access.log")); string(got) != "x\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(filepath.Join(dir, "access.log")); err == nil || !strings.Contains(err.Error(), "open access log") {
		t.Error(err)
	}
}

func TestAHalfLineLeftByACrashIsEnded(t *testing.T) {
	t.Parallel()
	for before, want := range map[string]string{"": "new\n", "old\n": "old\nnew\n", "old\nha": "old\nha\nnew\n"} {
		name := filepath.Join(t.TempDir(), "access.log")
		if err := os.WriteFile(name, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("new\n")); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); string(got) != want {
			t.Errorf("after %q: %q, %v", before, got, err)
		}
	}
}

func TestReopeningGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	s := NewSink(&writer{room: -1}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Reopen(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stop := run(t, s)
	if err := s.Reopen(t.Context()); err != nil {
		t.Error("a writer that needs no reopening:", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
