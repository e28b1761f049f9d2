package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

const upgrade = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"

// echoSocket is a server that accepts every upgrade and then sends back what it gets, until the end of it.
func echoSocket(t testing.TB) string {
	return rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		if !strings.Contains(strings.ToLower(skipHead(in)), "upgrade: websocket") {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, in)
	})
}

// socket is a client's end of a tunnel.
type socket struct{ *wire }

func openSocket(t testing.TB, addr string) socket {
	t.Helper()
	w := socket{dialWire(t, addr)}
	w.send(upgrade)
	if head := skipHead(w.in); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("%q", head)
	}
	return w
}

// exchange sends a message and waits for its echo.
func (s socket) exchange(text string) error {
	if _, err := io.WriteString(s, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(s.in, b); err != nil {
		return err
	}
	if string(b) != text {
		return io.ErrNoProgress
	}
	return nil
}

func (s socket) echo(text string) {
	s.t.Helper()
	if err := s.exchange(text); err != nil {
		s.t.Fatalf("echo %.20q: %v", text, err)
	}
}

func TestATunnelCarriesMessagesAndHalfCloses(t *testing.T) {
	t.Parallel()
	e := start(t, site("", echoSocket(t)))
	w := openSocket(t, e.addr(0))
	w.echo("hello")
	w.echo(strings.Repeat("big", 100_000))
	if n, err := e.Inflight(t.Context(), "app", "s1"); err != nil || n.Tunnels != 1 || n.HTTP != 0 {
		t.Errorf("%+v %v", n, err)
	}
	// The client ends its side; what is under way to it still arrives, and then the server's end.
	big := strings.Repeat("x", 1<<20)
	go func() {
		io.WriteString(w, big)
		w.Conn.(*net.TCPConn).CloseWrite()
	}()
	rest, err := io.ReadAll(w.in)
	if err != nil || string(rest) != big {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	if l := e.lines(1)[0]; l.Status != 101 || l.Termination != "--" {
		t.Errorf("%+v", l)
	}
	if n, _ := e.Inflight(t.Context(), "app", "s1"); n.Tunnels != 0 || n.HTTP != 0 {
		t.Errorf("%+v", n)
	}
}

func TestWhatIsSaidRightBehindAnUpgradeIsNotLost(t *testing.T) {
	t.Parallel()
	e := start(t, site("", echoSocket(t)))
	w := dialWire(t, e.addr(0))
	w.send(upgrade + "early")
	skipHead(w.in)
	b := make([]byte, 5)
	if _, err := io.ReadFull(w.in, b); err != nil || string(b) != "early" {
		t.Errorf("%q %v", b, err)
	}
}

func TestAnUpgradeThatIsRefusedStaysHTTP(t *testing.T) {
	t.Parallel()
	e := start(t, site("", answering(t, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")))
	w := dialWire(t, e.addr(0))
	for range 2 { // the connection goes on
		w.send(upgrade)
		if r, _ := w.answer("GET"); r.StatusCode != 426 {
			t.Errorf("status %d", r.StatusCode)
		}
	}
}

func TestA101ThatNobodyAskedForIs502(t *testing.T) {
	t.Parallel()
	e := start(t, site("", answering(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")))
	if status, _ := getPath(t, e, "/"); status != 502 {
		t.Errorf("status %d", status)
	}
	if l := e.lines(1)[0]; l.Termination != "PH" {
		t.Errorf("%+v", l)
	}
}

func TestAServerThatBreaksATunnelBreaksItForTheClient(t *testing.T) {
	t.Parallel()
	e := start(t, site("", rawOrigin(t, func(c net.Conn, in *bufio.Reader) {
		skipHead(in)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		in.ReadByte()
		c.(*net.TCPConn).SetLinger(0)
	})))
	w := openSocket(t, e.addr(0))
	w.send("x")
	io.Copy(io.Discard, w.in)
	if l := e.lines(1)[0]; l.Termination != "SD" {
		t.Errorf("%+v", l)
	}
}
