package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/approovia/edge/mesh"
)

// running is a daemon that serves until stop is called or the test ends.
func running(t *testing.T, file string, change func(*settings)) (d *daemon, stop func() error) {
	t.Helper()
	s := settings{Drain: patience, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&s)
	}
	d, err := newDaemon(file, s)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = d.Run(ctx, nil)
	}()
	stop = func() error {
		cancel()
		<-ended
		return failed
	}
	t.Cleanup(func() { _ = stop() }) // the error is the test's business, if it has asked
	if !await(d.Ready) {
		t.Fatal("it never serves")
	}
	return d, stop
}

// web is the URL of the first bind.
func web(d *daemon) string {
	_, address, _ := strings.Cut(d.Addrs()[0], "=")
	return "http://" + address
}

// badInputs are documents with one mistake each. In them $TAKEN is a port in use, and the key files are there but for missing.key.
var badInputs = map[string]struct {
	text string
	says string // regular expression: place, what was written, what would do
	open bool   // only opening it tells
}{
	"an unknown key": {
		"frontends:\n  web: {bnd: '127.0.0.1:0', default_backend: app}\n" + oneBackend,
		`edge\.yaml:2:9: frontend "web": unknown key "bnd" \(known: .*\); did you mean "bind"\?`, false},
	"a wrong unit": {
		"timeouts: {connect: 5 sec}\n" + plainConfig,
		`edge\.yaml:1:21: timeouts: connect: "5 sec" has the wrong unit " sec": .* would do`, false},
	"a duplicate route": {
		"frontends:\n  web:\n    bind: 127.0.0.1:0\n    routes:\n      - {path: /a, backend: app}\n      - {path: /a, backend: app}\n" + oneBackend,
		`edge\.yaml:6:9: frontend "web": the route /a is there already, at .*edge\.yaml:5:9: .* would tell them apart`, false},
	"an unknown backend": {
		"frontends:\n  web: {bind: '127.0.0.1:0', default_backend: ap}\n" + oneBackend,
		`edge\.yaml:2:47: frontend "web": default_backend: unknown backend "ap" \(known: app\); did you mean "app"\?`, false},
	"a port in use": {
		"frontends:\n  web: {bind: '$TAKEN', default_backend: app}\n" + oneBackend,
		`edge\.yaml:2:\d+: .*\$TAKEN.*address already in use`, true},
	"a key that is not there": {
		"mesh: {private_key_file: missing.key, address: 10.0.0.11/24}\n" + plainConfig,
		`edge\.yaml:1:26: mesh: private_key_file: .*missing\.key: no such file or directory: edge mesh keygen .*missing\.key makes one`, false},
	"a key that others can read": {
		"mesh: {private_key_file: open.key, address: 10.0.0.11/24}\n" + plainConfig,
		`edge\.yaml:1:26: mesh: private_key_file: .*open\.key: mode 0644 lets group or others at it: chmod 600`, false},
	"a file that is no key": {
		"mesh: {private_key_file: edge.yaml, address: 10.0.0.11/24}\n" + plainConfig,
		`edge\.yaml:1:26: mesh: private_key_file: .*a WireGuard key has 44`, false},
	"a peer that is this machine": {
		"mesh: {private_key_file: mesh.key, address: 10.0.0.11/24, peers: {vm2: {public_key: '$PUBLIC', allowed_ips: [10.0.0.12/32]}}}\n" + plainConfig,
		`edge\.yaml:1:\d+: mesh: peer "vm2": its public key .* is this node's own`, false},
	"overlapping allowed_ips": {
		"mesh:\n  private_key_file: mesh.key\n  address: 10.0.0.11/24\n  peers:\n" +
			"    vm2: {public_key: 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=', allowed_ips: [10.0.0.0/25]}\n" +
			"    vm3: {public_key: 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=', allowed_ips: [10.0.0.13/32]}\n" + plainConfig,
		`edge\.yaml:6:85: mesh: peer "vm3": allowed_ips 10\.0\.0\.13/32 overlaps 10\.0\.0\.0/25 of peer "vm2" at .*edge\.yaml:5:85: an address has one owner`, false},
	"an unknown action": {
		"frontends:\n  web: {bind: '127.0.0.1:0', default_backend: app, request: [dney]}\n" + oneBackend,
		`edge\.yaml:2:\d+: .*dney.*did you mean "deny"\?`, false},
}

