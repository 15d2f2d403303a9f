package remote

import (
	"net/http"
	"time"
)

// NewHTTPClient returns a client that does not follow redirects, keeps as many
// connections as maxIdle, and reads headers of as many bytes as maxHeader. It has no
// time-out: contexts have.
func NewHTTPClient(maxIdle int, maxHeader int64) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          maxIdle,
			MaxIdleConnsPerHost:   maxIdle,
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   5 * time.Second,
			ExpectContinueTimeout: time.Second,
			// By default 10 MiB, for each attempt.
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
