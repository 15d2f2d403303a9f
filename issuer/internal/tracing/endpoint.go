package tracing

import (
	"errors"
	"net"
	"net/url"
)

// CheckEndpoint returns what is wrong with the URL of a collector, without
// repeating it. It is absolute, http or https, and has no user, no query and no
// fragment; where it has no path, /v1/traces is added.
//
// A span holds no secret, so http is accepted: a collector is often in the same
// cluster. Headers are mostly credentials, and with them it must be https,
// except on loopback.
func CheckEndpoint(endpoint string, headers bool) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("endpoint is not a URL such as http://127.0.0.1:4318/v1/traces")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("endpoint has a user, a query or a fragment; credentials belong into headers")
	case headers && u.Scheme != "https" && !isLoopback(u.Hostname()):
		return errors.New("endpoint is not https; with headers, http is for loopback only")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// withPath gives an endpoint that was checked the usual path if it has none.
func withPath(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err == nil && (u.Path == "" || u.Path == "/") {
		u.Path = "/v1/traces"
		return u.String()
	}
	return endpoint
}
