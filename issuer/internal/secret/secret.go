// Package secret has the type of what must not be printed.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a secret looks like when it is printed.
const Redacted = "[redacted]"

// Text is an API key, a token, or a connection string with a password. Printed,
// logged or marshaled it is [Redacted]; [Text.Reveal] returns it. It cannot hide
// in an unexported field, which fmt prints without calling a method, nor as the
// key of a map, which encoding/json writes as it is.
type Text string

// Reveal returns the secret itself.
func (t Text) Reveal() string { return string(t) }

// String returns [Redacted].
func (Text) String() string { return Redacted }

// Format writes [Redacted] for every verb, even a wrong one.
func (Text) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, Redacted) // a fmt.State records its own errors
}

// LogValue returns [Redacted].
func (Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText returns [Redacted], in JSON too.
func (Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
