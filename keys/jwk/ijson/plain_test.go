package ijson_test

import (
	"bytes"
	"testing"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// TestPlainPrefix tries every byte at every place, before other bytes of all
// kinds.
func TestPlainPrefix(t *testing.T) {
	t.Parallel()
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				for _, rest := range []byte{'a', 0x7f, ' ', 0xff, '"', 0} {
					text := append(bytes.Repeat([]byte{'a'}, at), byte(c))
					text = append(text, bytes.Repeat([]byte{rest}, length-at-1)...)
					if got, want := ijson.PlainPrefix(text), ijson.PlainPrefixSlowly(text); got != want {
						t.Fatalf("PlainPrefix(%q) = %d, want %d", text, got, want)
					}
				}
			}
		}
	}
}
