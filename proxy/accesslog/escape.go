package accesslog

import (
	"unicode"
	"unicode/utf8"
)

const hex = "0123456789ABCDEF"

// plain are the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return
}()

// appendText appends key, which ends with an opening quote, then text escaped, then the closing quote; nothing at all if there
// is no text.
func appendText[T ~[]byte | ~string](dst []byte, key string, text T) []byte {
	if len(text) == 0 {
		return dst
	}
	dst = append(dst, key...)
	cut := len(text) > maxText
	if cut {
		text = text[:maxText]
	}
	for len(text) > 0 {
		n := 0
		for n < len(text) && plain[text[n]] {
			n++
		}
		dst = append(dst, text[:n]...)
		if text = text[n:]; len(text) > 0 {
			dst, n = appendRune(dst, text)
			text = text[n:]
		}
	}
	if cut {
		dst = append(dst, "…"...)
	}
	return append(dst, '"')
}

// appendRune appends the first character of text, escaped unless it prints, and tells how many bytes it took.
func appendRune[T ~[]byte | ~string](dst []byte, text T) ([]byte, int) {
	if c := text[0]; c < utf8.RuneSelf {
		switch c {
		case '"', '\\':
			return append(dst, '\\', c), 1
		case '\n':
			return append(dst, '\\', 'n'), 1
		case '\r':
			return append(dst, '\\', 'r'), 1
		case '\t':
			return append(dst, '\\', 't'), 1
		}
		return appendUnit(dst, uint16(c)), 1
	}
	var first [utf8.UTFMax]byte
	r, n := utf8.DecodeRune(first[:copy(first[:], text)])
	switch {
	case r == utf8.RuneError && n == 1:
		return append(dst, `\uFFFD`...), 1
	case unicode.IsPrint(r):
		return append(dst, text[:n]...), n
	case r >= 0x10000:
		r -= 0x10000
		return appendUnit(appendUnit(dst, uint16(0xd800+r>>10)), uint16(0xdc00+r&0x3ff)), n
	}
	return appendUnit(dst, uint16(r)), n
}

// appendUnit writes one UTF-16 code unit as JSON does.
func appendUnit(dst []byte, u uint16) []byte {
	return append(dst, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}

// appendHash writes what HAProxy's section 8.6 asks for: everything but printable ASCII as #XX, with '#' and '"'.
func appendHash[T ~[]byte | ~string](dst []byte, text T) []byte {
	for len(text) > 0 {
		n := 0
		for n < len(text) && (plain[text[n]] && text[n] != '#' || text[n] == '\\') {
			n++
		}
		dst = append(dst, text[:n]...)
		if text = text[n:]; len(text) > 0 {
			dst = append(dst, '#', hex[text[0]>>4], hex[text[0]&15])
			text = text[1:]
		}
	}
	return dst
}
