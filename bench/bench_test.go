package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The harness itself, on the two proxies that need nothing of ours but the standard library.
func TestAQuickRunMeasuresHAProxyAndTheStandardLibrary(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "results.md")
	o, err := parse([]string{"-quick", "-proxies", "haproxy,std", "-out", out})
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	// All of CPU, user, system, ratio, requests/s, p50, p99, p99 ratio, RSS other than zero; nothing
	// failed; nothing left out of the log, but that HAProxy drops a line when its threads meet there.
	row := regexp.MustCompile(`(?m)^\| (haproxy|std) (\| [\d.]*[1-9][\d.]*(µs|ms|s)? ){9}\| 0 \| \d{1,3} \|$`)
	if rows := row.FindAllString(string(text), -1); len(rows) != 4 {
		t.Errorf("%d whole rows, want 2 scenarios of 2 proxies:\n%s", len(rows), text)
	}
}

func TestNginxDoesTheWholeJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, err := findBinaries(t.Context(), options{bin: binaries{nginx: "nginx"}}, nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := startSink()
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	j := job{dir: filepath.Join(dir, "nginx"), servers: s.servers(), logs: true, conns: 1}
	p, err := withPorts(2, func(addrs []string) (*process, error) {
		j.addr, j.stats = addrs[0], addrs[1]
		return launch(t.Context(), j.dir, nginxProgram(j, bin), j.addr)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := verify(t.Context(), j); err != nil {
		t.Error(err)
	}
}

func TestAProxyThatSkipsPartOfTheJobIsFoundOut(t *testing.T) {
	t.Parallel()
	s, err := startSink() // no proxy at all: nothing is denied, nothing set
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	if err := verify(t.Context(), job{addr: s.addrs[0], stats: s.addrs[1]}); err == nil {
		t.Error("an origin passed for a proxy")
	}
}

func TestAProgramThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := launch(t.Context(), t.TempDir(), program{argv: []string{"sh", "-c", "echo no such luck >&2; exit 3"}}, "127.0.0.1:1")
	if err == nil || !regexp.MustCompile(`exit status 3.*(?s:.*)no such luck`).MatchString(err.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-duration", "1500ms"}, {"-duration", "0s"}, {"-warmup", "-1s"},
		{"-only", "("}, {"-proxies", "squid"}, {"stray"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestOnlyAWholeRunReplacesTheResults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, resultsFile},
		{[]string{"-rounds", "9"}, resultsFile},
		{[]string{"-quick"}, ""},
		{[]string{"-only", "mesh"}, ""},
		{[]string{"-proxies", "edge"}, ""},
		{[]string{"-quick", "-out", "x.md"}, "x.md"},
	} {
		if o, err := parse(c.args); err != nil || o.out != c.want {
			t.Errorf("%q: results go to %q (%v), want %q", c.args, o.out, err, c.want)
		}
	}
}

func TestRequestsMissingInTheLogAreCounted(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(name, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel() // nothing more is coming
	for requests, want := range map[int]int{2: 0, 3: 0, 5: 2} {
		if got, err := unlogged(over, name, requests); err != nil || got != want {
			t.Errorf("of %d requests %d are unlogged (%v), want %d", requests, got, err, want)
		}
	}
	if _, err := unlogged(over, name+".not", 1); err == nil {
		t.Error("a log that does not exist is no error")
	}
}
