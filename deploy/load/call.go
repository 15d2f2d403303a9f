package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	sessionsPath = "/v1/customer-sessions/"
	jwkSetPath   = "/.well-known/jwks.json"

	answerTimeout = 10 * time.Second
	maxAnswer     = 1 << 20
)

// A call is what is asked again and again.
type call struct {
	name, method, path string
	header             http.Header
	body               string
	want               int // the status
	// answer is what the server says to it, for the bare handler to say too.
	answer []byte
}

// prepare makes the calls, and makes each of them once: a wrong URL or API key
// is told at once.
func prepare(ctx context.Context, o options) ([]*call, error) {
	body, err := json.Marshal(map[string]string{"customer_id": o.customerID})
	if err != nil {
		return nil, err
	}
	create := &call{
		name: "create a session", method: http.MethodPost, path: sessionsPath, body: string(body), want: http.StatusCreated,
		header: http.Header{"Authorization": {"Bearer " + o.apiKey}, "Content-Type": {"application/json"}},
	}
	set := &call{name: "JWK Set", method: http.MethodGet, path: jwkSetPath, want: http.StatusOK, header: http.Header{}}
	unchanged := &call{name: "JWK Set, unchanged", method: http.MethodGet, path: jwkSetPath, want: http.StatusNotModified, header: http.Header{}}
	client := newClient(1)
	defer client.CloseIdleConnections()
	calls := []*call{create, set, unchanged}
	for _, c := range calls {
		header, err := c.try(ctx, client, o.base)
		if err != nil {
			return nil, fmt.Errorf("trying to %s: %w", c.name, err)
		}
		if tag := header.Get("ETag"); tag != "" {
			unchanged.header.Set("If-None-Match", tag)
		}
	}
	return calls, nil
}

// newClient returns a client that keeps a connection for each worker, follows
// no redirect and asks no proxy.
func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout:   answerTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// try makes the call once and keeps the answer.
func (c *call) try(ctx context.Context, client *http.Client, base string) (http.Header, error) {
	response, err := c.send(ctx, client, base)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != c.want {
		return nil, fmt.Errorf("the server answers %d, want %d", response.StatusCode, c.want)
	}
	c.answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.Header, err
}

// make makes the call and returns the status.
func (c *call) make(ctx context.Context, client *http.Client, base string) (int, error) {
	response, err := c.send(ctx, client, base)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	// What is not read to its end costs a new connection.
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, err
}

func (c *call) send(ctx context.Context, client *http.Client, base string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, c.method, base+c.path, strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	request.Header = c.header
	return client.Do(request)
}
