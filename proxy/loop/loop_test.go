package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// both runs a test on both implementations.
func both(t *testing.T, f func(t *testing.T, g *Group)) {
	for _, goroutines := range []bool{false, true} {
		name := "epoll"
		if goroutines {
			name = "goroutines"
		}
		if !goroutines && !havePoller {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := New(Options{Loops: 2, Goroutines: goroutines, Logf: t.Logf})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); g.Run(ctx) }()
			t.Cleanup(func() {
				cancel()
				<-done
				for _, l := range g.Loops {
					if n := l.Counters.Coroutines; n != 0 {
						t.Errorf("loop %d: %d coroutines left behind", l.Index, n)
					}
					if n := l.Counters.Conns; n != 0 {
						t.Errorf("loop %d: %d connections left behind", l.Index, n)
					}
				}
			})
			f(t, g)
		})
	}
}

type serve func(Conn)

func (f serve) Serve(c Conn) { f(c) }

func listen(t *testing.T, g *Group, h Handler) string {
	t.Helper()
	ln, err := g.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ln.Close)
	ln.Accept(func(c Conn) { c.Rest(h) })
	return ln.Addr.String()
}

var echo serve

func init() {
	echo = func(c Conn) {
		l := c.Loop()
		b := l.Buf()
		defer l.PutBuf(b)
		n, err := c.Read(b)
		if err == nil {
			_, err = c.Write(b[:n])
		}
		if err != nil {
			c.Close()
			return
		}
		c.Rest(echo)
	}
}

func TestAConnectionRestsBetweenExchangesAndComesBack(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		addr := listen(t, g, echo)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				b := make([]byte, 5)
				for i := range 100 {
					want := fmt.Sprintf("%05d", i)
					io.WriteString(c, want)
					if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
						t.Errorf("echo %q: %q %v", want, b, err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestADialedConnectionCarriesManyBytesBothWaysAtOnce(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		back, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		go func() {
			for {
				c, err := back.Accept()
				if err != nil {
					return
				}
				go func() { io.Copy(c, c); c.(*net.TCPConn).CloseWrite() }()
			}
		}()
		to := back.Addr().(*net.TCPAddr).AddrPort()
		pump := func(dst, src Conn) {
			l := src.Loop()
			b := l.Buf()
			defer l.PutBuf(b)
			for {
				n, err := src.Read(b)
				if err == io.EOF {
					dst.CloseWrite()
					return
				}
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				if _, err := dst.Write(b[:n]); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		}
		for _, splice := range []bool{false, true} {
			addr := listen(t, g, serve(func(c Conn) {
				defer c.Close()
				s, err := c.Loop().Dial(to, c.Loop().Now()+int64(time.Second))
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				defer s.Close()
				move := pump
				if splice && CanSplice(s, c) {
					move = func(dst, src Conn) {
						if _, _, err := Splice(dst, src, -1, func(int) {}); err != io.EOF {
							t.Errorf("splice: %v", err)
						}
						dst.CloseWrite()
					}
				}
				c.Loop().Both(func() { move(s, c) }, func() { move(c, s) })
			}))
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
			go func() { c.Write(sent); c.(*net.TCPConn).CloseWrite() }()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("got %d bytes of %d, %v", len(got), len(sent), err)
			}
		}
	})
}

func TestADeadlineEndsAWait(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		result := make(chan error, 1)
		addr := listen(t, g, serve(func(c Conn) {
			b := make([]byte, 10)
			n, _ := c.Read(b)
			c.Deadline(c.Loop().Now() + int64(time.Hour))
			c.Deadline(c.Loop().Now() + int64(20*time.Millisecond)) // an earlier one counts
			_, err := c.Read(b[n:])
			result <- err
			c.Close()
		}))
		c, _ := net.Dial("tcp", addr)
		defer c.Close()
		c.Write([]byte("x"))
		if err := <-result; err != ErrTimeout {
			t.Fatalf("got %v", err)
		}
	})
}

func TestARestingConnectionIsServedAtItsDeadlineAndOnInterrupt(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		result := make(chan error, 2)
		ln, _ := g.Listen("127.0.0.1:0")
		defer ln.Close()
		conns := make(chan Conn, 2)
		read := serve(func(c Conn) {
			_, err := c.Read(make([]byte, 1))
			result <- err
			c.Close()
		})
		var n atomic.Int32
		ln.Accept(func(c Conn) {
			if n.Add(1) == 1 {
				c.Deadline(c.Loop().Now() + int64(20*time.Millisecond))
			}
			c.Rest(read)
			conns <- c
		})
		a, _ := net.Dial("tcp", ln.Addr.String())
		defer a.Close()
		<-conns
		if err := <-result; err != ErrTimeout {
			t.Fatalf("deadline: %v", err)
		}
		b, _ := net.Dial("tcp", ln.Addr.String())
		defer b.Close()
		c := <-conns
		c.Loop().Post(c.Interrupt)
		if err := <-result; err != ErrInterrupted {
			t.Fatalf("interrupt: %v", err)
		}
	})
}

