package proxy

import (
	"syscall"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/loop"
	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/rules"
)

// maxInterim bounds the 1xx responses relayed for one request.
const maxInterim = 16

// try sends the request to the server whose slot is held and relays what it answers.
func (f *forward) try() outcome {
	x := &f.x
	if err := f.connect(); err == loop.ErrClosed {
		return f.killed('C')
	} else if err != nil {
		return unreachable
	}
	at(&f.w.servers, f.srv.ID).requests++
	// One write carries the head and as much of the body as is here.
	out := f.l.Buf()
	head := http1.AppendRequest(out[:0], &x.Req)
	head = appendForwarded(head, x, f.s.b.port)
	head = append(head, '\r', '\n')
	var body []byte
	if x.Req.Body.Kind == message.Sized {
		have := min(int64(f.n-f.head), x.Req.Body.Length)
		body = f.in[f.head : f.head+int(have)]
		f.taken = f.head + int(have)
		f.upLeft = x.Req.Body.Length - have
		f.upDone = f.upLeft == 0
	}
	f.serverPatience()
	_, err := f.sc.c.Writev(join(head, body))
	f.l.PutBuf(out)
	if err != nil {
		return f.unanswered(err)
	}
	if x.BytesIn == int64(f.head) {
		x.BytesIn += int64(len(body))
	}
	if f.upDone {
		f.s.c.Guard(f.sc.c)
		result := f.answer()
		f.s.c.Guard(nil)
		return result
	}
	// The rest of the body goes up while the answer, which may come early, goes down.
	var result outcome
	f.l.Both(f.upload, func() {
		result = f.answer()
		if !f.upDone { // whatever is still to come is of no use to anyone
			f.s.c.Interrupt()
		}
		if f.uploading && f.sc != nil {
			f.sc.c.Interrupt()
		}
	})
	f.s.c.Take() // the interruption was the upload's alone
	if f.sc != nil {
		f.sc.c.Close()
		f.sc = nil
	}
	if result != relayed && result != over && f.taken > f.head {
		f.x.Req.Close = true
	}
	return result
}

// unanswered ends the attempt: the connection failed before anything of an answer came.
func (f *forward) unanswered(err error) outcome {
	f.sc.c.Abort()
	f.sc = nil
	x := &f.x
	switch {
	case err == loop.ErrTimeout:
		f.fail(exchange.End{Who: 's', When: 'H', Cause: "no answer from the server in its time"})
		return broken
	case err == loop.ErrClosed && x.End.Who != 0: // the upload ended it, and said why
		return broken
	case err == loop.ErrClosed:
		return f.killed('H')
	case err == loop.ErrInterrupted:
		f.clientGone(syscall.ECONNRESET, 'H')
		return over
	}
	f.fail(exchange.End{Who: 'S', When: 'H', Cause: "server: " + err.Error()})
	if x.Reused {
		return stale
	}
	return unanswered
}

// killed ends an exchange whose connections the loop has closed under it: it stops.
func (f *forward) killed(when byte) outcome {
	f.fail(exchange.End{Who: 'K', When: when, Cause: "cut at the end of the drain"})
	return over
}

// answer reads the server's response and relays it.
func (f *forward) answer() (result outcome) {
	x := &f.x
	rb := f.l.Buf()
	n := 0
	toHead := x.Req.Method == message.HEAD
	for interim := 0; ; interim++ {
		var p http1.ResponseParser
		head := 0
		for {
			if n > 0 {
				var err *http1.Error
				if head, err = p.Parse(rb[:n], &x.Res, toHead); err != nil {
					f.l.PutBuf(rb)
					return f.invalid(err.Msg)
				}
				if head > 0 {
					break
				}
			}
			f.serverPatience()
			m, err := f.sc.c.Read(rb[n:])
			if err != nil {
				f.l.PutBuf(rb)
				if n > 0 && err != loop.ErrTimeout {
					return f.invalid("the server left within its response head")
				}
				if interim > 0 && err != loop.ErrTimeout {
					return f.invalid("the server left after an interim response")
				}
				return f.unanswered(err)
			}
			n += m
		}
		switch {
		case x.Res.Status >= 200:
			x.Answer = f.l.Now()
			return f.deliver(rb, head, n)
		case x.Res.Status == 101:
			if proto, _ := x.Res.Header.Get(message.Upgrade); x.Req.Upgrade == nil || !message.EqualFold(proto, x.Req.Upgrade) {
				f.l.PutBuf(rb)
				return f.invalid("101 for an upgrade that was not asked for")
			}
			x.Answer = f.l.Now()
			return f.switchProtocols(rb, head, n)
		case interim == maxInterim:
			f.l.PutBuf(rb)
			return f.invalid("too many interim responses")
		}
		if x.Req.Minor > 0 && (x.Res.Status != 100 || x.Req.Expect100) {
			if !f.interim() {
				f.l.PutBuf(rb)
				return f.dropServer(over)
			}
		}
		n = copy(rb, rb[head:n])
		x.Res.Reset()
	}
}

