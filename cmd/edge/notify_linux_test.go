package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manager listens as systemd does, and returns the environment it would give.
func serviceManager(t *testing.T) (*net.UnixConn, map[string]string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	return conn, map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "100000"}
}

// told reads messages until one begins with the prefix, and returns it.
func told(t *testing.T, conn *net.UnixConn, prefix string) string {
	t.Helper()
	for b := make([]byte, 4096); ; {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("waiting for %s: %v", prefix, err)
		}
		if s := string(b[:n]); strings.HasPrefix(s, prefix) {
			return s
		}
	}
}

func TestTheServiceManagerIsToldOfEveryStep(t *testing.T) {
	t.Parallel()
	conn, env := serviceManager(t)
	file := put(t, "global: {log: {access: off}}\n"+plainConfig, t.TempDir(), "edge.yaml")
	d, stop := running(t, file, func(s *settings) { s.Getenv = func(name string) string { return env[name] } })

	if got := told(t, conn, "READY=1"); got != "READY=1\nSTATUS=serving" {
		t.Errorf("ready: %q", got)
	}
	told(t, conn, "WATCHDOG=1")
	told(t, conn, "WATCHDOG=1")

	put(t, "frontends: {}\n", file)
	d.want()
	if got := told(t, conn, "RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
		t.Errorf("reloading: %q", got)
	}
	if got := told(t, conn, "READY=1"); !strings.Contains(got, "STATUS=serving; the last reload was refused: "+file+":1:") {
		t.Errorf("refused: %q", got)
	}
	must(t, stop())
	told(t, conn, "STOPPING=1")
}

func TestWithoutAServiceManagerNothingIsSent(t *testing.T) {
	t.Parallel()
	n, err := newNotifier(func(string) string { return "" })
	must(t, err)
	n.Ready("serving") // must not panic
	n.Close()
	if n.Watchdog != 0 {
		t.Errorf("watchdog: %s", n.Watchdog)
	}
}

func TestAWatchdogOfAnotherProcessIsNotOurs(t *testing.T) {
	t.Parallel()
	_, env := serviceManager(t)
	env["WATCHDOG_PID"] = "1"
	n, err := newNotifier(func(name string) string { return env[name] })
	must(t, err)
	defer n.Close()
	if n.Watchdog != 0 {
		t.Errorf("watchdog: %s", n.Watchdog)
	}
}
