package proxy

import (
	"io"
	"syscall"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/loop"
	"github.com/approovia/edge/proxy/message"
)

// spliceFrom is the number of bytes still to come from which moving them inside the kernel is cheaper than copying them.
const spliceFrom = 64 << 10

// serverGone notes that the server broke off within its answer.
func (f *forward) serverGone(err error) {
	if err == loop.ErrInterrupted { // the client's connection broke, and the server's was interrupted for it
		f.clientGone(syscall.ECONNRESET, 'D')
		return
	}
	e := exchange.End{Who: 'S', When: 'D', Cause: "the server left within its answer"}
	switch err {
	case io.EOF:
	case loop.ErrTimeout:
		e.Who, e.Cause = 's', "the server fell silent within its answer"
	default:
		e.Cause += ": " + err.Error()
	}
	f.fail(e)
}

// downSized relays the remaining bytes of a sized response.
func (f *forward) downSized(rb []byte, left int64) bool {
	c, s := f.s.c, f.sc.c
	if left >= spliceFrom && loop.CanSplice(c, s) {
		f.serverPatience()
		_, atClient, err := loop.Splice(c, s, left, func(n int) {
			f.x.BytesOut += int64(n)
			f.clientPatience()
			f.serverPatience()
		})
		if err != nil && atClient {
			f.clientGone(err, 'D')
		} else if err != nil {
			f.serverGone(err)
		}
		return err == nil
	}
	for left > 0 {
		f.serverPatience()
		n, err := s.Read(rb[:min(int64(len(rb)), left)])
		if err != nil {
			f.serverGone(err)
			return false
		}
		left -= int64(n)
		f.clientPatience()
		if !f.send(rb[:n], nil) {
			return false
		}
	}
	return true
}

// downUntilClose relays a response that ends with its connection. One that ends by an error is passed on as one.
func (f *forward) downUntilClose(rb []byte) bool {
	for {
		f.serverPatience()
		n, err := f.sc.c.Read(rb)
		if err == io.EOF {
			return true
		}
		if err != nil {
			f.serverGone(err)
			return false
		}
		f.clientPatience()
		if !f.send(rb[:n], nil) {
			return false
		}
	}
}

// Room around the content in a buffer, for the framing of a chunk.
const (
	chunkHead = 18
	chunkTail = 2
)

// downChunked relays a chunked response, decoded and framed anew: what the client gets is what we understood. rb[head:n] are the first bytes of
// its content and b is the response head. clean says whether nothing but the body came.
func (f *forward) downChunked(b, rb []byte, head, n int, kind message.BodyKind) (done, clean bool) {
	x := &f.x
	var d http1.Chunks
	n = copy(rb[chunkHead:], rb[head:n])
	for {
		got, used, err := d.Decode(rb[chunkHead:chunkHead+n], &x.Res.Trailer, &x.Arena)
		if err != nil {
			f.fail(exchange.End{Who: 'P', When: 'D', Cause: "server: " + err.Msg})
			f.send(b, nil)
			return false, false
		}
		out := rb[chunkHead : chunkHead+got]
		keep := append(x.Arena.Alloc(0), rb[chunkHead+used:chunkHead+n]...)
		if kind == message.Chunked && got > 0 {
			out = frame(rb, got)
		}
		if d.Done && kind == message.Chunked {
			b2 := http1.AppendLastChunk(out[len(out):], &x.Res.Trailer)
			if cap(out)-len(out) >= len(b2) {
				out = out[:len(out)+len(b2)]
			} else {
				out = append(out[:len(out):len(out)], b2...)
			}
		}
		if len(b)+len(out) > 0 && !f.send(b, out) {
			return false, false
		}
		b = nil
		if d.Done {
			return true, len(keep) == 0
		}
		n = copy(rb[chunkHead:], keep)
		f.serverPatience()
		m, rerr := f.sc.c.Read(rb[chunkHead+n : len(rb)-chunkTail])
		if rerr != nil {
			f.serverGone(rerr)
			return false, false
		}
		n += m
		f.clientPatience()
	}
}

// frame puts the framing of one chunk around the n bytes at buf[chunkHead:].
func frame(buf []byte, n int) []byte {
	var size [chunkHead]byte
	h := http1.AppendChunkSize(size[:0], n)
	start := chunkHead - len(h)
	copy(buf[start:], h)
	end := chunkHead + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[start : end+chunkTail]
}

