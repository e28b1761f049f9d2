package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/approovia/edge/configs"
)

const plainConfig = `frontends: {web: {bind: "127.0.0.1:0", default_backend: app}}
backends: {app: {servers: {one: "127.0.0.1:1"}}}
`

const includingConfig = "include: [conf.d/*.yaml]\n" + plainConfig

// put writes a file, with its directories.
func put(t *testing.T, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAChangeIsNoticedHoweverItIsMade(t *testing.T) {
	t.Parallel()
	const change = "timeouts: {connect: 1s}\n"
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string) (file string)
		change  func(t *testing.T, dir string)
	}{
		"written in place": {
			func(t *testing.T, dir string) string { return put(t, plainConfig, dir, "edge.yaml") },
			func(t *testing.T, dir string) { put(t, plainConfig+change, dir, "edge.yaml") },
		},
		"replaced by a file renamed over it, as editors do": {
			func(t *testing.T, dir string) string { return put(t, plainConfig, dir, "edge.yaml") },
			func(t *testing.T, dir string) {
				must(t, os.Rename(put(t, plainConfig+change, dir, ".edge.yaml.swp"), filepath.Join(dir, "edge.yaml")))
			},
		},
		"removed and written again": {
			func(t *testing.T, dir string) string { return put(t, plainConfig, dir, "edge.yaml") },
			func(t *testing.T, dir string) {
				must(t, os.Remove(filepath.Join(dir, "edge.yaml")))
				put(t, plainConfig+change, dir, "edge.yaml")
			},
		},
		"a link to its directory swapped, as Kubernetes does": {
			func(t *testing.T, dir string) string {
				put(t, plainConfig, dir, "..1", "edge.yaml")
				must(t, os.Symlink("..1", filepath.Join(dir, "..data")), os.Symlink("..data/edge.yaml", filepath.Join(dir, "edge.yaml")))
				return filepath.Join(dir, "edge.yaml")
			},
			func(t *testing.T, dir string) {
				put(t, plainConfig+change, dir, "..2", "edge.yaml")
				must(t, os.Symlink("..2", filepath.Join(dir, "..data_tmp")),
					os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
					os.RemoveAll(filepath.Join(dir, "..1")))
			},
		},
		"the directory it is in swapped, as releases do": {
			func(t *testing.T, dir string) string {
				put(t, plainConfig, dir, "1", "edge.yaml")
				must(t, os.Symlink("1", filepath.Join(dir, "current")))
				return filepath.Join(dir, "current", "edge.yaml")
			},
			func(t *testing.T, dir string) {
				put(t, plainConfig+change, dir, "2", "edge.yaml")
				must(t, os.Symlink("2", filepath.Join(dir, "next")), os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "current")))
			},
		},
		"its directory replaced by another of the same name": {
			func(t *testing.T, dir string) string { return put(t, plainConfig, dir, "etc", "edge.yaml") },
			func(t *testing.T, dir string) {
				put(t, plainConfig+change, dir, "new", "edge.yaml")
				must(t, os.Rename(filepath.Join(dir, "etc"), filepath.Join(dir, "old")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "etc")))
			},
		},
		"the file that a link leads to written": {
			func(t *testing.T, dir string) string {
				put(t, plainConfig, dir, "elsewhere", "real.yaml")
				must(t, os.Symlink("elsewhere/real.yaml", filepath.Join(dir, "edge.yaml")))
				return filepath.Join(dir, "edge.yaml")
			},
			func(t *testing.T, dir string) { put(t, plainConfig+change, dir, "elsewhere", "real.yaml") },
		},
		"an included file added": {
			func(t *testing.T, dir string) string {
				put(t, "backends: {more: {servers: {one: '127.0.0.1:1'}}}\n", dir, "conf.d", "a.yaml")
				return put(t, includingConfig, dir, "edge.yaml")
			},
			func(t *testing.T, dir string) {
				put(t, "backends: {b: {servers: {one: '127.0.0.1:1'}}}\n", dir, "conf.d", "b.yaml")
			},
		},
		"the directory of included files made": {
			func(t *testing.T, dir string) string { return put(t, includingConfig, dir, "edge.yaml") },
			func(t *testing.T, dir string) {
				put(t, "backends: {b: {servers: {one: '127.0.0.1:1'}}}\n", dir, "conf.d", "b.yaml")
			},
		},
		"the file made that was missing": {
			func(t *testing.T, dir string) string { return filepath.Join(dir, "later", "edge.yaml") },
			func(t *testing.T, dir string) { put(t, plainConfig, dir, "later", "edge.yaml") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := c.prepare(t, dir)
			w, changes := watched(t, file)
			noticed := func(what string) {
				t.Helper()
				select {
				case <-changes:
				case <-time.After(patience):
					t.Fatalf("%s not noticed; looking at %+v", what, w.sight)
				}
			}
			c.change(t, dir)
			noticed("the change")
			put(t, plainConfig+"timeouts: {client: 1s}\n", file)
			noticed("the next one")
		})
	}
}

// watched watches a file until the test ends.
func watched(t *testing.T, file string) (*watch, <-chan struct{}) {
	t.Helper()
	w, err := newWatch(slog.New(slog.DiscardHandler))
	must(t, err)
	cfg, _ := configs.Load(file) // its errors are not looked at here
	w.Follow(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	changes := make(chan struct{}, 16)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx, file, func() {
			cfg, _ := configs.Load(file) // as the reload does, which also tells its errors
			w.Follow(cfg)
			changes <- struct{}{}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		w.Close()
	})
	return w, changes
}

func TestATouchedFileIsNoChange(t *testing.T) {
	t.Parallel()
	file := put(t, plainConfig, t.TempDir(), "edge.yaml")
	w, err := newWatch(slog.New(slog.DiscardHandler))
	must(t, err)
	defer w.Close()
	cfg, err := configs.Load(file)
	must(t, err)
	w.Follow(cfg)
	put(t, plainConfig, file)
	if w.differs(file) {
		t.Error("the same content is taken for a change")
	}
	put(t, plainConfig+"timeouts: {connect: 1s}\n", file)
	if !w.differs(file) {
		t.Error("a change is taken for the same content")
	}
}

func TestFilesBesideTheConfigurationDoNotMatter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, "{}", dir, "conf.d", "a.yaml")
	file := put(t, includingConfig, dir, "edge.yaml")
	w, err := newWatch(slog.New(slog.DiscardHandler))
	must(t, err)
	defer w.Close()
	cfg, err := configs.Load(file)
	must(t, err)
	w.Follow(cfg)
	for name, matters := range map[string]bool{
		"edge.yaml": true, "conf.d/a.yaml": true, "conf.d/new.yaml": true,
		"access.log": false, "conf.d/readme.txt": false, "edge.yaml~": false,
	} {
		if got := w.matters(filepath.Join(dir, name)); got != matters {
			t.Errorf("%s: matters: %t, wanted %t", name, got, matters)
		}
	}
	if slices.Contains(w.sight.dirs, "/") {
		t.Errorf("the root directory is watched: %v", w.sight.dirs)
	}
}
