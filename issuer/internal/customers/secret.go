package customers

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that must not be seen: a token, or a connection string
// with a password. Whatever prints, logs or marshals it gets "[redacted]"; a
// conversion to string is the only way to what it holds.
type Secret string

const redacted = "[redacted]"

// Format writes "[redacted]" whatever the verb is, a wrong one included.
func (Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, redacted) // a fmt.State keeps its own errors
}

// LogValue is "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
