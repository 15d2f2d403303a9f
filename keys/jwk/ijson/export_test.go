package ijson

// PlainPrefixSlowly is PlainPrefix, but looks at one byte at a time.
func PlainPrefixSlowly(text []byte) (n int) {
	for n < len(text) && plain[text[n]] {
		n++
	}
	return n
}
