package message

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestEveryKnownNameIsIdentifiedInAnyCase(t *testing.T) {
	t.Parallel()
	if ids > 64 {
		t.Fatalf("%d names do not fit into Header.Seen", ids)
	}
	for id := Other + 1; id < ids; id++ {
		s := id.String()
		if id == XForwardedOther {
			s = "X-Forwarded-User"
		}
		for _, name := range []string{s, strings.ToLower(s), strings.ToUpper(s)} {
			if got := Identify([]byte(name)); got != id {
				t.Errorf("%s is %v (%d), want %d", name, got, got, id)
			}
		}
		for i := range s { // a name that differs in one letter is another
			b := []byte(s)
			b[i] = '*'
			if got := Identify(b); got != Other && got != XForwardedOther {
				t.Errorf("%s is %v", b, got)
			}
			if got := Identify([]byte(s[:i])); got == id && id != XForwardedOther {
				t.Errorf("%s is %v", s[:i], got)
			}
		}
		if got := Identify([]byte(s + "s")); got == id && id != XForwardedOther {
			t.Errorf("%ss is %v", s, got)
		}
	}
}

func TestOtherNamesAreNotIdentified(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]ID{"": Other, "H": Other, "X-Forwarded-": Other, "x-forwarded-x": XForwardedOther, "X-FORWARDED-" + strings.Repeat("a", 90): XForwardedOther, "Y-Forwarded-X": Other,
		"X_Forwarded_For": Other, "Host\x00": Other, "h\xefst": Other, strings.Repeat("a", 23): Other, strings.Repeat("a", 24): Other, strings.Repeat("a", 300): Other} {
		if got := Identify([]byte(name)); got != want {
			t.Errorf("%q is %v (%d), want %d", name, got, got, want)
		}
	}
}

func TestOnlyASCIILettersFold(t *testing.T) {
	t.Parallel()
	for a := range 256 {
		for b := range 256 {
			want := a == b || 'A' <= a && a <= 'Z' && b == a+32 || 'A' <= b && b <= 'Z' && a == b+32
			if got := EqualFold([]byte{byte(a)}, string([]byte{byte(b)})); got != want {
				t.Errorf("%#x, %#x: %v", a, b, got)
			}
		}
	}
	if EqualFold("a", "ab") || EqualFold("ab", "a") || !EqualFold("", []byte(nil)) || EqualFold("K", "\u212a") {
		t.Error("lengths are not compared")
	}
}

func header(fields ...string) *Header {
	h := new(Header)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		h.Append(Identify([]byte(name)), []byte(name), []byte(value))
	}
	return h
}

func text(h *Header) string {
	var s []string
	for _, f := range h.Fields {
		s = append(s, fmt.Sprintf("%s=%s", f.Name, f.Value))
	}
	return strings.Join(s, " ")
}