// interim relays a 1xx response.
func (f *forward) interim() bool {
	out := f.l.Buf()
	b := http1.AppendResponse(out[:0], &f.x.Res, message.NoBody, false, false)
	f.clientPatience()
	n, err := f.s.c.Write(b)
	f.l.PutBuf(out)
	f.x.BytesOut += int64(n)
	if err != nil {
		f.clientGone(err, 'H')
	}
	return err == nil
}

// invalid ends the attempt: what the server sends is no response (RFC 9110 section 15.6.3).
func (f *forward) invalid(why string) outcome {
	f.fail(exchange.End{Who: 'P', When: 'H', Cause: "server: " + why})
	f.x.Res.Reset()
	return f.dropServer(broken)
}

func (f *forward) dropServer(o outcome) outcome {
	f.sc.c.Abort()
	f.sc = nil
	return o
}

// clientGone notes that the client left, or stopped taking.
func (f *forward) clientGone(err error, when byte) {
	e := exchange.End{Who: 'C', When: when, Cause: "client: " + err.Error()}
	if err == loop.ErrTimeout {
		e.Who, e.Cause = 'c', "the client took nothing in its time"
	}
	f.fail(e)
}

// deliver relays a final response, whose head is rb[:head] and whose content begins at rb[head:n]. It gives rb back.
func (f *forward) deliver(rb []byte, head, n int) outcome {
	x := &f.x
	x.Res.Trailer.Reset()
	for _, rs := range [...]rules.List{f.be.response, f.fe.response} {
		if len(rs) == 0 {
			continue
		}
		if r := rs.Run(x); r != nil {
			body := r.Answer(x)
			f.dropServer(over)
			f.fail(exchange.End{Who: 'P', When: 'H', Cause: "refused by a response rule"})
			again := false
			if r.Page {
				again = f.explain(r.Status)
			} else {
				again = f.reply(r.Status, x.Res.Header.Fields, body)
			}
			f.l.PutBuf(rb)
			if again && f.upDone {
				return relayed
			}
			return over
		}
	}
	kind := x.Res.Body.Kind
	if kind == message.Chunked && x.Req.Minor == 0 {
		kind = message.UntilClose
	}
	if kind == message.UntilClose || !f.upDone {
		x.Req.Close = true
	}
	out := f.l.Buf()
	b := http1.AppendResponse(out[:0], &x.Res, kind, f.mustClose(), x.Req.Minor == 0)
	content := rb[head:n]
	f.answered = true
	f.clientPatience()
	var done bool
	switch x.Res.Body.Kind {
	case message.NoBody:
		done = f.send(b, nil)
		f.l.PutBuf(out)
		f.settle(done && len(content) == 0)
	case message.Sized:
		left := x.Res.Body.Length
		extra := int64(len(content)) > left
		if extra {
			content = content[:left]
		}
		left -= int64(len(content))
		done = f.send(b, content)
		f.l.PutBuf(out)
		if done && left > 0 {
			done = f.downSized(rb, left)
		}
		f.settle(done && !extra)
	case message.Chunked:
		var clean bool
		done, clean = f.downChunked(b, rb, head, n, kind)
		f.l.PutBuf(out)
		f.settle(done && clean)
	case message.UntilClose:
		done = f.send(b, content)
		f.l.PutBuf(out)
		if done {
			done = f.downUntilClose(rb)
		}
		f.settle(false)
	}
	f.l.PutBuf(rb)
	if !done {
		f.cut = true
		return over
	}
	return relayed
}

// join puts a small body behind its head, where one plain write costs less than one of two parts.
func join(head, body []byte) (a, b []byte) {
	if len(body) <= 2048 && len(body) <= cap(head)-len(head) {
		return append(head, body...), nil
	}
	return head, body
}

// send writes to the client: a head made in a buffer of its own, and a body.
func (f *forward) send(a, b []byte) bool {
	n, err := f.s.c.Writev(join(a, b))
	f.x.BytesOut += int64(n)
	if err != nil {
		f.clientGone(err, 'D')
		return false
	}
	return true
}

// settle lets go of the server's connection after an answer: kept for the next exchange if it is clean, closed otherwise. While the upload still
// goes on, it is left to it.
func (f *forward) settle(clean bool) {
	sc := f.sc
	switch {
	case sc == nil || clean && (!f.upDone || f.uploading):
		return
	case clean && !f.x.Res.Close && (!sc.c.Readable() || sc.c.Quiet()) && sc.target == sc.srv.Target():
		f.w.keep(sc)
	default:
		sc.c.Close()
	}
	f.sc = nil
}
