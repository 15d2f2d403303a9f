package tracing

import (
	"bufio"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/customersession/customersession/issuer/internal/loopback"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// Endpoint returns the URL to which the standard OTEL_* variables send traces,
// or an empty string when they leave traces off. The error names the variables
// that are wrong, and repeats no value.
//
// With a file of headers, which are mostly credentials, the URL must be https,
// except on loopback.
func Endpoint(getenv func(string) string, headersFile string) (string, error) {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	if exporter == "none" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return "", nil
	}
	name, path := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""
	if getenv(name) == "" {
		name, path = "OTEL_EXPORTER_OTLP_ENDPOINT", "v1/traces"
	}
	if getenv(name) == "" {
		if headersFile != "" {
			return "", errors.New("CUSTOMERSESSION_TRACES_HEADERS_FILE is set, but " + name + " is missing")
		}
		return "", nil
	}
	u, err := parseEndpoint(getenv(name))
	if err != nil {
		return "", fmt.Errorf("%s %w", name, err)
	}
	var problems []error
	if exporter != "" && exporter != "otlp" {
		problems = append(problems, errors.New("OTEL_TRACES_EXPORTER is neither otlp nor none"))
	}
	if headersFile != "" && u.Scheme != "https" && !loopback.Host(u.Hostname()) {
		problems = append(problems, errors.New(name+" is not https; with CUSTOMERSESSION_TRACES_HEADERS_FILE, http is for loopback only"))
	}
	problems = append(problems, checkProtocol(getenv), checkHeaders(getenv, headersFile))
	return u.JoinPath(path).String(), errors.Join(problems...)
}

func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("is not a URL such as http://127.0.0.1:4318")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has a user, a query or a fragment; put credentials into CUSTOMERSESSION_TRACES_HEADERS_FILE")
	}
	return u, nil
}

// checkProtocol refuses gRPC, which the exporter would silently not speak.
func checkProtocol(getenv func(string) string) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch getenv(name) {
		case "http/protobuf", "http/json":
			return nil
		case "":
		default:
			return errors.New(name + " is neither http/protobuf nor http/json")
		}
	}
	return nil
}

// checkHeaders refuses variables that the exporter would refuse: it prints what
// is wrong with them.
func checkHeaders(getenv func(string) string, headersFile string) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"} {
		value := getenv(name)
		if value == "" {
			continue
		}
		if headersFile != "" {
			return errors.New(name + " and CUSTOMERSESSION_TRACES_HEADERS_FILE are both set; put all headers into the file")
		}
		for pair := range strings.SplitSeq(value, ",") {
			key, text, found := strings.Cut(pair, "=")
			if _, err := url.PathUnescape(text); err != nil || !found || !isToken(strings.TrimSpace(key)) {
				return errors.New(name + " is not a list such as name=value,name=value with encoded values")
			}
		}
	}
	return nil
}

// isToken reports whether text may be the name of a header (RFC 9110, Section
// 5.6.2).
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// readHeaders reads a file of headers, one "Name: value" a line. The error does
// not repeat what is in the file.
func readHeaders(path string) (map[string]string, error) {
	text, err := secret.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := strings.NewReader(text.Reveal() + "\n\n") // the end of headers
	parsed, err := textproto.NewReader(bufio.NewReader(lines)).ReadMIMEHeader()
	headers := map[string]string{}
	for name, values := range parsed {
		if isToken(name) {
			headers[name] = strings.Join(values, ", ")
		}
	}
	if err != nil || len(headers) == 0 || len(headers) != len(parsed) {
		return nil, fmt.Errorf("%s is not a list of headers such as Authorization: Bearer …, one a line", path)
	}
	return headers, nil
}
