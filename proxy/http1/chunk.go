package http1

import (
	"io"

	"github.com/approovia/edge/proxy/message"
)

var (
	errChunkSize = bad("invalid chunk size")
	errChunkEnd  = bad("chunk does not end with CRLF")
	errChunkExt  = bad("invalid chunk extension")
	errExtBytes  = &Error{413, "too many bytes of chunk extensions"}
	errTrailer   = &Error{431, "trailer section too large"}
)

// maxExtensions bounds what a body may spend on chunk extensions, in bytes.
const maxExtensions = 16 << 10

// Chunks decodes the chunked transfer coding (RFC 9112 section 7.1). Extensions are checked and dropped. The zero value begins a body.
type Chunks struct {
	state  chunkState
	size   uint64 // of the chunk being read: what is left of it
	digits int
	ext    int // bytes of extensions so far
	quoted bool
	escape bool
	named  bool
	tail   section
	read   int  // bytes of the trailer section
	Done   bool // the whole body has been read, trailer included
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExt
	sizeLF
	inData
	dataCR
	dataLF
	inTrailer
)

// Decode decodes b in place. It returns how many bytes of content now stand at its beginning, and how many bytes of b it has used;
// what is left after that belongs to the next message if Done, and otherwise to the next call, which needs more after it: then the caller must
// present those bytes again, followed by new ones. Trailer fields go to t; their bytes are copied to a.
func (c *Chunks) Decode(b []byte, t *message.Header, a *message.Arena) (n, used int, err *Error) {
	i := 0
	for i < len(b) && c.state != inTrailer {
		x := b[i]
		switch c.state {
		case inSize:
			if d := unhex[x]; d < 16 {
				if c.digits++; c.digits > 16 || c.size > 1<<59-1 {
					return n, i, errChunkSize
				}
				c.size = c.size<<4 | uint64(d)
				break
			}
			if c.digits == 0 {
				return n, i, errChunkSize
			}
			switch x {
			case '\r':
				c.state = sizeLF
			case ';':
				c.state, c.named = inExt, false
			default:
				return n, i, errChunkSize
			}
		case inExt:
			if c.ext++; c.ext > maxExtensions {
				return n, i, errExtBytes
			}
			if err := c.extension(x); err != nil {
				return n, i, err
			}
		case sizeLF:
			if x != '\n' {
				return n, i, errChunkSize
			}
			c.digits = 0
			if c.state = inData; c.size == 0 {
				c.state = inTrailer
			}
		case inData:
			m := copy(b[n:], b[i:i+int(min(uint64(len(b)-i), c.size))])
			n += m
			i += m
			if c.size -= uint64(m); c.size == 0 {
				c.state = dataCR
			}
			continue
		case dataCR:
			if x != '\r' {
				return n, i, errChunkEnd
			}
			c.state = dataLF
		case dataLF:
			if x != '\n' {
				return n, i, errChunkEnd
			}
			c.state = inSize
		}
		i++
	}
	if c.state != inTrailer || c.Done {
		return n, i, nil
	}
	for {
		c.tail.pos = 0
		line, ok, err := c.tail.line(b[i:])
		if err != nil {
			return n, i, err
		}
		if !ok {
			if len(b)-i > maxTrailer {
				return n, i, errTrailer
			}
			return n, i, nil
		}
		i += c.tail.pos
		if c.read += c.tail.pos; c.read > maxTrailer {
			return n, i, errTrailer
		}
		if len(line) == 0 {
			c.Done = true
			return n, i, nil
		}
		if len(t.Fields) >= MaxFields {
			return n, i, errFields
		}
		if err := addField(t, a.Copy(line)); err != nil {
			return n, i, err
		}
	}
}

// extension checks one byte of ";name[=value]" up to the end of the line (RFC 9112 section 7.1.1).
func (c *Chunks) extension(x byte) *Error {
	if c.quoted {
		switch {
		case x < 0x20 && x != '\t' || x == 0x7f:
			return errChunkExt
		case c.escape:
			c.escape = false
		case x == '\\':
			c.escape = true
		case x == '"':
			c.quoted = false
		}
		return nil
	}
	switch {
	case token[x]:
		c.named = true
	case !c.named && x != ' ' && x != '\t':
		return errChunkExt
	case x == '\r':
		c.state = sizeLF
	case x == ';':
		c.named = false
	case x == '"':
		c.quoted = true
	case x == '=' || x == ' ' || x == '\t':
	default:
		return errChunkExt
	}
	return nil
}

// AppendChunk frames data as one chunk.
func AppendChunk(dst, data []byte) []byte {
	dst = AppendChunkSize(dst, len(data))
	dst = append(dst, data...)
	return append(dst, '\r', '\n')
}

// AppendChunkSize begins a chunk of n bytes, which must be followed by them and CRLF.
func AppendChunkSize(dst []byte, n int) []byte {
	var d [16]byte
	i := len(d)
	for ok := true; ok; ok = n > 0 {
		i--
		d[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	dst = append(dst, d[i:]...)
	return append(dst, '\r', '\n')
}

// AppendLastChunk ends a body, with the trailer fields that may be relayed: none that frames or routes a message (RFC 9110 section 6.5.1).
func AppendLastChunk(dst []byte, t *message.Header) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range t.Fields {
		f := &t.Fields[i]
		if 1<<f.ID&(hop|1<<message.Host|1<<message.Authorization|1<<message.Cookie|1<<message.SetCookie|forwarded) == 0 {
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, '\r', '\n')
}

// forwarded are the fields by which proxies tell of the client.
const forwarded = 1<<message.XForwardedFor | 1<<message.XForwardedProto | 1<<message.XForwardedHost | 1<<message.XForwardedPort | 1<<message.XForwardedPrefix |
	1<<message.XForwardedServer | 1<<message.XForwardedOther | 1<<message.XRealIP | 1<<message.Forwarded

// ErrTruncated is a body whose connection ended before it did.
var ErrTruncated error = io.ErrUnexpectedEOF
