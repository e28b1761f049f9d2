package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/approovia/edge/"

// floors are the storeys of the house: a room imports rooms of lower floors only. Every room is in it, with the rooms inside it unless
// they have a row of their own.
var floors = map[string]int{
	"configs":                  0,
	"mesh":                     0,
	"haproxy-compat/cfgfile":   0,
	"proxy/loop":               0,
	"proxy/message":            0,
	"proxy/netio":              0,
	"proxy/balance":            0,
	"proxy/table":              0,
	"proxy/control":            0,
	"proxy/certs":              0,
	"deployer/docker":          0,
	"deployer/registry":        0,
	"deployer/secrets":         0,
	"deployer/ssh":             0,
	"services":                 0,
	"proxy/http1":              1,
	"proxy/http2":              1,
	"proxy/http3":              1,
	"proxy/exchange":           1,
	"proxy/listener":           1,
	"haproxy-compat/keywords":  1,
	"deployer":                 1,
	"proxy/sample":             2,
	"proxy/health":             2,
	"haproxy-compat/translate": 2,
	"proxy/acl":                3,
	"proxy/accesslog":          3,
	"proxy/upstream":           3,
	"proxy/admin":              3,
	"proxy/metrics":            3,
	"proxy/dashboard":          3,
	"haproxy-compat/dropin":    3,
	"proxy/rules":              4,
	"proxy":                    5,
	"cmd/edge":                 6,
	"bench":                    6,
	"bench/load":               5,
	"bench/meshpeer":           5,
	"bench/stdproxy":           5,
}

// bans are the imports that a floor alone would allow. A name ending in a slash is a room and all inside it, but not the room above.
var bans = []struct {
	from   []string
	except []string
	never  []string
	why    string
}{
	{from: []string{"proxy/sample", "proxy/acl", "proxy/rules"}, never: []string{"proxy/http1", "proxy/http2", "proxy/http3", "proxy/loop"},
		why: "rules see messages, not wires"},
	{from: []string{"proxy/"}, never: []string{"configs"},
		why: "settings arrive as constructor arguments; only proxy itself reads the document"},
	{from: []string{"proxy", "proxy/"}, never: []string{"mesh", "deployer", "deployer/", "haproxy-compat/"},
		why: "the data path knows nothing of what surrounds it"},
	{from: []string{""}, except: []string{"proxy/certs"}, never: []string{"github.com/caddyserver/certmagic"},
		why: "certificates are the business of one room"},
	{from: []string{""}, except: []string{"mesh"}, never: []string{"golang.zx2c4.com/wireguard", "gvisor.dev/gvisor"},
		why: "only the mesh knows how a tunnel is made"},
	{from: []string{""}, except: []string{"deployer", "deployer/"}, never: []string{"golang.org/x/crypto/ssh", "github.com/docker", "github.com/moby"},
		why: "only the deployer enters other machines"},
	{from: []string{""}, except: []string{"cmd/edge"}, never: []string{"github.com/spf13"},
		why: "flags are typed at the front door"},
}

// holds says whether a room is what a name in bans means.
func holds(name, room string) bool {
	if inside, ok := strings.CutSuffix(name, "/"); ok || name == "" {
		return name == "" || strings.HasPrefix(room, inside+"/")
	}
	return room == name
}

func anyHolds(names []string, room string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return holds(n, room) })
}

// floorOf is the floor of a room, or of the nearest room it is inside.
func floorOf(room string) (int, bool) {
	for at := room; at != "."; at = filepath.ToSlash(filepath.Dir(at)) {
		if f, ok := floors[at]; ok {
			// proxy stands for itself alone: what is under it needs rows.
			return f, at == room || at != "proxy"
		}
	}
	return 0, false
}

func TestARoomImportsLowerFloorsOnly(t *testing.T) {
	t.Parallel()
	rooms := imports(t)
	if len(rooms["cmd/edge"]) == 0 || len(rooms["proxy"]) == 0 {
		t.Fatalf("only %d rooms were found: is this the right directory?", len(rooms))
	}
	for room, paths := range rooms {
		floor, known := floorOf(room)
		if !known {
			t.Errorf("%s has no floor: give it a row in floors_test.go and in docs/architecture.md", room)
			continue
		}
		for _, path := range paths {
			for _, wrong := range broken(room, floor, path) {
				t.Errorf("%s imports %s: %s", room, path, wrong)
			}
		}
	}
}

func TestAForbiddenImportIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ room, path string }{
		{"proxy/acl", module + "proxy/loop"},
		{"proxy/rules", module + "proxy/http1"},
		{"proxy/metrics", module + "configs"},
		{"proxy", module + "mesh"},
		{"proxy/upstream", module + "deployer/ssh"},
		{"proxy/loop", module + "proxy/http1"},
		{"proxy/http1", module + "proxy/http2"},
		{"configs", module + "mesh"},
		{"proxy", "gvisor.dev/gvisor/pkg/tcpip"},
		{"cmd/edge", "golang.zx2c4.com/wireguard/device"},
		{"mesh", "golang.org/x/crypto/ssh"},
		{"proxy", "github.com/caddyserver/certmagic"},
	} {
		floor, _ := floorOf(c.room)
		if len(broken(c.room, floor, c.path)) == 0 {
			t.Errorf("%s may import %s, which it must not", c.room, c.path)
		}
	}
}

// broken tells which rules an import breaks.
func broken(room string, floor int, path string) (wrong []string) {
	other, ours := strings.CutPrefix(path, module)
	if lower, known := floorOf(other); ours && (!known || lower >= floor) {
		wrong = append(wrong, "floor "+strconv.Itoa(floor)+" may not import floor "+strconv.Itoa(lower))
	}
	for _, b := range bans {
		if !anyHolds(b.from, room) || anyHolds(b.except, room) {
			continue
		}
		for _, n := range b.never {
			if ours && holds(n, other) || !ours && (path == n || strings.HasPrefix(path, n+"/")) {
				wrong = append(wrong, b.why)
			}
		}
	}
	return wrong
}

// imports reads what every package of the module imports, tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	rooms := map[string][]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		room = filepath.ToSlash(room)
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if !slices.Contains(rooms[room], p) {
				rooms[room] = append(rooms[room], p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rooms
}
