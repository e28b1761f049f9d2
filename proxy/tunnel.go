package proxy

import (
	"io"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/loop"
)

// switchProtocols relays a 101 and then everything both sides say, until both have ended or neither has spoken for the tunnel's time. rb[head:n]
// are the server's first bytes after the 101. It gives rb back.
func (f *forward) switchProtocols(rb []byte, head, n int) outcome {
	x := &f.x
	out := f.l.Buf()
	b := append(out[:0], "HTTP/1.1 101 Switching Protocols\r\n"...)
	b = http1.AppendHeader(b, &x.Res.Header)
	b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
	b = append(b, x.Req.Upgrade...)
	b = append(b, "\r\n\r\n"...)
	f.answered, f.tunnel = true, true
	x.Req.Close = true
	f.clientPatience()
	ok := f.send(b, rb[head:n])
	f.l.PutBuf(out)
	f.l.PutBuf(rb)
	if !ok {
		return f.dropServer(over)
	}
	f.srv.Tunnels.Add(1)
	defer f.srv.Tunnels.Add(-1)
	if f.taken < f.n { // what the client said after its request belongs to the tunnel
		if _, err := f.sc.c.Write(f.in[f.taken:f.n]); err != nil {
			f.fail(exchange.End{Who: 'S', When: 'D', Cause: "server: " + err.Error()})
			return f.dropServer(over)
		}
		x.BytesIn += int64(f.n - f.taken)
		f.taken = f.n
	}
	f.l.Both(
		func() { f.pump(f.sc.c, f.s.c, &x.BytesIn, 'C') },
		func() { f.pump(f.s.c, f.sc.c, &x.BytesOut, 'S') },
	)
	f.sc.c.Close()
	f.sc = nil
	return over
}

// pump relays one direction of a tunnel. A buffer is lent only while bytes move. who is the side that src is.
func (f *forward) pump(dst, src loop.Conn, count *int64, who byte) {
	patience := func() {
		at := f.l.Now() + int64(f.be.timeouts.Tunnel)
		dst.Deadline(at)
		src.Deadline(at)
	}
	patience()
	for {
		if err := src.WaitReadable(); err != nil {
			f.tunnelEnds(dst, src, err, who)
			return
		}
		buf := f.l.Buf()
		n, err := src.Read(buf)
		if n > 0 {
			patience()
			*count += int64(n)
			if _, werr := dst.Write(buf[:n]); werr != nil {
				f.l.PutBuf(buf)
				f.tunnelEnds(src, dst, werr, other(who))
				return
			}
		}
		f.l.PutBuf(buf)
		if err == io.EOF {
			dst.CloseWrite() // half closed: the other direction goes on
			return
		}
		if err != nil {
			f.tunnelEnds(dst, src, err, who)
			return
		}
	}
}

func other(who byte) byte {
	if who == 'C' {
		return 'S'
	}
	return 'C'
}

// tunnelEnds ends both directions because side failed.
func (f *forward) tunnelEnds(a, b loop.Conn, err error, who byte) {
	switch err {
	case loop.ErrClosed, loop.ErrInterrupted: // by the other direction, or the process ends
	case loop.ErrTimeout:
		f.fail(exchange.End{Who: 's', When: 'D', Cause: "nothing was said in the tunnel's time"})
	default:
		f.fail(exchange.End{Who: who, When: 'D', Cause: err.Error()})
	}
	a.Close()
	b.Close()
}
