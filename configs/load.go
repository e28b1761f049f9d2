package configs

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Example is the edge.yaml that is shipped: three machines, two services.
//
//go:embed edge.yaml
var Example []byte

// Options are a document's surroundings. The zero value has none: no variable
// is set and no other file can be read.
type Options struct {
	// Dir is where relative paths, includes and ${file:} of the document
	// start. Empty leaves paths as they are written.
	Dir string
	// Getenv looks up ${NAME}.
	Getenv func(name string) (value string, set bool)
	// ReadFile reads included files and ${file:}.
	ReadFile func(path string) ([]byte, error)
	// Glob finds included files, as filepath.Glob.
	Glob func(pattern string) ([]string, error)
	// Also are further checks, by those who understand what is only text here. They see the document even if something in it is wrong: then
	// what could not be read is missing from it.
	Also []func(*Config) Errors
}

// Load reads the file at path and all it includes. An error is always Errors:
// everything found wrong in all the files, sorted. Beside an error the Config
// has File, Files, Includes, Digest and Warnings only, so that a reload that was refused
// still knows which files to watch. also are further checks, see Options.
func Load(path string, also ...func(*Config) Errors) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	src, err := os.ReadFile(abs)
	if err != nil {
		return &Config{File: path, Files: []string{abs}}, Errors{unreadable(Pos{path, 1, 1}, err)}
	}
	return Parse(path, src, Options{Dir: filepath.Dir(abs), Getenv: os.LookupEnv, ReadFile: os.ReadFile, Glob: filepath.Glob, Also: also})
}

func unreadable(at Pos, err error) *Error {
	cause := err
	var pe *fs.PathError
	if errors.As(err, &pe) {
		cause = pe.Err
	}
	return &Error{Pos: at, Msg: fmt.Sprintf("the file cannot be read: %v", cause), Err: err}
}

// Parse is Load for a document already read. name is its name in positions.
// The error and the Config beside it are as with Load.
func Parse(name string, src []byte, opt Options) (*Config, error) {
	if opt.Getenv == nil {
		opt.Getenv = func(string) (string, bool) { return "", false }
	}
	if opt.ReadFile == nil {
		opt.ReadFile = func(path string) ([]byte, error) {
			return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("no other file can be read here")}
		}
	}
	if opt.Glob == nil {
		opt.Glob = func(pattern string) ([]string, error) { return nil, nil }
	}
	cfg := newConfig(name)
	d := &decoder{opt: opt, cfg: cfg, defined: map[string]Pos{}, sources: map[string][]byte{}}
	full := name
	if opt.Dir != "" {
		full = filepath.Join(opt.Dir, filepath.Base(name))
	}
	d.sources[full] = src
	cfg.Files = []string{full}
	names := d.files(source{name: name, dir: opt.Dir, base: filepath.Dir(full)}, src)
	cfg.Digest = d.digest()

	errs := append(d.errs, cfg.Validate()...)
	for _, check := range opt.Also {
		errs = append(errs, check(cfg)...)
	}
	cfg.places = nil
	cfg.Warnings = cfg.Warnings.sorted(names)
	if len(errs) > 0 {
		return &Config{File: cfg.File, Files: cfg.Files, Includes: cfg.Includes, Digest: cfg.Digest, Warnings: cfg.Warnings}, errs.sorted(names)
	}
	return cfg, nil
}

func newConfig(name string) *Config {
	c := &Config{File: name, places: map[any]Pos{}}
	c.Global.Pos = Pos{name, 1, 1}
	c.Global.Log = Log{Access: AccessLog{Format: "json", To: "stdout"}, Level: "info"}
	return c
}

// source is a file of the document.
type source struct {
	name string // in positions
	dir  string // relative paths in it start here; "" = they stay relative
	base string // its directory, where its include patterns start
}

// files decodes a file and what it includes, in order, each file once however
// often it is named, and returns the names used in positions.
func (d *decoder) files(main source, src []byte) (names []string) {
	type pending struct {
		source
		src []byte
	}
	for queue := []pending{{main, src}}; len(queue) > 0; queue = queue[1:] {
		f := queue[0]
		names = append(names, f.name)
		d.dir, d.include = f.dir, nil
		root, errs := readYAML(f.name, f.src)
		d.errs = append(d.errs, errs...)
		switch {
		case root == nil || root.kind == broken:
			continue
		case root.kind == null && f.name != main.name:
			continue // an included file may be empty for now
		case root.kind == null:
			d.fail(root.pos, "the document is empty: frontends and backends are wanted")
			continue
		case root.kind != mapping:
			d.fail(root.pos, "the document is %s; a mapping is wanted: frontends:, backends: and so on", root.kind)
			continue
		}
		document.into(d, root, d.cfg)
		for _, pattern := range d.include {
			for _, s := range d.match(f.source, pattern) {
				if b, ok := d.open(s, pattern); ok {
					queue = append(queue, pending{s, b})
				}
			}
		}
	}
	return names
}

// match finds the files of an include pattern.
func (d *decoder) match(from source, pattern Text) (found []source) {
	full := pattern.S
	if !filepath.IsAbs(full) {
		full = filepath.Join(from.base, full)
	}
	d.cfg.Includes = append(d.cfg.Includes, full)
	paths, err := d.opt.Glob(full)
	switch {
	case err != nil:
		d.failErr(pattern.Pos, err, "include: %q is no pattern: %v", pattern.S, err)
	case len(paths) == 0 && !strings.ContainsAny(full, "*?["):
		paths = []string{full} // a file that must be there: reading it gives the reason
	}
	slices.Sort(paths)
	for _, p := range paths {
		s := source{name: p, base: filepath.Dir(p)}
		if rel, err := filepath.Rel(from.base, p); err == nil && !filepath.IsAbs(pattern.S) {
			s.name = filepath.Join(filepath.Dir(from.name), rel)
		}
		if from.dir != "" {
			s.dir = s.base
		}
		found = append(found, s)
	}
	return found
}

// open reads an included file unless it was read before.
func (d *decoder) open(s source, from Text) ([]byte, bool) {
	full := filepath.Join(s.base, filepath.Base(s.name))
	if _, seen := d.sources[full]; seen {
		return nil, false
	}
	b, err := d.read(full)
	if err != nil {
		d.failErr(from.Pos, err, "include: %s", reason(err))
		return nil, false
	}
	return b, true
}

// read reads a file besides the main one and counts it among the Config's.
func (d *decoder) read(path string) ([]byte, error) {
	if b, again := d.sources[path]; again {
		return b, nil
	}
	if !slices.Contains(d.cfg.Files, path) {
		d.cfg.Files = append(d.cfg.Files, path) // unreadable ones too: they may become readable
	}
	b, err := d.opt.ReadFile(path)
	if err == nil {
		d.sources[path] = b
	}
	return b, err
}

// digest is over names, lengths and bytes: no two sets of files have the same.
func (d *decoder) digest() string {
	h := sha256.New()
	for _, f := range d.cfg.Files {
		b, readable := d.sources[f]
		fmt.Fprintf(h, "%q %t %d\n", f, readable, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}
