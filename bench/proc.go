package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is processor time that processes have used since they began.
type usage struct{ user, system time.Duration }

func (u usage) total() time.Duration { return u.user + u.system }

func (u usage) minus(v usage) usage { return usage{u.user - v.user, u.system - v.system} }

// family returns pid and all its descendants.
func family(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // gone since the listing, so not of the family
		}
		child, parent, _, err := parseStat(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		children[parent] = append(children[parent], child)
	}
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids, nil
}

// parseStat reads process id, parent and processor ticks from the text of /proc/PID/stat (proc(5)).
func parseStat(text []byte) (pid, parent int, ticks [2]uint64, err error) {
	// The second field, the command in parentheses, may itself hold spaces and parentheses.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return 0, 0, ticks, fmt.Errorf("no command in %q", text)
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 13 {
		return 0, 0, ticks, fmt.Errorf("%d fields behind the command in %q", len(fields), text)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text[:open]))); err != nil {
		return 0, 0, ticks, err
	}
	if parent, err = strconv.Atoi(fields[1]); err != nil { // field 4
		return 0, 0, ticks, err
	}
	for i := range ticks { // fields 14 and 15: utime, stime
		if ticks[i], err = strconv.ParseUint(fields[11+i], 10, 64); err != nil {
			return 0, 0, ticks, err
		}
	}
	return pid, parent, ticks, nil
}

// cpu returns the processor time the processes have used. The sum comes from each process's CPU clock,
// which counts nanoseconds and includes threads that have ended; the split into user and system from
// /proc/PID/stat, which counts ticks of 10 ms.
func cpu(pids []int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		var now unix.Timespec
		// Linux's dynamic clock ids: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of its posix-timers.h.
		if err := unix.ClockGettime(int32(^pid<<3|2), &now); err != nil {
			return usage{}, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return usage{}, fmt.Errorf("read processor time: %w", err)
		}
		_, _, ticks, err := parseStat(text)
		if err != nil {
			return usage{}, fmt.Errorf("read processor time of process %d: %w", pid, err)
		}
		exact := time.Duration(now.Nano())
		user := exact
		if all := ticks[0] + ticks[1]; all > 0 {
			user = time.Duration(float64(exact) * float64(ticks[0]) / float64(all))
		}
		sum.user += user
		sum.system += exact - user
	}
	return sum, nil
}

// rss returns the resident memory of the processes in bytes. Pages that several of them share count
// once for each.
func rss(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, fmt.Errorf("read resident memory: %w", err)
		}
		fields := strings.Fields(string(text))
		if len(fields) < 2 {
			return 0, fmt.Errorf("read resident memory of process %d: %q", pid, text)
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read resident memory of process %d: %w", pid, err)
		}
		sum += pages * int64(os.Getpagesize())
	}
	return sum, nil
}
