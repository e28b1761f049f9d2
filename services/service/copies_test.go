package service

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the services' copies of service.go")

// folders are the services built from service.go: folder, greeting.
var folders = []struct{ dir, greeting string }{
	{"service-a", "Hello from A\n"},
	{"service-b", "Hello from B\n"},
}

func TestEachServiceCarriesACopyOfServiceGo(t *testing.T) {
	original, err := os.ReadFile("service.go")
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte("// Code generated from ../service/service.go by its tests; DO NOT EDIT.\n\n"),
		bytes.Replace(original, []byte("\npackage service\n"), []byte("\npackage main\n"), 1)...)
	for _, f := range folders {
		name := filepath.Join("..", f.dir, "service.go")
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not the copy of service.go it must be (%v): run go test ./services/service -update", name, err)
		}
	}
}

// build does what the folder's Dockerfile does: it compiles the folder alone, outside this module and
// without a network, and returns the binary.
func build(t *testing.T, dir, version string) string {
	t.Helper()
	recipe, err := os.ReadFile(filepath.Join("..", dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	src := t.TempDir()
	for _, name := range []string{"main.go", "service.go"} {
		if !strings.Contains(string(recipe), name) {
			t.Errorf("%s/Dockerfile does not copy %s", dir, name)
		}
		text, err := os.ReadFile(filepath.Join("..", dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(src, dir)
	for _, args := range [][]string{
		{"mod", "init", dir},
		{"build", "-trimpath", "-ldflags", "-s -w -X main.version=" + version, "-o", binary, "."},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir = src
		cmd.Env = append(os.Environ(), "GOPROXY=off", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s in a copy of %s: %v\n%s", strings.Join(args, " "), dir, err, out)
		}
	}
	return binary
}
