package http1_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/message"
)

// decoded is what became of a chunked body.
type decoded struct {
	content, trailer string
	rest             string // behind the body
	done             bool
	err              *http1.Error
}

func (d decoded) String() string {
	if d.err != nil {
		return fmt.Sprintf("%q, refused with %d: %v", d.content, d.err.Status, d.err)
	}
	return fmt.Sprintf("%q, trailer %s, rest %q, done %v", d.content, d.trailer, d.rest, d.done)
}

// decode decodes the pieces as a caller does that reads them from a connection one after the other: what a call has not used comes again before the
// next piece.
func decode(t *testing.T, pieces ...string) decoded {
	t.Helper()
	var (
		c     http1.Chunks
		h     message.Header
		a     message.Arena
		left  []byte
		total int
		d     decoded
	)
	for _, p := range pieces {
		b := append(left, p...)
		left = nil
		if c.Done {
			d.rest += p
			continue
		}
		n, used, err := c.Decode(b, &h, &a)
		if n > used || used > len(b) {
			t.Fatalf("Decode(%q) = %d bytes of content, %d used", b, n, used)
		}
		d.content += string(b[:n])
		total += used
		if err != nil {
			d.err = err
			return d
		}
		left = bytes.Clone(b[used:])
		if c.Done {
			d.rest, left = string(left), nil
		}
	}
	d.done = c.Done
	d.trailer = tellFields(&h)
	return d
}

func bytewise(raw string) (pieces []string) {
	for i := range len(raw) {
		pieces = append(pieces, raw[i:i+1])
	}
	return pieces
}

func TestABodyIsDecodedHoweverItArrives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, content, trailer string }{
		{"0\r\n\r\n", "", ""},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"A\r\n0123456789\r\n0b\r\n0123456789a\r\n000\r\n\r\n", "01234567890123456789a", ""},
		{"0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", "x", ""},
		{"2\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n", "\r\n0\r\n", ""},
		{"1;a\r\nx\r\n1; a=b \r\ny\r\n0\r\n\r\n", "xy", ""},
		{"1;a=b;c=\"d;\\\"\te\xff\"; e\t=f\r\nx\r\n0;z\r\n\r\n", "x", ""},
		{"1\r\nx\r\n0\r\nA: b\r\nC:  d \r\n\r\n", "x", "A=b|C=d"},
		{"0\r\nX_Forwarded_For: a\r\nB: c\r\n\r\n", "", "B=c"},
	} {
		want := decoded{content: c.content, trailer: c.trailer, rest: "GET /", done: true}
		raw := c.raw + "GET /"
		for i := range len(raw) + 1 {
			for j := i; j <= len(raw); j++ {
				if d := decode(t, raw[:i], raw[i:j], raw[j:]); d != want {
					t.Fatalf("%q in three pieces at %d and %d: %v, want %v", raw, i, j, d, want)
				}
			}
		}
		if d := decode(t, bytewise(raw)...); d != want {
			t.Errorf("%q byte by byte: %v, want %v", raw, d, want)
		}
		for i := range len(c.raw) { // and nothing less is a whole body
			if d := decode(t, c.raw[:i]); d.done || d.err != nil {
				t.Errorf("%q: %v", c.raw[:i], d)
			}
		}
	}
}

