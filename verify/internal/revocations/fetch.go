package revocations

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/customersession/customersession/verify/internal/outbound"
)

// answerTimeout is how long an answer may take, beside the time that it waits for
// news.
const answerTimeout = 10 * time.Second

// Why a request failed: a closed list, fit for a metric's label, as are the
// verdicts of refused answers.
const (
	classTimeout    = "timeout"
	classConnection = "connection"
	classStatus     = "status"
	classNotFound   = "not_found"
	classTooLarge   = "too_large"
	classDocument   = "document"
	// classOld is an answer that was taken, of a replica that knows too little.
	classOld = "old"
)

// A fetchError is why a request failed. What the network or the answer said goes
// no further: it may quote an address, or text that anyone may have sent.
type fetchError struct {
	class  string
	status int // of the response, if that is what is wrong
}

// Error says what happened.
func (e *fetchError) Error() string {
	switch e.class {
	case classTimeout:
		return "no answer in time"
	case classConnection:
		return "no connection"
	case classStatus:
		return fmt.Sprintf("status %d", e.status)
	case classNotFound:
		return "status 404: the issuer does not serve it, upgrade the issuer first"
	case classTooLarge:
		return "more than 16 MiB"
	case classDocument:
		return "not an answer of the feed"
	case classOld:
		return "what the answer says is too old"
	default:
		return "refused: " + e.class
	}
}

// refused reports whether there was an answer, and it was not one to take.
func (e *fetchError) refused() bool {
	switch e.class {
	case classTimeout, classConnection, classStatus, classNotFound, classOld:
		return false
	default:
		return true
	}
}

// A fetcher asks the feed.
type fetcher struct {
	url    string
	client *http.Client
	// timeout is that of the client, 0 for none.
	timeout time.Duration
	// stalled is set if there was no answer in time to the last request.
	stalled bool
}

func newFetcher(config *Config) fetcher {
	client := outbound.Client(config.Client, 0)
	return fetcher{url: config.URL, client: client, timeout: timeoutOf(client)}
}

// timeoutOf returns how long a client waits for an answer, 0 for ever.
func timeoutOf(client *http.Client) time.Duration {
	t, ok := client.Transport.(*http.Transport)
	switch {
	case !ok || t.ResponseHeaderTimeout <= 0:
		return client.Timeout
	case client.Timeout <= 0:
		return t.ResponseHeaderTimeout
	default:
		return min(client.Timeout, t.ResponseHeaderTimeout)
	}
}

// fetch makes one request. No other may be under way.
func (f *fetcher) fetch(ctx context.Context, r *Request) (answer *Answer, failed *fetchError) {
	if f.stalled {
		// HTTP/2 would go on with the same connection, although it may be dead,
		// until TCP gives it up after a quarter of an hour.
		f.client.CloseIdleConnections()
	}
	defer func() { f.stalled = failed != nil && failed.class == classTimeout }()
	address, err := url.Parse(f.url)
	if err != nil {
		return nil, &fetchError{class: classConnection}
	}
	query := address.Query()
	query.Set("after", strconv.FormatInt(r.After, 10))
	query.Set("nonce", r.Nonce)
	if r.Log != "" {
		query.Set("log", r.Log)
	}
	if r.Wait > 0 {
		query.Set("wait", strconv.Itoa(int(r.Wait/time.Second)))
	}
	address.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, &fetchError{class: classConnection}
	}
	request.Header.Set("Accept", "application/json")
	// A transport that unpacks by itself does so without a limit.
	request.Header.Set("Accept-Encoding", "gzip")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, networkError(err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return readAnswer(response)
	case http.StatusNotFound:
		return nil, &fetchError{class: classNotFound, status: response.StatusCode}
	default:
		return nil, &fetchError{class: classStatus, status: response.StatusCode}
	}
}

// readAnswer unpacks and reads a response.
func readAnswer(response *http.Response) (*Answer, *fetchError) {
	var reader io.Reader = response.Body
	switch response.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(reader)
		if err != nil {
			return nil, bodyError(err)
		}
		reader = unpacked
	default:
		return nil, &fetchError{class: classDocument}
	}
	body, err := io.ReadAll(io.LimitReader(reader, maxLength+1))
	switch {
	case err != nil:
		return nil, bodyError(err)
	case len(body) > maxLength:
		return nil, &fetchError{class: classTooLarge}
	}
	answer, err := parse(body, response.Header)
	if err != nil {
		return nil, &fetchError{class: classDocument}
	}
	return answer, nil
}

// bodyError distinguishes bytes that are not gzip from what the network does.
func bodyError(err error) *fetchError {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	if corrupt || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return &fetchError{class: classDocument}
	}
	return networkError(err)
}

// networkError distinguishes a time-out from every other network error.
func networkError(err error) *fetchError {
	if outbound.TimedOut(err) {
		return &fetchError{class: classTimeout}
	}
	return &fetchError{class: classConnection}
}
