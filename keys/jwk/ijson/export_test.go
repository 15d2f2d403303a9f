package ijson

// PlainPrefix is for a comparison with PlainPrefixSlowly.
func PlainPrefix(text []byte) int { return plainPrefix(text) }

// PlainPrefixSlowly looks at one byte at a time.
func PlainPrefixSlowly(text []byte) (n int) {
	for n < len(text) && plain[text[n]] {
		n++
	}
	return n
}
