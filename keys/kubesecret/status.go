package kubesecret

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A statusError is an answer with a status other than success.
type statusError struct {
	code       int
	retryAfter time.Duration
	status     status
}

// A status is how an API server, and no other server, explains an error.
type status struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Details struct {
		Kind string `json:"kind"`
	} `json:"details"`
}

func newStatusError(response *http.Response) *statusError {
	e := &statusError{code: response.StatusCode}
	if seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16); err == nil {
		e.retryAfter = time.Duration(seconds) * time.Second
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil || json.Unmarshal(body, &e.status) != nil || e.status.Kind != "Status" {
		e.status = status{} // not an API server: its text is not repeated
	}
	return e
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the API server answers with status %d", e.code)
	if name := http.StatusText(e.code); name != "" {
		text += " " + name
	}
	if e.status.Message != "" {
		text += ": " + quotable(e.status.Message)
	}
	return text
}

// long matches what may be part of a key, in any form of base64.
var long = regexp.MustCompile(`[A-Za-z0-9+/_=-]{32,}`)

// quotable returns the part of an API server's message that may be repeated.
// The message is about the request, and an admission webhook may quote that.
func quotable(message string) string {
	return printable(long.ReplaceAllString(message, "[…]"))
}

// printable returns the beginning of a text, without what a terminal obeys
// rather than shows.
func printable(text string) string {
	const most = 400
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

// noSuchSecret distinguishes a missing Secret from a wrong address and from a
// missing namespace.
func (e *statusError) noSuchSecret() bool {
	return e.code == http.StatusNotFound && e.status.Reason == "NotFound" && e.status.Details.Kind == "secrets"
}

// passing reports whether the same request may succeed a little later.
func (e *statusError) passing() bool {
	return e.code == http.StatusTooManyRequests || e.code >= 500
}

func hasStatus(err error, code int) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.code == code && status.status.Kind != ""
}

// explain adds what to do about an error. verb is the request's name in RBAC.
func (s *Secret) explain(err error, verb string) error {
	status, ok := errors.AsType[*statusError](err)
	if !ok {
		return err
	}
	switch {
	case status.code == http.StatusUnauthorized:
		return fmt.Errorf("%w: it does not accept the credentials; they may have expired, or belong to another cluster", err)
	case status.code == http.StatusForbidden && verb == "create":
		return fmt.Errorf("%w; grant a Role with the verb create on secrets in namespace %s, or create an empty Secret to write to: kubectl create secret generic %s --namespace %s",
			err, s.namespace, s.name, s.namespace)
	case status.code == http.StatusForbidden:
		return fmt.Errorf("%w; grant a Role with the verb %s on the Secret %s in namespace %s", err, verb, s.name, s.namespace)
	case status.status.Kind == "" && status.code < 500:
		return fmt.Errorf("%w, but not as Kubernetes does; check the address", err)
	}
	return err
}
