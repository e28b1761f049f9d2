package proxy

import (
	"net/http"
	"strconv"

	"github.com/approovia/edge/proxy/exchange"
	"github.com/approovia/edge/proxy/message"
)

// reply answers the client ourselves. It returns whether the connection can go on: only if the request has been read to its end.
func (f *forward) reply(status int, header []message.Field, body []byte) bool {
	x := &f.x
	x.Local = true
	x.Res.Status = status
	closes := f.mustClose() || !f.bodyRead()
	out := f.l.Buf()
	b := append(out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\n"...)
	for i := range header {
		b = append(b, header[i].Name...)
		b = append(b, ": "...)
		b = append(b, header[i].Value...)
		b = append(b, "\r\n"...)
	}
	if status >= 200 && status != 204 && status != 304 {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	if closes {
		b = append(b, "Connection: close\r\n"...)
	} else if x.Req.Minor == 0 {
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	b = append(b, "\r\n"...)
	if x.Req.Method == message.HEAD || status == 204 || status == 304 {
		body = nil
	}
	f.clientPatience()
	n, err := f.s.c.Writev(b, body)
	f.l.PutBuf(out)
	x.BytesOut += int64(n)
	if err != nil {
		f.clientGone(err, 'H')
		return false
	}
	return !closes
}

// explain answers with a short text that names the status.
func (f *forward) explain(status int) bool {
	b := strconv.AppendInt(f.x.Arena.Alloc(64)[:0], int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	return f.reply(status, plainText, append(b, '\n'))
}

var plainText = []message.Field{
	{Name: []byte("Content-Type"), Value: []byte("text/plain; charset=utf-8")},
	{Name: []byte("Cache-Control"), Value: []byte("no-cache")},
}

// fail notes how the exchange ended, if nothing else has before.
func (f *forward) fail(e exchange.End) {
	if f.x.End.Who == 0 {
		f.x.End = e
	}
}
