package http1

import "github.com/approovia/edge/proxy/message"

var (
	errStatusLine = bad("invalid status line")
)

// ResponseParser reads one response head. The zero value begins one.
type ResponseParser struct {
	s     section
	begun bool
}

// Parse looks at the bytes received so far (b always begins at the same byte) and fills r. It returns the length of the head once that is
// complete, 0 while it is not. toHead says that the request was HEAD: the response has no content (RFC 9112 section 6.3).
func (p *ResponseParser) Parse(b []byte, r *message.Response, toHead bool) (int, *Error) {
	if !p.begun {
		line, ok, err := p.s.line(b)
		if err != nil {
			return 0, err
		}
		if !ok {
			if n := min(len(b), 5); string(b[:n]) != "HTTP/"[:n] || len(b) > MaxHead {
				return 0, errStatusLine
			}
			return 0, nil
		}
		if err := statusLine(line, r); err != nil {
			return 0, err
		}
		p.begun = true
	}
	if err := p.s.fields(b, &r.Header); err != nil {
		return 0, err
	}
	if p.s.pos > MaxHead || !p.s.done && len(b) >= MaxHead {
		return 0, errHead
	}
	if !p.s.done {
		return 0, nil
	}
	return p.s.pos, finishResponse(r, toHead)
}

// statusLine parses "HTTP/1.x NNN reason" (RFC 9112 section 4). The space before an empty reason is often missing and not missed.
func statusLine(line []byte, r *message.Response) *Error {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return errStatusLine
	}
	r.Minor = line[7] - '0'
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return errStatusLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 || len(line) > 12 && line[12] != ' ' {
		return errStatusLine
	}
	if len(line) > 13 {
		r.Reason = line[13:]
		if !clean(r.Reason) {
			return errStatusLine
		}
	}
	return nil
}

func finishResponse(r *message.Response, toHead bool) *Error {
	body, err := framing(&r.Header, r.Minor)
	if err != nil {
		return err
	}
	switch {
	case toHead || r.Status < 200 || r.Status == 204 || r.Status == 304:
		// Content-Length may say what there would have been; it is relayed for HEAD and 304 only.
		if body.Kind != message.Sized || r.Status < 200 || r.Status == 204 {
			body.Length = -1
		}
		body.Kind = message.NoBody
	case body.Kind == message.NoBody:
		body.Kind = message.UntilClose
	}
	r.Body = body
	closes, keeps, _, err := options(&r.Header)
	r.Close = closes || r.Minor == 0 && !keeps || body.Kind == message.UntilClose
	return err
}
