package verify

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestIsUUID tries every byte at every place.
func TestIsUUID(t *testing.T) {
	t.Parallel()
	const good = "3f6c1a7e-0b52-4d4e-9a53-0123456789af"
	pattern := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	for at := range good {
		for c := range 256 {
			text := []byte(good)
			text[at] = byte(c)
			if got, want := isUUID(text), pattern.Match(text); got != want {
				t.Errorf("isUUID(%q) = %t, want %t", text, got, want)
			}
		}
		if isUUID([]byte(good[:at])) || isUUID([]byte(good+good[:at+1])) {
			t.Errorf("a UUID of another length was accepted, %d", at)
		}
	}
}

// TestHasControl tries every character, first, last and alone.
func TestHasControl(t *testing.T) {
	t.Parallel()
	for r := range rune(utf8.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		for _, text := range []string{string(r), "é" + string(r), string(r) + "é"} {
			if got, want := hasControl([]byte(text)), strings.ContainsFunc(text, unicode.IsControl); got != want {
				t.Fatalf("hasControl(%q) = %t, want %t", text, got, want)
			}
		}
	}
}
