// Package probe asks a running server whether it is ready, for health checks
// in images that have no shell and no curl.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// DefaultURL is the readiness of a server with default settings.
const DefaultURL = "http://127.0.0.1:9090/readyz"

// maxBody is more than any answer of a server has.
const maxBody = 1 << 16

// Ready asks the operations listener at url, http or https, once, and returns
// nil if the server is ready. Otherwise the error has the reasons that the server
// gives, or why it did not answer before ctx was done. Ready uses no proxy of the
// environment and follows no redirect.
func Ready(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking for readiness: %w", err)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking for readiness: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return errors.New("not ready: " + reasons(response))
}

// reasons returns the reasons in an answer, or the status of an answer that is
// not one of ours.
func reasons(response *http.Response) string {
	var health struct {
		Reasons []string `json:"reasons"`
	}
	body := io.LimitReader(response.Body, maxBody)
	if err := json.NewDecoder(body).Decode(&health); err != nil || len(health.Reasons) == 0 {
		return "the answer is " + response.Status
	}
	return strings.Join(health.Reasons, "; ")
}