func TestAPanicEndsItsExchangeOnly(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		addr := listen(t, g, serve(func(c Conn) {
			b := make([]byte, 1)
			c.Read(b)
			if b[0] == '!' {
				panic("boom")
			}
			c.Write(b)
			c.Close()
		}))
		bad, _ := net.Dial("tcp", addr)
		bad.Write([]byte("!"))
		if _, err := bad.Read(make([]byte, 1)); err == nil {
			t.Fatal("the exchange went on")
		}
		bad.Close()
		good, _ := net.Dial("tcp", addr)
		defer good.Close()
		good.Write([]byte("a"))
		if _, err := io.ReadAll(good); err != nil {
			t.Fatal(err)
		}
		var panics uint64
		for _, l := range g.Loops {
			l.Do(func() { panics += l.Counters.Panics })
		}
		if panics != 1 {
			t.Fatalf("%d panics counted", panics)
		}
	})
}

func TestAwaitLetsOthersGoOn(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops[0]
		release, order := make(chan struct{}), make(chan string, 2)
		l.Do(func() {
			l.Go(func() {
				l.Await(func() { <-release })
				order <- "waited"
			})
			l.Go(func() { order <- "went on" })
		})
		if got := <-order; got != "went on" {
			t.Fatal(got)
		}
		close(release)
		if got := <-order; got != "waited" {
			t.Fatal(got)
		}
	})
}

func TestALoopThatIsAwayIsCountedAndItsStackShown(t *testing.T) {
	var mu sync.Mutex
	var logs []string
	g, err := New(Options{Loops: 1, Logf: func(f string, a ...any) {
		mu.Lock()
		logs = append(logs, fmt.Sprintf(f, a...))
		mu.Unlock()
	}})
	if err != nil || g.Goroutines() {
		t.Skip("the portable implementation cannot be away: each strand has a goroutine")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	defer func() { cancel(); <-done }()
	l := g.Loops[0]
	l.Do(func() { l.Go(blockForAWhile) })
	for l.Away() == 0 {
		runtime.Gosched()
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(strings.Join(logs, "\n"), "blockForAWhile") {
		t.Fatalf("the stack is not in %q", logs)
	}
}

func blockForAWhile() {
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
	}
}

func TestAListenerPausesAndClosesWithoutLosingWhatWaits(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		ln, _ := g.Listen("127.0.0.1:0")
		ln.Accept(func(c Conn) { c.Rest(echo) })
		ln.Pause()
		for _, l := range g.Loops {
			l.Do(func() {})
		}
		c, err := net.Dial("tcp", ln.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("x"))
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("served while paused")
		}
		if g.Goroutines() {
			ln.Resume()
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if !g.Goroutines() {
			ln.Close() // takes what waits first
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		ln.Close()
		if _, err := net.Dial("tcp", ln.Addr.String()); err == nil {
			t.Fatal("still listening")
		}
	})
}

func TestTimersExpireInOrderHoweverOftenTheyAreMoved(t *testing.T) {
	var q timers
	var got []int
	ts := make([]*afterTimer, 100)
	for i := range ts {
		ts[i] = &afterTimer{f: func() { got = append(got, i) }}
		q.set(ts[i], int64((i*37)%100+1))
	}
	for i := range ts {
		q.set(ts[i], int64(1000+i)) // later: lazily
		if i%2 == 0 {
			q.set(ts[i], int64(500+i)) // earlier again
		}
		if i%10 == 3 {
			q.remove(ts[i])
		}
		if i%10 == 5 {
			ts[i].clear()
		}
	}
	for now := int64(0); now <= 1200; now++ {
		q.expire(now)
	}
	var want []int
	for i := 0; i < 100; i += 2 {
		want = append(want, i)
	}
	for i := 1; i < 100; i += 2 {
		if i%10 != 3 && i%10 != 5 {
			want = append(want, i)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(q.heap) != 0 {
		t.Fatalf("got  %v\nwant %v, %d left", got, want, len(q.heap))
	}
}

func TestAnExchangeAllocatesNothing(t *testing.T) {
	g, err := New(Options{Loops: 1})
	if err != nil || g.Goroutines() {
		t.Skip("the portable implementation allocates")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	defer func() { cancel(); <-done }()
	c, err := net.Dial("tcp", listen(t, g, echo))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 1)
	if n := testing.AllocsPerRun(1000, func() {
		c.Write(b)
		c.Read(b)
	}); n != 0 {
		t.Fatalf("%v allocations per exchange", n)
	}
}

func TestDialRefusedIsToldAtOnce(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		n, _ := net.Listen("tcp", "127.0.0.1:0")
		to := n.Addr().(*net.TCPAddr).AddrPort()
		n.Close()
		result := make(chan error, 1)
		l := g.Loops[0]
		l.Do(func() {
			l.Go(func() {
				_, err := l.Dial(to, l.Now()+int64(5*time.Second))
				result <- err
			})
		})
		if err := <-result; !Refused(err) || errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
	})
}
