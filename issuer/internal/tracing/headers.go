package tracing

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// Headers are the headers of requests to a collector. They hold credentials, so
// whatever prints or logs them gets "[redacted]".
type Headers struct{ header http.Header }

const redacted = "[redacted]"

// ParseHeaders reads headers, one "Name: value" a line. Empty lines, and those
// that begin with "#", are skipped. Errors do not repeat what is wrong.
func ParseHeaders(text string) (Headers, error) {
	header := http.Header{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !isToken(name) || value == "" || strings.ContainsFunc(value, isControl) {
			return Headers{}, fmt.Errorf("line %d is not a header such as Authorization: Bearer …", number)
		}
		header.Add(name, value)
	}
	return Headers{header}, nil
}

// isToken tells what may be the name of a header (RFC 9110, Section 5.6.2).
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

func isControl(c rune) bool { return c < ' ' && c != '\t' || c == '\x7f' }

func (h Headers) empty() bool { return len(h.header) == 0 }

func (h Headers) addTo(header http.Header) {
	for name, values := range h.header {
		header[name] = append(header[name], values...)
	}
}

// Format writes "[redacted]" whatever the verb is, a wrong one included.
func (Headers) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, redacted) // a fmt.State keeps its own errors
}

// LogValue is "[redacted]".
func (Headers) LogValue() slog.Value { return slog.StringValue(redacted) }