func TestAHeaderKeepsItsOrder(t *testing.T) {
	t.Parallel()
	fields := []string{"Host=h", "A=1", "b=2", "a=3", "X-Forwarded-A=4", "X-Forwarded-B=5", "cookie=6", "Cookie=7"}
	for _, c := range []struct {
		name, del, set string
		next           []int
	}{
		{"A", "Host=h b=2 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7", "Host=h b=2 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7 A=new", []int{1, 3}},
		{"COOKIE", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5 COOKIE=new", []int{6, 7}},
		{"x-forwarded-b", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 cookie=6 Cookie=7", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 cookie=6 Cookie=7 x-forwarded-b=new", []int{5}},
		{"X-Forwarded-C", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7 X-Forwarded-C=new", nil},
		{"Server", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7", "Host=h A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7 Server=new", nil},
		{"host", "A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7", "A=1 b=2 a=3 X-Forwarded-A=4 X-Forwarded-B=5 cookie=6 Cookie=7 host=new", []int{0}},
	} {
		n := NewName(c.name)
		h := header(fields...)
		var next []int
		for i := h.Next(n, 0); i >= 0; i = h.Next(n, i+1) {
			next = append(next, i)
		}
		if !reflect.DeepEqual(next, c.next) {
			t.Errorf("%s is at %v, want %v", c.name, next, c.next)
		}
		if there := h.Del(n); there != (c.next != nil) || text(h) != c.del {
			t.Errorf("without %s: %v %s, want %s", c.name, there, text(h), c.del)
		}
		h = header(fields...)
		h.Set(n, []byte("new"))
		if text(h) != c.set {
			t.Errorf("with %s: %s, want %s", c.name, text(h), c.set)
		}
		if i := h.Next(n, 0); i < 0 || string(h.Fields[i].Value) != "new" || h.Next(n, i+1) >= 0 {
			t.Errorf("%s is not found once", c.name)
		}
	}
	h := header(fields...)
	if v, ok := h.Get(Cookie); !ok || string(v) != "6" || !h.Has(Cookie) {
		t.Errorf("Cookie: %s %v", v, ok)
	}
	h.Del(NewName("Cookie"))
	if v, ok := h.Get(Cookie); ok {
		t.Errorf("Cookie after Del: %s", v)
	}
	if _, ok := h.Get(Server); ok || h.Has(Server) {
		t.Error("there is no Server")
	}
	room := cap(h.Fields)
	h.Reset()
	if len(h.Fields) != 0 || h.Has(Host) || cap(h.Fields) != room {
		t.Errorf("after Reset: %+v", h)
	}
}

func TestBytesOfAnArenaStayUntilReset(t *testing.T) {
	t.Parallel()
	var a Arena
	var kept [][]byte
	for i := range 500 {
		b := a.Copy(bytes.Repeat([]byte{byte(i)}, i%37))
		kept = append(kept, b)
		_ = append(b, 0xee) // what is added to a slice does not reach into the next
	}
	big := a.Alloc(10000)
	if len(big) != 10000 || cap(big) != 10000 {
		t.Errorf("%d, %d", len(big), cap(big))
	}
	for i, b := range kept {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, i%37)) {
			t.Errorf("slice %d has become %v", i, b)
		}
	}
	a.Reset()
	if a.buf != nil {
		t.Errorf("%d bytes are kept", cap(a.buf))
	}
	a.Alloc(100)
	a.Reset()
	if cap(a.buf) == 0 || len(a.buf) != 0 {
		t.Errorf("%d bytes of %d", len(a.buf), cap(a.buf))
	}
	if b := a.Alloc(0); len(b) != 0 {
		t.Errorf("%v", b)
	}
}

func TestMethodsAreCaseSensitive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		token      string
		method     Method
		idempotent bool
	}{
		{"GET", GET, true}, {"HEAD", HEAD, true}, {"PUT", PUT, true}, {"DELETE", DELETE, true}, {"OPTIONS", OPTIONS, true}, {"TRACE", TRACE, true},
		{"POST", POST, false}, {"PATCH", PATCH, false}, {"CONNECT", CONNECT, false}, {"get", OtherMethod, false}, {"", OtherMethod, false}, {"PROPFIND", OtherMethod, false}, {"GETT", OtherMethod, false},
	} {
		m := IdentifyMethod([]byte(c.token))
		if m != c.method || m.Idempotent() != c.idempotent {
			t.Errorf("%q is %d, idempotent %v", c.token, m, m.Idempotent())
		}
	}
}

func TestResetForgetsAllButItsMemory(t *testing.T) {
	t.Parallel()
	var q Request
	fill(reflect.ValueOf(&q).Elem())
	q.Reset()
	if cap(q.Header.Fields) == 0 || cap(q.Trailer.Fields) == 0 {
		t.Error("the request's fields have lost their memory")
	}
	q.Header.Fields, q.Trailer.Fields = empty(t, q.Header.Fields), empty(t, q.Trailer.Fields)
	if !reflect.ValueOf(q).IsZero() {
		t.Errorf("%+v", q)
	}
	var r Response
	fill(reflect.ValueOf(&r).Elem())
	r.Reset()
	if cap(r.Header.Fields) == 0 || cap(r.Trailer.Fields) == 0 {
		t.Error("the response's fields have lost their memory")
	}
	r.Header.Fields, r.Trailer.Fields = empty(t, r.Header.Fields), empty(t, r.Trailer.Fields)
	if !reflect.ValueOf(r).IsZero() {
		t.Errorf("%+v", r)
	}
}

func empty(t *testing.T, f []Field) []Field {
	if len(f) != 0 {
		t.Errorf("%d fields are left", len(f))
	}
	return nil
}

// fill gives every field a value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		fill(v.Index(0))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(7)
	}
}

func BenchmarkIdentify(b *testing.B) {
	names := [][]byte{[]byte("Host"), []byte("User-Agent"), []byte("Accept"), []byte("Accept-Encoding"), []byte("Connection"), []byte("Cookie"), []byte("X-Forwarded-For"), []byte("Content-Length")}
	for b.Loop() {
		for _, n := range names {
			Identify(n)
		}
	}
}
