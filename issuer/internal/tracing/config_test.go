package tracing_test

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/tracing"
)

func TestCheckEndpoint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		endpoint      string
		plain, secret string // what the error says, without headers and with
	}{
		{"https://collector.example.com/v1/traces", "", ""},
		{"https://collector.example.com", "", ""},
		{"http://otel-collector.monitoring:4318", "", "not https"},
		{"http://127.0.0.1:4318", "", ""},
		{"http://[::1]:4318", "", ""},
		{"http://localhost:4318/", "", ""},
		{"", "not a URL", "not a URL"},
		{"collector:4317", "not a URL", "not a URL"},
		{"grpc://collector:4317", "not a URL", "not a URL"},
		{"http://:4318", "not a URL", "not a URL"},
		{"http://\x7f", "not a URL", "not a URL"},
		{"https://user:s3cret@collector.example.com", "user", "user"},
		{"https://collector.example.com/?key=s3cret", "query", "query"},
		{"https://collector.example.com/#s3cret", "fragment", "fragment"},
	} {
		for headers, want := range map[bool]string{false: test.plain, true: test.secret} {
			err := tracing.CheckEndpoint(test.endpoint, headers)
			if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("%q, headers %t: got %v, want %q", test.endpoint, headers, err, want)
			}
		}
	}
}

func TestParseHeaders(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n\n", "# a comment\n", "Authorization: Bearer s3cret\r\nX-Scope: a:b\n", "a:b",
	} {
		if _, err := tracing.ParseHeaders(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		"s3cret", ": s3cret", "Authorization:", "Author ization: s3cret", "\u00c4: s3cret",
		"Authorization: s3\x00cret", "Authorization: s3cret\x7f", "a(b: s3cret",
	} {
		_, err := tracing.ParseHeaders("# a comment\n" + text)
		if err == nil || !strings.HasPrefix(err.Error(), "line 2 ") || strings.Contains(err.Error(), "s3") {
			t.Errorf("%q: got %v, want an error about line 2 that does not repeat it", text, err)
		}
	}
}

// Nothing prints headers, whatever they are in.
func TestHeadersAreRedacted(t *testing.T) {
	t.Parallel()
	headers, err := tracing.ParseHeaders("Authorization: Bearer s3cret")
	if err != nil {
		t.Fatal(err)
	}
	config := tracing.Config{Endpoint: "https://collector.example.com", Headers: headers}
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("headers", "headers", headers, "config", config)
	tracer := newTracer(t, config)
	defer shutdown(t, tracer)
	for _, text := range []string{
		fmt.Sprint(headers), fmt.Sprintf("%+v %#v", config, config), log.String(),
		fmt.Sprintf("%+v", tracer),
	} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("the secret is in %s", text)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]tracing.Config{
		"endpoint": {}, "ratio": {Endpoint: "https://collector.example.com", Ratio: 1.1},
		"not a number": {Endpoint: "https://collector.example.com", Ratio: math.NaN()},
		"both":         {Ratio: -1},
	} {
		if _, err := tracing.New(config); err == nil || !strings.HasPrefix(err.Error(), "tracing: ") {
			t.Errorf("%s: got %v, want an error", name, err)
		}
	}
}