const oneBackend = "backends: {app: {servers: {one: '127.0.0.1:1'}}}\n"

// badInput writes one of them with its surroundings, and returns the file and what has to be said of it.
func badInput(t *testing.T, dir, text, says string) (file string, want *regexp.Regexp) {
	t.Helper()
	key, err := mesh.NewPrivateKey()
	must(t, err, writeKey(filepath.Join(dir, "mesh.key"), key))
	open := filepath.Join(dir, "open.key")
	must(t, writeKey(open, key), os.Chmod(open, 0o644))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { taken.Close() })
	fill := strings.NewReplacer("$TAKEN", taken.Addr().String(), "$PUBLIC", key.Public().String())
	says = strings.ReplaceAll(says, `\$TAKEN`, regexp.QuoteMeta(taken.Addr().String()))
	return put(t, fill.Replace(text), dir, "edge.yaml"), regexp.MustCompile(`(?m)^\S*` + says)
}

func TestBadInputIsRefusedAtStartWithItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range badInputs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, want := badInput(t, t.TempDir(), c.text, c.says)
			for _, verb := range []string{"run", "check"} {
				if verb == "check" && c.open {
					continue
				}
				var stdout, stderr bytes.Buffer
				if status := edge(context.Background(), []string{verb, "-c", file}, &stdout, &stderr); status != exitUsage {
					t.Errorf("edge %s: status %d", verb, status)
				}
				if !want.Match(stderr.Bytes()) {
					t.Errorf("edge %s:\n%s\ndoes not match\n%s", verb, &stderr, want)
				}
				if stdout.Len() > 0 {
					t.Errorf("edge %s printed %q", verb, &stdout)
				}
			}
		})
	}
}

func TestBadInputIsRefusedByAReloadAndNothingChanges(t *testing.T) {
	t.Parallel()
	for name, c := range badInputs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "as before") }))
			defer origin.Close()
			good := strings.Replace("global: {log: {access: off}}\n"+plainConfig, "127.0.0.1:1", strings.TrimPrefix(origin.URL, "http://"), 1)
			d, _ := running(t, put(t, good, dir, "edge.yaml"), nil)
			before := fmt.Sprint(d.Addrs())
			_, want := badInput(t, dir, "global: {log: {access: off}}\n"+c.text, bumped(c.says))

			r, err := d.Reload(context.Background())
			must(t, err)
			if r.OK || r.Generation != 1 {
				t.Fatalf("accepted: %+v", r)
			}
			if !want.MatchString(strings.Join(r.Errors, "\n")) {
				t.Errorf("%q\ndoes not match\n%s", r.Errors, want)
			}
			if now := fmt.Sprint(d.Addrs()); now != before {
				t.Errorf("listening on %s instead of %s", now, before)
			}
			if a, err := fetch(context.Background(), http.DefaultClient, web(d)); err != nil || a.body != "as before" {
				t.Errorf("%+v, %v", a, err)
			}
			report, err := d.Report(context.Background())
			must(t, err)
			if report.LastReload.OK || report.Refused != 1 {
				t.Errorf("the report does not show it: %+v", report.LastReload)
			}
		})
	}
}

// bumped moves the places in a pattern down by a line.
func bumped(says string) string {
	return regexp.MustCompile(`yaml:(\d+):`).ReplaceAllStringFunc(says, func(s string) string {
		var line int
		fmt.Sscanf(s, "yaml:%d:", &line)
		return fmt.Sprintf("yaml:%d:", line+1)
	})
}

