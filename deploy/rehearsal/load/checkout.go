package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/customersession/customersession/deploy/rehearsal/tally"
)

// attempts is how often a checkout asks for one session. Asking twice does no
// harm: a session is stored nowhere.
const attempts = 3

// A checkout creates sessions.
type checkout struct {
	client                *http.Client
	url, apiKey, customer string
}

// A session is a token as the checkout sees it: it knows its end, and for the
// judgement its key, and verifies nothing.
type session struct {
	token, keyID string
	expiresAt    time.Time
}

var errUnavailable = errors.New("answer is 503")

// create asks up to three times. The error is that of the last attempt that
// failed, also when a later one did not.
func (c *checkout) create(ctx context.Context) (session, tally.Outcome, int, error) {
	var last error
	for attempt := 1; ; attempt++ {
		made, err := c.attempt(ctx)
		if err == nil {
			return made, tally.Created, attempt, last
		}
		last = err
		if attempt == attempts {
			break
		}
		time.Sleep(time.Duration(attempt) * 200 * time.Millisecond)
	}
	if errors.Is(last, errUnavailable) {
		return session{}, tally.Unavailable, attempts, last
	}
	return session{}, tally.Failed, attempts, last
}

func (c *checkout) attempt(ctx context.Context) (session, error) {
	body, err := json.Marshal(map[string]string{"external_customer_id": c.customer})
	if err != nil {
		return session{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return session{}, err
	}
	request.Header.Set("Authorization", "Bearer "+c.apiKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return session{}, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	switch {
	case err != nil:
		return session{}, fmt.Errorf("reading the answer: %w", err)
	case response.StatusCode == http.StatusServiceUnavailable:
		return session{}, errUnavailable
	case response.StatusCode != http.StatusCreated:
		return session{}, fmt.Errorf("answer is %d", response.StatusCode)
	}
	return parse(answer)
}

func parse(answer []byte) (session, error) {
	var fields struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal(answer, &fields); err != nil {
		return session{}, fmt.Errorf("reading the answer: %w", err)
	}
	first, _, _ := strings.Cut(fields.Token, ".")
	header, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return session{}, errors.New("token has no header")
	}
	var names struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(header, &names); err != nil {
		return session{}, errors.New("token has no header")
	}
	return session{token: fields.Token, keyID: names.KeyID, expiresAt: fields.ExpiresAt}, nil
}
