package sample

import "strings"

// Word is one word of a rule, condition or ACL line.
type Word struct {
	Text   string // quotes and escapes resolved
	Offset int    // of the word's first byte in the line, its quote included
	Quoted bool   // some of it stood in quotes: such a word is never taken for "if", "or", "{" or a flag

	at []int // source offset of each byte of Text, nil where Text stands in the source as it is
}

// At returns the offset in the line of byte i of Text, for errors inside the word.
func (w Word) At(i int) int {
	switch {
	case w.at == nil:
		return w.Offset + i
	case i < len(w.at):
		return w.at[i]
	case len(w.at) > 0:
		return w.at[len(w.at)-1] + 1
	}
	return w.Offset
}

// Is says whether the word is the bare (unquoted) word s.
func (w Word) Is(s string) bool { return !w.Quoted && w.Text == s }

// Words splits a line as HAProxy's configuration reader does (configuration manual, section 2.2): white space separates, '...'
// is literal, "..." keeps spaces but resolves escapes, and outside of '...' a backslash makes \  \\ \" \' \# \t \n \r \xHH.
// Any other backslash stays, so that regular expressions survive. Two differences, both refusals of what HAProxy does silently:
// an unquoted # that would begin a comment is an error, and so is an unfinished quote. A $ is an ordinary byte; variables are
// expanded by whoever reads the file. Whether a word was quoted is kept, because here "-i" in quotes is a pattern and no flag.
func Words(text string) ([]Word, error) {
	var words []Word
	var b strings.Builder
	var at []int
	start, quoted, verbatim, open := -1, false, true, byte(0)
	openAt := 0
	put := func(c byte, from int) { b.WriteByte(c); at = append(at, from) }
	end := func() {
		if start < 0 {
			return
		}
		w := Word{Text: b.String(), Offset: start, Quoted: quoted}
		if !verbatim {
			w.at = append([]int{}, at...)
		}
		words = append(words, w)
		b.Reset()
		at, start, quoted, verbatim = at[:0], -1, false, true
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		space := c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'
		if open == 0 && space {
			end()
			continue
		}
		if open == 0 && c == '#' {
			return nil, Errorf(i, "an unquoted # begins a comment in HAProxy's language: write '#' in quotes or \\#")
		}
		if start < 0 {
			start = i
		}
		switch {
		case (c == '"' || c == '\'') && (open == 0 || open == c):
			if open == 0 {
				open, openAt = c, i
			} else {
				open = 0
			}
			quoted, verbatim = true, false
		case c == '\\' && open != '\'' && i+1 < len(text):
			n := text[i+1]
			switch n {
			case ' ', '\\', '"', '\'', '#':
			case 't':
				n = '\t'
			case 'n':
				n = '\n'
			case 'r':
				n = '\r'
			case 'x':
				hi, lo := -1, -1
				if i+3 < len(text) {
					hi, lo = unhex(text[i+2]), unhex(text[i+3])
				}
				if hi < 0 || lo < 0 {
					return nil, Errorf(i, "\\x needs two hexadecimal digits")
				}
				put(byte(hi<<4|lo), i)
				i, verbatim = i+3, false
				continue
			default: // no escape: \d, \., \1 belong to a regular expression
				put(c, i)
				continue
			}
			put(n, i)
			i, verbatim = i+1, false
		default:
			put(c, i)
		}
	}
	if open != 0 {
		return nil, Errorf(openAt, "this quote (%c) is never closed", open)
	}
	end()
	return words, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
