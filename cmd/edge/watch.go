package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/fsnotify/fsnotify"
)

// settle is how long the files must be left alone before they are read: editors and copies write in several steps.
const settle = 200 * time.Millisecond

// watch tells when the files of a configuration have changed. It watches directories, because editors replace a file by another of the
// same name, and every symbolic link on the way, because Kubernetes replaces a directory by changing a link to it.
type watch struct {
	log    *slog.Logger
	events *fsnotify.Watcher

	mu     sync.Mutex
	sight  sight
	digest string // of what was read last
}

// sight is what to look at.
type sight struct {
	dirs     []string  // are watched
	names    []string  // files and links in them whose change matters
	patterns []pattern // the same for what an include may match
}

// pattern is what files in one directory may be called.
type pattern struct{ dir, base string }

func (p pattern) matches(name string) bool {
	ok, err := filepath.Match(p.base, filepath.Base(name))
	return err == nil && ok && filepath.Dir(name) == p.dir
}

func newWatch(log *slog.Logger) (*watch, error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch the configuration: %w", err)
	}
	return &watch{log: log, events: events}, nil
}

// Follow watches the files of cfg from now on, which has just been read, be it with errors.
func (w *watch) Follow(cfg *configs.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.digest = cfg.Digest
	w.look(cfg)
}

// look is called with mu held.
func (w *watch) look(cfg *configs.Config) {
	var s sight
	for _, f := range cfg.Files {
		s.follow(f)
	}
	for _, pattern := range cfg.Includes {
		s.match(pattern)
	}
	w.sight = s
	watched := w.events.WatchList()
	for _, dir := range s.dirs {
		// Again and again: after a swap the same name may stand for another directory, which adding it tells.
		if err := w.events.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.log.Warn("changes of the configuration may go unseen", "directory", dir, "error", err)
		}
	}
	for _, dir := range watched {
		if !slices.Contains(s.dirs, dir) {
			_ = w.events.Remove(dir) // it fails when the directory is gone, and the watch with it
		}
	}
}

// Run calls changed after each change of the files' contents, until ctx ends. A touched file is no change.
func (w *watch) Run(ctx context.Context, file string, changed func()) {
	quiet := time.NewTimer(settle)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-w.events.Events:
			if !open {
				return
			}
			if w.matters(e.Name) {
				quiet.Reset(settle)
			}
		case err, open := <-w.events.Errors:
			if !open {
				return
			}
			w.log.Warn("watch the configuration", "error", err)
			quiet.Reset(settle) // events may have been lost: look
		case <-quiet.C:
			if w.differs(file) {
				changed()
			}
		}
	}
}

func (w *watch) Close() { _ = w.events.Close() } // it holds nothing but descriptors

func (w *watch) matters(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.sight
	return slices.Contains(s.names, name) || slices.Contains(s.dirs, name) || // a directory tells of its own end under its own name
		slices.ContainsFunc(s.patterns, func(p pattern) bool { return p.matches(name) })
}

// differs reads the files and says whether they hold something else than last time. Links may lead elsewhere now, so it looks anew.
func (w *watch) differs(file string) bool {
	cfg, _ := configs.Load(file) // the reload that follows tells its errors
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look(cfg)
	return cfg.Digest != w.digest
}

// follow adds every directory in which a change may give path another content: its own, and those of the symbolic links on the way.
// What does not exist yet is awaited where it would appear.
func (s *sight) follow(path string) {
	const mostLinks = 40 // as the kernel
	for range mostLinks {
		next := s.step(filepath.Clean(path))
		if next == "" {
			return
		}
		path = next
	}
}

// step walks down path and returns it with its first symbolic link resolved, or "" if there is none.
func (s *sight) step(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, string(filepath.Separator)), string(filepath.Separator))
	at := string(filepath.Separator)
	for i, part := range parts {
		name := filepath.Join(at, part)
		info, err := os.Lstat(name)
		last := i == len(parts)-1
		link := err == nil && info.Mode()&fs.ModeSymlink != 0
		if err != nil || link || last {
			s.add(at, name)
		}
		switch {
		case err != nil:
			return ""
		case link:
			to, err := os.Readlink(name)
			if err != nil {
				return ""
			}
			if !filepath.IsAbs(to) {
				to = filepath.Join(at, to)
			}
			return filepath.Join(append([]string{to}, parts[i+1:]...)...)
		}
		at = name
	}
	return ""
}

func (s *sight) add(dir, name string) {
	if !slices.Contains(s.dirs, dir) {
		s.dirs = append(s.dirs, dir)
	}
	if !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
}

// match adds the directories in which a file may appear that matches an include pattern.
func (s *sight) match(include string) {
	dir, base := filepath.Split(include)
	dir = filepath.Clean(dir)
	if strings.ContainsAny(dir, "*?[") {
		s.match(dir) // directories that match may appear as well
	} else {
		s.follow(dir)
	}
	found, err := filepath.Glob(dir)
	if err != nil {
		return // Load has told what is wrong with the pattern
	}
	for _, d := range found {
		s.follow(d)
		if real, err := filepath.EvalSymlinks(d); err == nil {
			s.dirs = append(s.dirs, real)
			s.patterns = append(s.patterns, pattern{real, base})
		}
	}
}
