package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells systemd how the service is (sd_notify(3)): Type=notify or notify-reload, and WatchdogSec. Without NOTIFY_SOCKET in
// the environment, as in a terminal, it tells nobody. Its methods may be called from any goroutine.
type notifier struct {
	conn *net.UnixConn // nil: nobody listens
	// Watchdog is how long the service manager waits between two signs of life before it kills; 0 = for ever.
	Watchdog time.Duration
}

// newNotifier reads the environment that the service manager made.
func newNotifier(getenv func(string) string) (*notifier, error) {
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return &notifier{}, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"}) // a leading @ is the abstract namespace
	if err != nil {
		return &notifier{}, fmt.Errorf("notify the service manager: %w", err)
	}
	n := &notifier{conn: conn}
	if pid := getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
			n.Watchdog = time.Duration(usec) * time.Microsecond
		}
	}
	return n, nil
}

// Ready tells that the service serves, with a status in words.
func (n *notifier) Ready(status string) { n.send("READY=1", "STATUS="+oneLine(status)) }

// Reloading tells that the configuration is being read again; Ready has to follow.
func (n *notifier) Reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return // notify-reload wants the time; without it the message would be an error to systemd
	}
	n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping tells that the service is on its way out.
func (n *notifier) Stopping() { n.send("STOPPING=1", "STATUS=draining") }

// Alive is the sign of life.
func (n *notifier) Alive() { n.send("WATCHDOG=1") }

// send does not report errors: the service goes on as well without its manager.
func (n *notifier) send(lines ...string) {
	if n.conn != nil {
		_, _ = n.conn.Write([]byte(strings.Join(lines, "\n")))
	}
}

func (n *notifier) Close() {
	if n.conn != nil {
		_ = n.conn.Close() // nothing is buffered
	}
}

// oneLine keeps a message from ending early.
func oneLine(s string) string {
	first, _, more := strings.Cut(s, "\n")
	if more {
		first += " ..."
	}
	return first
}