func TestAMalformedBodyIsRefusedHoweverItArrives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw    string
		status int
	}{
		{"\r\n", 400}, {"\n", 400}, {" 5\r\nhello\r\n", 400}, {"5 \r\nhello\r\n", 400}, {"5 ;a\r\nhello\r\n", 400}, {"5\t\r\n", 400}, {"+5\r\n", 400}, {"-5\r\n", 400}, {"0x5\r\n", 400}, {"0_5\r\n", 400}, {"g\r\n", 400}, {";a\r\n", 400},
		{"5\nhello\r\n", 400}, {"5\rhello\r\n", 400}, {"5\r\r\nhello\r\n", 400}, {"5\r\nhello\n0\r\n\r\n", 400}, {"5\r\nhello\r0\r\n", 400}, {"5\r\nhello0\r\n", 400}, {"5\r\nhelloX\r\n", 400},
		{"10000000000000005\r\nhello\r\n", 400}, {"00000000000000005\r\nhello\r\n", 400}, {"8000000000000000\r\nhello\r\n", 400}, {"ffffffffffffffff\r\nhello\r\n", 400},
		{"5;\r\nhello\r\n", 400}, {"5;;a\r\nhello\r\n", 400}, {"5;\x00a\r\nhello\r\n", 400}, {"5;a\x0b\r\n", 400}, {"5;a\nhello\r\n", 400}, {"2;\nxx\r\n", 400}, {"5;a\rb\r\nhello\r\n", 400}, {"5;a\r\r\nhello\r\n", 400}, {"5;a=\"x\r\ny\"\r\nhello\r\n", 400},
		{"5;\"a\"\r\nhello\r\n", 400}, {"5;a=\xff\r\nhello\r\n", 400}, {"5;=a\r\nhello\r\n", 400}, {"5;a=\"\\\r\n\"\r\nhello\r\n", 400},
		{"0\r\nA\r\n\r\n", 400}, {"0\r\nA: b\n\r\n", 400}, {"0\r\nA: b\r\n c\r\n\r\n", 400}, {"0\r\n A: b\r\n\r\n", 400}, {"0\r\nA : b\r\n\r\n", 400}, {"0\r\nA: \x00\r\n\r\n", 400}, {"0\r\n: b\r\n\r\n", 400}, {"0\r\n\n", 400},
		{"0\r\n\rXGET / HTTP/1.1\r\n\r\n", 400}, {"0\r\nContent_Length: 5\r\n\r\n", 400},
		{"0\r\nA: " + strings.Repeat("b", 9000) + "\r\n\r\n", 431}, {"0\r\nA: " + strings.Repeat("b", 9000), 431}, {"0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 90)+"\r\n", 100), 431},
		{"0\r\n" + strings.Repeat("A:\r\n", http1.MaxFields+1) + "\r\n", 431}, {strings.Repeat("1;aaaaaaaaa=bbbbbbbbb\r\nx\r\n", 900) + "0\r\n\r\n", 413}, {"1;a=\"" + strings.Repeat("x", 17000), 413},
	} {
		whole := decode(t, c.raw)
		if whole.err == nil || whole.err.Status != c.status {
			t.Errorf("%.60q: %.200v, want status %d", c.raw, whole, c.status)
			continue
		}
		if slow := decode(t, bytewise(c.raw)...); slow.err == nil || slow.err.Status != c.status || slow.content != whole.content {
			t.Errorf("%.60q byte by byte: %.200v, want %.200v", c.raw, slow, whole)
		}
	}
}

func TestExtensionsHaveABudget(t *testing.T) {
	t.Parallel()
	n := 800 // of 19 bytes each: 15,200
	d := decode(t, strings.Repeat("1;aaaaaaaa=bbbbbbbb\r\nx\r\n", n)+"0\r\n\r\n")
	if !d.done || d.content != strings.Repeat("x", n) {
		t.Errorf("%.100v", d)
	}
}

// A size is never taken for another one, however large it is: 2^32+5 is not 5, and what is missing is waited for.
func TestALargeSizeIsNotWrapped(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"100000005", "7fffffffffffffff", "7FFFFFFFFFFFFFF0"} {
		if d := decode(t, size+"\r\nhello\r\n0\r\n\r\n"); d.err != nil || d.done || d.content != "hello\r\n0\r\n\r\n" {
			t.Errorf("%s: %v", size, d)
		}
	}
}

func TestWhatIsFramedIsDecodedToTheSame(t *testing.T) {
	t.Parallel()
	var raw []byte
	want := ""
	for _, n := range []int{1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 70000} {
		s := strings.Repeat("x", n)
		raw = http1.AppendChunk(raw, []byte(s))
		want += s
	}
	raw = http1.AppendLastChunk(raw, &message.Header{})
	if d := decode(t, string(raw)); !d.done || d.content != want || d.rest != "" {
		t.Errorf("%.100v", d)
	}
	if got := string(http1.AppendChunkSize(nil, 0)); got != "0\r\n" {
		t.Errorf("%q", got)
	}
}
