package customers

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a token, or a connection string with a password. Printed, logged or
// marshaled it is "[redacted]"; only a conversion to string gives its value.
type Secret string

const redacted = "[redacted]"

// Format writes "[redacted]" for every verb, even a wrong one.
func (Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, redacted) // a fmt.State keeps its own errors
}

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
