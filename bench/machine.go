package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// fact is one line of what the results were measured on and with.
type fact struct{ what, value string }

// describe says what machine this is and which versions are compared.
func describe(ctx context.Context, b binaries) ([]fact, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("describe the machine: %w", err)
	}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, fmt.Errorf("describe the machine: %w", err)
	}
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, fmt.Errorf("describe the machine: %w", err)
	}
	facts := []fact{
		{"processor", field(cpuinfo, "model name")},
		{"cores", fmt.Sprint(runtime.NumCPU())},
		{"memory", field(meminfo, "MemTotal")},
		{"kernel", unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])},
		{"Go", runtime.Version()},
	}
	for _, tool := range []struct {
		what string
		argv []string
	}{
		{"edge", []string{b.edge, "version"}},
		{"HAProxy", []string{b.haproxy, "-v"}},
		{"nginx", []string{b.nginx, "-v"}},
		{"wrk", []string{"wrk", "-v"}},
	} {
		if tool.argv[0] == "" {
			continue // takes no part
		}
		// wrk -v prints its version and exits with 1, so what counts is that something was printed.
		out, err := exec.CommandContext(ctx, tool.argv[0], tool.argv[1:]...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if line == "" {
			return nil, fmt.Errorf("ask %s for its version: %w", tool.what, err)
		}
		facts = append(facts, fact{tool.what, strings.TrimSpace(line)})
	}
	return facts, nil
}

// field returns the first value of a "key : value" file of /proc.
func field(text []byte, key string) string {
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		k, v, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