func TestWhatIsUnderWayFinishesAfterTheSignalToStop(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		io.WriteString(w, "whole")
	}))
	defer origin.Close()
	dir := t.TempDir()
	text := "global: {admin: 'unix:admin.sock', metrics: '127.0.0.1:0', log: {access: off}}\n" + plainConfig
	d, stop := running(t, put(t, strings.Replace(text, "127.0.0.1:1", strings.TrimPrefix(origin.URL, "http://"), 1), dir, "edge.yaml"), nil)
	ops := "http://" + d.metrics.Addr().String()
	if a, err := fetch(context.Background(), http.DefaultClient, ops+"/readyz"); err != nil || a.status != 200 {
		t.Fatalf("ready: %+v, %v", a, err)
	}
	address := web(d)
	answers := make(chan answer, 1)
	go func() {
		a, _ := fetch(context.Background(), http.DefaultClient, address) // an error is an empty answer
		answers <- a
	}()
	<-arrived
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	if !await(func() bool { return !d.Ready() }) {
		t.Fatal("it does not drain")
	}
	// Whoever asks sees it drain, and no new connection is taken.
	if a, err := fetch(context.Background(), http.DefaultClient, ops+"/readyz"); err != nil || a.status != 503 {
		t.Errorf("ready while draining: %+v, %v", a, err)
	}
	var stdout, stderr bytes.Buffer
	if status := edge(context.Background(), []string{"status", "--admin", "unix:" + filepath.Join(dir, "admin.sock")}, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "draining") {
		t.Errorf("status %d: %s%s", status, &stdout, &stderr)
	}
	if !await(func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	}) {
		t.Error("new connections are still taken")
	}
	close(finish)
	if a := <-answers; a.status != 200 || a.body != "whole" {
		t.Errorf("the request under way: %+v", a)
	}
	must(t, <-ended)
}

func TestADrainEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-finish
	}))
	defer origin.Close()
	defer close(finish)
	file := put(t, strings.Replace("global: {log: {access: off}}\n"+plainConfig, "127.0.0.1:1", strings.TrimPrefix(origin.URL, "http://"), 1), t.TempDir(), "edge.yaml")
	d, stop := running(t, file, func(s *settings) { s.Drain = 50 * time.Millisecond })
	cut := make(chan error, 1)
	go func() {
		_, err := fetch(context.Background(), http.DefaultClient, web(d))
		cut <- err
	}()
	<-arrived
	must(t, stop())
	if err := <-cut; err == nil {
		t.Error("the request was answered, but its server never did")
	}
}

func TestTheLogLevelFollowsAReload(t *testing.T) {
	t.Parallel()
	file := put(t, "global: {log: {access: off, level: error}}\n"+plainConfig, t.TempDir(), "edge.yaml")
	level := new(slog.LevelVar)
	d, _ := running(t, file, func(s *settings) { s.Level = level })
	if level.Level() != slog.LevelError {
		t.Errorf("at start: %s", level.Level())
	}
	put(t, "global: {log: {access: off, level: debug}}\n"+plainConfig, file)
	r, err := d.Reload(context.Background())
	must(t, err)
	if !r.OK || level.Level() != slog.LevelDebug {
		t.Errorf("after the reload: %s, %+v", level.Level(), r)
	}
	put(t, "global: {log: {level: warn}}\nfrontends: {}\n", file)
	if r, err = d.Reload(context.Background()); err != nil || r.OK || level.Level() != slog.LevelDebug {
		t.Errorf("after a refused reload: %s, %+v, %v", level.Level(), r, err)
	}
}

func TestWhatFailedToOpenLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	dir := t.TempDir()
	file := put(t, "global: {admin: 'unix:admin.sock', metrics: '127.0.0.1:0'}\n"+strings.Replace(plainConfig, "127.0.0.1:0", taken.Addr().String(), 1), dir, "edge.yaml")
	if _, err := newDaemon(file, settings{Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Fatal("a port in use was opened")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.sock")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
