package tracing_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/tracing"
)

// environment returns a function such as [os.Getenv], of pairs of name and value.
func environment(pairs ...string) func(string) string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all["OTEL_"+pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return all[name] }
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	const base, traces = "EXPORTER_OTLP_ENDPOINT", "EXPORTER_OTLP_TRACES_ENDPOINT"
	for _, test := range []struct {
		name, want  string
		environment []string
	}{
		{"nothing is set", "", nil},
		{"base URL", "https://collector.example.com/v1/traces", []string{base, "https://collector.example.com"}},
		{"base URL with a slash", "http://[::1]:4318/v1/traces", []string{base, "http://[::1]:4318/"}},
		{"base URL with a path", "http://collector:4318/otlp/v1/traces", []string{base, "http://collector:4318/otlp"}},
		{"URL for traces", "http://collector:4318/spans", []string{base, "http://a", traces, "http://collector:4318/spans"}},
		{"disabled", "", []string{base, "http://collector", "SDK_DISABLED", "True"}},
		{"not disabled", "http://collector/v1/traces", []string{base, "http://collector", "SDK_DISABLED", "no"}},
		{"no exporter", "", []string{base, "http://collector", "TRACES_EXPORTER", "none"}},
		{"OTLP", "http://collector/v1/traces", []string{base, "http://collector", "TRACES_EXPORTER", "otlp"}},
		{"protobuf", "http://collector/v1/traces", []string{base, "http://collector", "EXPORTER_OTLP_PROTOCOL", "http/protobuf"}},
		{"JSON for traces, gRPC for others", "http://collector/v1/traces", []string{base, "http://collector", "EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "EXPORTER_OTLP_PROTOCOL", "grpc"}},
		{"headers", "http://collector/v1/traces", []string{base, "http://collector", "EXPORTER_OTLP_HEADERS", "a=b, X-Scope-OrgID=c%20d"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := tracing.Endpoint(environment(test.environment...), "")
			if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestEndpointRefuses(t *testing.T) {
	t.Parallel()
	const base, traces, headers = "EXPORTER_OTLP_ENDPOINT", "EXPORTER_OTLP_TRACES_ENDPOINT", "EXPORTER_OTLP_HEADERS"
	for _, test := range []struct {
		want        string
		headersFile string
		environment []string
	}{
		{"OTEL_EXPORTER_OTLP_ENDPOINT is not a URL", "", []string{base, "collector:4317"}},
		{"OTEL_EXPORTER_OTLP_ENDPOINT is not a URL", "", []string{base, "grpc://collector:4317"}},
		{"OTEL_EXPORTER_OTLP_ENDPOINT is not a URL", "", []string{base, "http://:4318"}},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is not a URL", "", []string{traces, "http://s3cret\x7f"}},
		{"has a user, a query or a fragment", "", []string{base, "https://user:s3cret@collector.example.com"}},
		{"has a user, a query or a fragment", "", []string{base, "https://collector.example.com/?key=s3cret"}},
		{"has a user, a query or a fragment", "", []string{base, "https://collector.example.com/#s3cret"}},
		{"OTEL_TRACES_EXPORTER is neither", "", []string{base, "http://a", "TRACES_EXPORTER", "console"}},
		{"OTEL_EXPORTER_OTLP_PROTOCOL is neither", "", []string{base, "http://a", "EXPORTER_OTLP_PROTOCOL", "grpc"}},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is neither", "", []string{base, "http://a", "EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"}},
		{"OTEL_EXPORTER_OTLP_HEADERS is not a list", "", []string{base, "http://a", headers, "Authorization: Bearer s3cret"}},
		{"OTEL_EXPORTER_OTLP_HEADERS is not a list", "", []string{base, "http://a", headers, "Authorization: s3cret=="}},
		{"OTEL_EXPORTER_OTLP_HEADERS is not a list", "", []string{base, "http://a", headers, "a=b,key=s3cret%"}},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS is not a list", "", []string{base, "http://a", "EXPORTER_OTLP_TRACES_HEADERS", "s3cret"}},
		{"OTEL_EXPORTER_OTLP_HEADERS and CUSTOMERSESSION_TRACES_HEADERS_FILE are both set", "headers", []string{base, "https://a", headers, "a=s3cret"}},
		{"OTEL_EXPORTER_OTLP_ENDPOINT is missing", "headers", nil},
		{"OTEL_EXPORTER_OTLP_ENDPOINT is not https", "headers", []string{base, "http://collector:4318"}},
	} {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			_, err := tracing.Endpoint(environment(test.environment...), test.headersFile)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	for _, endpoint := range []string{"https://collector.example.com", "http://127.0.0.1:4318", "http://[::1]:4318", "http://localhost:4318"} {
		if _, err := tracing.Endpoint(environment(base, endpoint), "headers"); err != nil {
			t.Errorf("%s with headers: %v", endpoint, err)
		}
	}
}

func TestHeadersFileRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n", "s3cret", ": s3cret", "Author ization: s3cret", "\u00c4: s3cret", "a(b: s3cret", "a: b\ns3cret",
	} {
		path := filepath.Join(t.TempDir(), "headers")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := tracing.New(t.Context(), tracing.Config{
			Endpoint: "https://collector.example.com", HeadersFile: path, Logger: slog.New(slog.DiscardHandler),
		})
		if err == nil || !strings.Contains(err.Error(), path+" is not a list of headers") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want an error that does not repeat it", text, err)
		}
	}
}

func TestNewIsOffWithoutEndpoint(t *testing.T) {
	t.Parallel()
	if tracer, err := tracing.New(t.Context(), tracing.Config{}); tracer != nil || err != nil {
		t.Errorf("got %v, %v, want nothing", tracer, err)
	}
}
