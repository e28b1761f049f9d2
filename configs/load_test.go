package configs

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what came out into testdata")

// fake is a document's surroundings made of a map of files under /etc/edge.
func fake(files map[string]string, env map[string]string) Options {
	return Options{
		Dir: "/etc/edge",
		Getenv: func(name string) (string, bool) {
			v, ok := env[name]
			return v, ok
		},
		ReadFile: func(p string) ([]byte, error) {
			if s, ok := files[strings.TrimPrefix(p, "/etc/edge/")]; ok {
				return []byte(s), nil
			}
			return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
		},
		Glob: func(pattern string) (found []string, err error) {
			for name := range files {
				ok, err := path.Match(pattern, "/etc/edge/"+name)
				if err != nil {
					return nil, err
				}
				if ok {
					found = append(found, "/etc/edge/"+name)
				}
			}
			return found, err
		},
	}
}

func parse(t *testing.T, src string) *Config {
	t.Helper()
	c, err := Parse("edge.yaml", []byte(src), fake(nil, nil))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c
}

// site is a whole document around the lines given, which go to the end.
const site = "frontends: {web: {bind: ':80', default_backend: api}}\nbackends: {api: {servers: {s1: '10.0.0.1:80'}}}\n"

func TestDocumentsReportWhatTestdataSays(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no documents", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]string{}
			for _, f := range ar.Files {
				files[f.Name] = string(f.Data)
			}
			c, err := Parse("edge.yaml", []byte(files["edge.yaml"]), fake(files, nil))
			got := map[string]string{}
			if err != nil {
				got["errors"] = err.Error() + "\n"
			}
			if len(c.Warnings) > 0 {
				got["warnings"] = c.Warnings.Error() + "\n"
			}
			if *update {
				ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return f.Name == "errors" || f.Name == "warnings" })
				for _, k := range []string{"errors", "warnings"} {
					if got[k] != "" {
						ar.Files = append(ar.Files, txtar.File{Name: k, Data: []byte(got[k])})
					}
				}
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, k := range []string{"errors", "warnings"} {
				if d := cmp.Diff(files[k], got[k]); d != "" {
					t.Errorf("%s (-want +got):\n%s", k, d)
				}
			}
		})
	}
}

func TestLoadReadsFilesAndGlobsFromTheFilesOwnDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, s string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("edge.yaml", "include: [conf.d/*.yaml, edge.yaml]\nfrontends: {web: {bind: [{address: ':0', tls: {cert: a.pem}}], default_backend: '${file:name}'}}\n")
	write("name", "api\n")
	write("conf.d/b.yaml", "backends: {api: {servers: {s1: '10.0.0.1:80'}}}\n")
	write("conf.d/a.yaml", "include: ../conf.d/*.yaml\nfrontends: {tls: {bind: [{address: ':0', tls: {cert: b.pem, key: /k.pem}}], default_backend: api}}\n")
	write("conf.d/empty.yaml", "# nothing yet\n")

	c, err := Load(filepath.Join(dir, "edge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range c.Files {
		files = append(files, strings.TrimPrefix(f, dir+"/"))
	}
	if d := cmp.Diff([]string{"edge.yaml", "name", "conf.d/a.yaml", "conf.d/b.yaml", "conf.d/empty.yaml"}, files); d != "" {
		t.Error("files:", d)
	}
	if want := filepath.Join(dir, "conf.d/*.yaml"); c.Includes[0] != want {
		t.Errorf("includes %q, want %q first", c.Includes, want)
	}
	if got := c.Frontends[0].Binds[0].TLS; got.Cert.S != dir+"/a.pem" || got.Key.S != dir+"/a.pem" {
		t.Errorf("main file's paths: %+v", got)
	}
	if got := c.Frontends[1].Binds[0].TLS; got.Cert.S != dir+"/conf.d/b.pem" || got.Key.S != "/k.pem" {
		t.Errorf("included file's paths: %+v", got)
	}
	if got := c.Frontends[0].DefaultBackend.S; got != "api" {
		t.Errorf("default_backend %q, from a file with a line end", got)
	}

	before := c.Digest
	write("name", "api")
	again, err := Load(filepath.Join(dir, "edge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != 64 || again.Digest == before {
		t.Errorf("digest %q did not change with a file that ${file:} reads", before)
	}
}

func TestAFileThatCannotBeReadIsAnErrorAtItsFirstLine(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "edge.yaml")
	c, err := Load(name)
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != name+":1:1: the file cannot be read: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if len(c.Files) != 1 || c.Files[0] != name {
		t.Errorf("files to watch: %q", c.Files)
	}
}

func TestARefusedDocumentStillNamesTheFilesToWatch(t *testing.T) {
	t.Parallel()
	c, err := Parse("edge.yaml", []byte("include: a.yaml\nnope: 1\n"), fake(map[string]string{"a.yaml": "x: 1"}, nil))
	if err == nil {
		t.Fatal("accepted")
	}
	if d := cmp.Diff([]string{"/etc/edge/edge.yaml", "/etc/edge/a.yaml"}, c.Files); d != "" || c.Frontends != nil {
		t.Error(d, c.Frontends)
	}
}

func TestTheExampleParsesWithoutAWarning(t *testing.T) {
	t.Parallel()
	c, err := Parse("edge.yaml", Example, fake(nil, map[string]string{"VM2_ENDPOINT": "192.0.2.2:51820"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Error(c.Warnings)
	}
	if len(c.Frontends) != 1 || len(c.Backends) != 2 || len(c.Mesh.Peers) != 2 || len(c.Frontends[0].Routes) != 2 {
		t.Errorf("sections: %+v", c)
	}
	if got := c.Mesh.Peers[0].Endpoint + " " + c.Mesh.Peers[1].Endpoint; got != "192.0.2.2:51820 vm3.example.net:51820" {
		t.Errorf("endpoints %s", got)
	}
}
