package accesslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/approovia/edge/proxy/exchange"
)

const (
	chunkSize = 64 << 10 // bytes
	chunkFull = 48 << 10 // from here on a chunk is handed over: most lines fit into the rest without growing it

	// FlushEvery is how long a line waits in its loop at most, in nanoseconds, before Buffer.Due asks for a Flush.
	FlushEvery = int64(100 * time.Millisecond)

	// linger is how long Run waits for a writer that is stuck when it shall end.
	linger = time.Second
)

// ErrStuck is Run's answer if its writer still has not returned a second after the end was asked for.
var ErrStuck = errors.New("access log: the writer is stuck; lines are lost")

// chunk is whole lines on their way from a loop to the writer.
type chunk struct {
	text  []byte
	lines uint64
}

// Sink takes lines from any number of loops to one writer, in chunks. A loop never waits for it: when the writer is too slow, whole chunks
// are dropped and their lines counted. Every line ends up in exactly one of Written and Dropped.
type Sink struct {
	w      io.Writer
	full   chan *chunk // to the writer
	empty  chan *chunk // and back
	reopen chan chan error

	written, dropped atomic.Uint64

	torn []byte // rest of a line of which the writer took only the beginning; Run's alone
}

// NewSink makes a sink for a writer that holds up to depth chunks of 64 KiB (at least 1) for a writer that is slow. The writer is used
// by one goroutine at a time. If it has a method Reopen() error, as File has, Sink.Reopen calls it.
func NewSink(w io.Writer, depth int) *Sink {
	depth = max(depth, 1)
	return &Sink{
		w:      w,
		full:   make(chan *chunk, depth),
		empty:  make(chan *chunk, depth+1),
		reopen: make(chan chan error),
	}
}

// Written is the number of lines written. Dropped is the number of those lost, because the writer was too slow or failed.
func (s *Sink) Written() uint64 { return s.written.Load() }

// Dropped is the number of lines lost.
func (s *Sink) Dropped() uint64 { return s.dropped.Load() }

// Run writes until ctx is done, and then what has been flushed before. Loops must flush and stop before ctx is done. It returns ErrStuck
// if the writer does not return for a second.
func (s *Sink) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	case <-time.After(linger):
		return ErrStuck
	}
}

func (s *Sink) run(ctx context.Context) {
	for {
		select {
		case c := <-s.full:
			s.write(c)
		case reply := <-s.reopen:
			reply <- s.reopenNow()
		case <-ctx.Done():
			for {
				select {
				case c := <-s.full:
					s.write(c)
				default:
					s.loseTorn()
					return
				}
			}
		}
	}
}

// write writes a chunk, counts its lines and gives it back. After a failure in the middle of a line, its rest is written first
// the next time, so that no line is ever glued to another.
func (s *Sink) write(c *chunk) {
	defer s.recycle(c)
	if len(s.torn) > 0 {
		n, err := s.w.Write(s.torn)
		s.torn = s.torn[:copy(s.torn, s.torn[n:])]
		if err != nil {
			s.dropped.Add(c.lines)
			return
		}
		s.written.Add(1)
	}
	n, err := s.w.Write(c.text)
	if err == nil {
		s.written.Add(c.lines)
		return
	}
	whole := uint64(bytes.Count(c.text[:n], []byte{'\n'}))
	lost := c.lines - whole
	if n > 0 && c.text[n-1] != '\n' {
		rest := c.text[n:]
		s.torn = append(s.torn, rest[:bytes.IndexByte(rest, '\n')+1]...)
		lost-- // not yet
	}
	s.written.Add(whole)
	s.dropped.Add(lost)
}

// loseTorn gives up a line that was begun in a file that is no longer ours to end it in.
func (s *Sink) loseTorn() {
	if len(s.torn) > 0 {
		s.torn = s.torn[:0]
		s.dropped.Add(1)
	}
}

func (s *Sink) recycle(c *chunk) {
	if cap(c.text) > 2*chunkSize {
		return // grown by a monster of a line
	}
	c.text, c.lines = c.text[:0], 0
	select {
	case s.empty <- c:
	default:
	}
}

// Reopen makes the writer open its file again, which is what has to be done after somebody renamed it. Run must be running. It waits for
// the write that is under way, so it must not be called by a loop. On an error the old file stays in use.
func (s *Sink) Reopen(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case s.reopen <- reply:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Sink) reopenNow() error {
	f, ok := s.w.(interface{ Reopen() error })
	if !ok {
		return nil // standard output and the like
	}
	err := f.Reopen()
	if err == nil {
		s.loseTorn()
	}
	return err
}

// Buffer is the end of a Sink that one loop holds. It must not be used by two goroutines at a time.
type Buffer struct {
	Formatter
	sink  *Sink
	chunk *chunk
	since int64 // when Due first saw the oldest line, on the loop's clock; 0 = not yet
}

// NewBuffer makes the buffer of one loop.
func (s *Sink) NewBuffer() *Buffer { return &Buffer{sink: s, chunk: s.take()} }

func (s *Sink) take() *chunk {
	select {
	case c := <-s.empty:
		return c
	default:
		return &chunk{text: make([]byte, 0, chunkSize)}
	}
}

// Log appends the line of an exchange. It never waits.
func (b *Buffer) Log(format Format, x *exchange.Exchange) { b.End(format(&b.Formatter, b.Begin(), x)) }

// Begin returns a slice to append exactly one line to, its newline included; the grown slice goes to End. Nothing of the buffer may be used in
// between. A line that is begun and not ended is forgotten.
func (b *Buffer) Begin() []byte { return b.chunk.text }

// End takes what Begin gave, with a line appended.
func (b *Buffer) End(text []byte) {
	b.chunk.text = text
	b.chunk.lines++
	if len(text) >= chunkFull {
		b.Flush()
	}
}

// Pending says whether lines wait for a Flush.
func (b *Buffer) Pending() bool { return b.chunk.lines > 0 }

// Due says whether lines have waited for FlushEvery since it was first asked about them, now being the loop's monotonic clock in
// nanoseconds.
func (b *Buffer) Due(now int64) bool {
	switch {
	case b.chunk.lines == 0:
		return false
	case b.since == 0:
		b.since = now
		return false
	}
	return now-b.since >= FlushEvery
}

// Flush hands over what has been gathered. It never waits: if the sink is full, the lines are dropped and counted.
func (b *Buffer) Flush() {
	b.since = 0
	if b.chunk.lines == 0 {
		return
	}
	select {
	case b.sink.full <- b.chunk:
		b.chunk = b.sink.take()
	default:
		b.sink.dropped.Add(b.chunk.lines)
		if cap(b.chunk.text) > 2*chunkSize {
			b.chunk.text = make([]byte, 0, chunkSize)
		}
		b.chunk.text, b.chunk.lines = b.chunk.text[:0], 0
	}
}
