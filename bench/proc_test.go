package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStatIsReadWhateverTheCommandIsCalled(t *testing.T) {
	t.Parallel()
	const rest = " S 12 7 7 0 -1 4194560 1 2 3 4 150 250 7 8 20 0 1 0 100 0 0"
	for _, command := range []string{"nginx", "a b", ") 1 2 (", "(sd-pam)", ""} {
		pid, parent, ticks, err := parseStat([]byte("42 (" + command + ")" + rest))
		if err != nil || pid != 42 || parent != 12 || ticks != [2]uint64{150, 250} {
			t.Errorf("(%s): %d %d %v %v", command, pid, parent, ticks, err)
		}
	}
	for _, text := range []string{"", "42", "42 (x", ") 42 (", "42 (x) S 12 7", "x (x)" + rest, "42 (x) S y" + rest[5:]} {
		if pid, parent, ticks, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q was read as %d %d %v", text, pid, parent, ticks)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, _, ticks, err := parseStat(text); err != nil && ticks[1] != 0 {
			t.Errorf("%q: ticks %v in spite of %v", text, ticks, err)
		}
	})
}

func FuzzParseStubStatus(f *testing.F) {
	f.Add("Active connections: 1 \nserver accepts handled requests\n 16 16 31 \nReading: 0 Writing: 1 Waiting: 0 \n")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseStubStatus(text); err == nil && n < 0 {
			t.Errorf("%q was read as %d", text, n)
		}
	})
}

func TestStubStatusIsRead(t *testing.T) {
	t.Parallel()
	const text = "Active connections: 1 \nserver accepts handled requests\n 16 17 31 \nReading: 0 Writing: 1 Waiting: 0 \n"
	if n, err := parseStubStatus(text); err != nil || n != 31 {
		t.Errorf("got %d, %v, want 31", n, err)
	}
	if n, err := parseStubStatus("404 not found"); err == nil {
		t.Errorf("a page without a count was read as %d", n)
	}
}

func TestProcessorTimeGrowsWithTheWorkDone(t *testing.T) {
	t.Parallel()
	pids := []int{os.Getpid()}
	before, err := cpu(pids)
	if err != nil {
		t.Fatal(err)
	}
	// Work until this thread alone has used 50 ms; other tests add to the process's time, not less.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for start := threadTime(t); threadTime(t)-start < 50*time.Millisecond; {
	}
	after, err := cpu(pids)
	if err != nil {
		t.Fatal(err)
	}
	if used := after.minus(before).total(); used < 45*time.Millisecond {
		t.Errorf("the process used %v of the processor where one thread used 50ms", used)
	}
}

func TestTheFamilyHoldsTheChildAndMemoryIsCounted(t *testing.T) {
	t.Parallel()
	child := exec.Command("cat") // which waits for its input
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pids, err := family(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if pids[0] != os.Getpid() || !slices.Contains(pids, child.Process.Pid) {
		t.Errorf("the family of %d is %v, without its child %d", os.Getpid(), pids, child.Process.Pid)
	}
	own, err := rss(pids[:1])
	if err != nil {
		t.Fatal(err)
	}
	both, err := rss([]int{pids[0], child.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	if own < 1<<20 || both <= own-1<<20 {
		t.Errorf("%d bytes of our own, %d with the child's", own, both)
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := cpu([]int{child.Process.Pid}); err == nil {
		t.Error("a process that is gone has a processor time")
	}
}

func threadTime(t *testing.T) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}
