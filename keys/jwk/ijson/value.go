package ijson

import (
	"bytes"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// A Value is a JSON value that [Members] has checked: its bytes in the text,
// without surrounding white space.
type Value []byte

// A Kind is the type of a JSON value.
type Kind byte

// The kinds of JSON values (RFC 8259, Section 3).
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Kind returns the type of v.
func (v Value) Kind() Kind {
	if len(v) == 0 {
		return Null
	}
	switch v[0] {
	case '"':
		return String
	case '{':
		return Object
	case '[':
		return Array
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	default:
		return Number
	}
}

// Text returns the unescaped content of a string; ok is false if v is not a
// string. It allocates only if the string holds an escape; otherwise the result
// is a part of v.
func (v Value) Text() (text []byte, ok bool) {
	if v.Kind() != String {
		return nil, false
	}
	text = v[1 : len(v)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		text = unescape(nil, text)
	}
	return text, true
}

// Int returns a whole number; ok is false if v is not a number, has a fraction
// or an exponent, or does not fit.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	digits, negative := v, v[0] == '-'
	if negative {
		digits = v[1:]
	}
	for i, c := range digits {
		if c < '0' || '9' < c {
			return 0, false
		}
		d := int64(c - '0')
		if i >= 18 && n > (math.MaxInt64-d)/10 { // 18 digits always fit
			return 0, false
		}
		n = n*10 + d
	}
	if negative {
		n = -n
	}
	return n, true
}

// Elements calls visit with each element of an array, in order; ok is false if
// v is not an array or visit returned false. An element is only valid during
// the call.
func (v Value) Elements(visit func(Value) bool) (ok bool) {
	if v.Kind() != Array {
		return false
	}
	// The array is part of a text that was within its limits.
	s := scanner{data: v, limits: Limits{Depth: math.MaxInt, Members: math.MaxInt}}
	empty, err := s.open(']')
	for done := empty; !done && err == nil; {
		c := s.token()
		start := s.pos
		if err = s.value(c); err != nil {
			break
		}
		if !visit(v[start:s.pos]) {
			return false
		}
		done, err = s.next(']')
	}
	return err == nil
}

// unescape appends the content of a checked string to dst.
func unescape(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			dst = append(dst, text[i])
			i++
			continue
		}
		if text[i+1] == 'u' {
			r, size := decodeUnicode(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		dst = append(dst, unescaped(text[i+1]))
		i += 2
	}
	return dst
}

// unescaped returns the character of a one-letter escape (RFC 8259, Section 7).
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c
	}
}

// loneSurrogate is the size that decodeUnicode returns for half of a pair.
const loneSurrogate = -1

// decodeUnicode reads the \uXXXX, or the pair of them, at the start of text.
// The size is 0 if there is none.
func decodeUnicode(text []byte) (r rune, size int) {
	r = hex4(text)
	if r < 0 {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low := hex4(text[6:])
	if low < 0 {
		return 0, loneSurrogate
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, loneSurrogate
	}
	return r, 12
}

// hex4 returns the value of the \uXXXX at the start of text, or -1.
func hex4(text []byte) (r rune) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	for _, c := range text[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
