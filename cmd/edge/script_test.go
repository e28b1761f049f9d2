package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/approovia/edge/proxy/admin"
	"github.com/approovia/edge/services/service"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a condition may take to come true on a machine that is busy.
const patience = 20 * time.Second

// quickExit keeps a program built with the race detector from waiting a second before it ends.
const quickExit = "GORACE=atexit_sleep_ms=10"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"edge": main})
}

// The scripts run the real program. They have these commands besides testscript's own:
//
//	origin NAME            starts a service on a free port of 127.0.0.1 and puts its address into the variable NAME
//	expand FILE            replaces $NAME in a file by the variable
//	until [!] REGEXP ARGS  runs edge with the arguments until its output matches, or no longer does
//	appears REGEXP FILE    waits until a file has something
//	signal HUP|TERM        sends a signal to the program in the background
//	get STATUS PATH        asks the first bind of the edge behind admin.sock, and prints the body
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EDGE_LOOP", os.Getenv("EDGE_LOOP"))
			name, value, _ := strings.Cut(quickExit, "=")
			env.Setenv(name, value)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"origin": origin, "expand": expand, "until": until, "appears": appears, "signal": send, "get": get,
		},
	})
}

func origin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: origin NAME")
	}
	s := httptest.NewServer(service.Handler(args[0], args[0], "test"))
	ts.Defer(s.Close)
	ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until [!] REGEXP ARGS...")
	}
	wanted, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	last := ""
	if !await(func() bool {
		err := ts.Exec("edge", args[1:]...)
		last = fmt.Sprint(ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		return err == nil && wanted.MatchString(last) != neg
	}) {
		ts.Fatalf("edge %s has not come to match %s (wanted: %t):\n%s", strings.Join(args[1:], " "), args[0], !neg, last)
	}
}

func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: appears REGEXP FILE")
	}
	wanted, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	if !await(func() bool { return wanted.MatchString(ts.ReadFile(args[1])) }) {
		ts.Fatalf("%s never appeared in %s:\n%s", args[0], args[1], ts.ReadFile(args[1]))
	}
}

func send(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}
	if neg || len(args) != 1 || signals[args[0]] == nil || len(ts.BackgroundCmds()) != 1 {
		ts.Fatalf("usage: signal HUP|TERM, with one program in the background")
	}
	ts.Check(ts.BackgroundCmds()[0].Process.Signal(signals[args[0]]))
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get STATUS PATH")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	client, err := admin.Dial("unix:" + ts.MkAbs("admin.sock"))
	ts.Check(err)
	defer client.Close()
	r, err := client.Report(context.Background())
	ts.Check(err)
	res, err := http.Get("http://" + r.Frontends[0].Binds[0] + args[1])
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s", body)
	if res.StatusCode != status {
		ts.Fatalf("GET %s: status %d instead of %d: %s", args[1], res.StatusCode, status, body)
	}
}

// await asks again and again until ok says so, and is false if it never does.
func await(ok func() bool) bool {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-look.C {
		if ok() {
			return true
		}
	}
	return false
}