// upload relays what is still to come of the request's body.
func (f *forward) upload() {
	if f.sc == nil { // the answer came, or failed to, before the upload's turn
		return
	}
	f.uploading = true
	defer func() { f.uploading = false }()
	if f.x.Req.Body.Kind == message.Chunked {
		f.upChunked()
	} else {
		f.upSized()
	}
}

// uploadFailed ends the exchange from the client's side: the server must not take what it has for the whole request.
func (f *forward) uploadFailed(err error) {
	if err == loop.ErrInterrupted || f.sc == nil {
		return // the answer is complete; nobody needs the rest
	}
	e := exchange.End{Who: 'C', When: 'D', Cause: "the client left within its request"}
	switch err {
	case io.EOF:
	case loop.ErrTimeout:
		e.Who, e.Cause = 'c', "the client fell silent within its request"
	default:
		e.Cause += ": " + err.Error()
	}
	f.fail(e)
	f.sc.c.Abort()
}

func (f *forward) upSized() {
	c, s := f.s.c, f.sc.c
	if f.upLeft >= spliceFrom && loop.CanSplice(s, c) {
		f.clientPatience()
		_, atServer, err := loop.Splice(s, c, f.upLeft, func(n int) {
			f.x.BytesIn += int64(n)
			f.upLeft -= int64(n)
			f.clientPatience()
			if f.sc != nil {
				f.serverPatience()
			}
		})
		f.upDone = f.upLeft == 0
		if err != nil && !atServer {
			f.uploadFailed(err)
		}
		return
	}
	buf := f.l.Buf()
	defer f.l.PutBuf(buf)
	for f.upLeft > 0 {
		f.clientPatience()
		n, err := c.Read(buf[:min(int64(len(buf)), f.upLeft)])
		if err != nil {
			f.uploadFailed(err)
			return
		}
		f.upLeft -= int64(n)
		f.x.BytesIn += int64(n)
		f.upDone = f.upLeft == 0
		if f.sc == nil {
			return
		}
		f.serverPatience()
		if _, err := s.Write(buf[:n]); err != nil {
			return // the server's answer, or its silence, tells the rest
		}
	}
}

func (f *forward) upChunked() {
	c, s := f.s.c, f.sc.c
	x := &f.x
	buf := f.l.Buf()
	defer f.l.PutBuf(buf)
	n := copy(buf[chunkHead:len(buf)-chunkTail], f.in[f.head:f.n])
	f.taken = f.n
	f.x.BytesIn += int64(n)
	for {
		got, used, derr := f.chunks.Decode(buf[chunkHead:chunkHead+n], &x.Req.Trailer, &x.Arena)
		if derr != nil {
			f.badUpload(derr)
			return
		}
		rest := n - used
		left := append(x.Arena.Alloc(0), buf[chunkHead+used:chunkHead+n]...)
		if f.chunks.Done {
			// What came behind the body belongs to the next request.
			f.n = copy(f.in, left)
			f.head, f.taken = 0, 0
			f.upDone = true
		}
		if f.sc == nil {
			return
		}
		f.serverPatience()
		if got > 0 {
			if _, err := s.Write(frame(buf, got)); err != nil {
				return
			}
		}
		if f.chunks.Done {
			_, _ = s.Write(http1.AppendLastChunk(buf[:0], &x.Req.Trailer)) // the server's answer, or its silence, tells of a failure
			return
		}
		n = copy(buf[chunkHead:], left[:rest])
		f.clientPatience()
		m, err := c.Read(buf[chunkHead+n : len(buf)-chunkTail])
		if err != nil {
			f.uploadFailed(err)
			return
		}
		n += m
		f.x.BytesIn += int64(m)
	}
}

// badUpload ends an exchange whose request body is not what it must be: the server's copy ends broken, the client is told if it has no answer yet.
func (f *forward) badUpload(err *http1.Error) {
	f.fail(exchange.End{Who: 'P', When: 'D', Cause: err.Msg})
	f.badBody = err
	f.x.Req.Close = true
	if f.sc != nil {
		f.sc.c.Abort()
	}
}
