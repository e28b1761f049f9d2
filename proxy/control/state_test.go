package control

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() *State {
	s := &State{}
	s.Change("service-a", "vm2", Change{State: p(Drain)})
	s.Change("service-a", "vm2", Change{Weight: p(7)})
	s.Change("service-b", "vm3", Change{Address: p("10.0.0.13:8002"), Maxconn: p(5)})
	s.Change("service-b", "vm4", Change{})
	return s
}

func TestStateSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "by-save")
	if err := sample().Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := LoadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]Change{
		"service-a": {"vm2": {State: p(Drain), Weight: p(7)}},
		"service-b": {"vm3": {Address: p("10.0.0.13:8002"), Maxconn: p(5)}},
	}
	if d := cmp.Diff(want, got.Servers); d != "" {
		t.Error(d)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, stateFile): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, info.Mode(), err, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Error("left behind:", entries)
	}
}

func TestNoStateIsAnEmptyState(t *testing.T) {
	t.Parallel()
	s, err := LoadState(filepath.Join(t.TempDir(), "missing"))
	if err != nil || len(s.Servers) != 0 || !s.Server("a", "b").Empty() {
		t.Error(s, err)
	}
	s.Change("a", "b", Change{Weight: p(1)})
	if *s.Server("a", "b").Weight != 1 {
		t.Error("an empty state cannot be changed")
	}
}

// A crash at any byte of a Save leaves a piece of the temporary file and the old file whole.
func TestACrashAtAnyByteOfASaveLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := sample().Save(dir); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	next := sample()
	next.Change("service-c", "vm9", Change{State: p(Maint)})
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), good, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range len(text) + 1 {
		if err := os.WriteFile(filepath.Join(dir, stateFile+".123.tmp"), text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := LoadState(dir)
		if err != nil {
			t.Fatalf("crash at byte %d: %v", n, err)
		}
		if d := cmp.Diff(sample().Servers, got.Servers); d != "" {
			t.Fatalf("crash at byte %d: %s", n, d)
		}
		if now, _ := os.ReadFile(filepath.Join(dir, stateFile)); !bytes.Equal(now, good) {
			t.Fatalf("crash at byte %d: the good file was touched", n)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Fatalf("crash at byte %d: remains are left: %v", n, entries)
		}
	}
}

// A file damaged by others at any byte is set aside whole, and the next Save works.
func TestAFileTruncatedAtAnyByteIsSetAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := sample().Save(dir); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(text) - 1 { // without its final newline it is whole still
		if err := os.WriteFile(name, text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := LoadState(dir)
		if err == nil || !strings.Contains(err.Error(), name+".bad") {
			t.Fatalf("truncated at %d: %v", n, err)
		}
		if len(got.Servers) != 0 {
			t.Fatalf("truncated at %d: half a state %v", n, got.Servers)
		}
		if bad, _ := os.ReadFile(name + ".bad"); !bytes.Equal(bad, text[:n]) {
			t.Fatalf("truncated at %d: set aside %q", n, bad)
		}
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Fatalf("truncated at %d: still there: %v", n, err)
		}
	}
	if err := sample().Save(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadState(dir); err != nil || cmp.Diff(sample().Servers, got.Servers) != "" {
		t.Error(got, err)
	}
}

func TestAStateThatMakesNoSenseIsSetAside(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`null`:            "format version 0",
		`{"version":2}`:   "format version 2, this program knows 1",
		`{"version":1} x`: "invalid character",
		`{"version":1,"servers":{"a":{"b":{"weight":1000}}}}`:        "server a/b: weight 1000 is out of range",
		`{"version":1,"servers":{"a":{"b":{"state":"upsidedown"}}}}`: "unknown server state",
		`{"version":1,"servers":[]}`:                                 "cannot unmarshal",
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, stateFile)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadState(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestASaveThatFailsLeavesTheOldFileAndNoRemains(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, stateFile, "in-the-way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sample().Save(dir); err == nil || !strings.Contains(err.Error(), "save runtime state") {
		t.Error("saved over a directory:", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Error("left behind:", entries)
	}
	if _, err := LoadState(dir); err == nil {
		t.Error("a directory was read as a state")
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"servers":{"a":{"b":{"state":"drain","weight":3,"address":"h:1","maxconn":2}}}}`))
	f.Add([]byte(`{"version":1,"servers":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := s.Save(dir); err != nil {
			t.Fatal(err)
		}
		back, err := LoadState(dir)
		if err != nil {
			t.Fatalf("%v after %s", err, text)
		}
		if d := cmp.Diff(s, back); d != "" {
			t.Error(d)
		}
	})
}
