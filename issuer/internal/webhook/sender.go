package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/remote"
	"github.com/customersession/customersession/issuer/internal/secret"
)

const (
	// tries is how often an event is sent until it arrives, and timeout is for each.
	tries   = 2
	timeout = 5 * time.Second
	// longestPause is the longest time between two of them.
	longestPause = 500 * time.Millisecond
	// atOnce is how many events of an organization are on their way at once.
	atOnce = 4
	// maxAnswer is how much of an answer is read, so that its connection can be used
	// again.
	maxAnswer = 16 << 10
	// maxIdle is how many connections are kept, of all receivers.
	maxIdle = 64
)

// ErrBusy means that an event was not sent, because so many others of its
// organization are on their way.
var ErrBusy = errors.New("too many events for this webhook are in progress")

// A Hook is where the events of an organization go.
type Hook struct {
	OrganizationID uuid.UUID
	URL            string
	Secret         secret.Text
}

// An Event is what happened.
type Event struct {
	// ID names the event: a receiver handles only the first of equal ones. It has
	// letters, digits, hyphens and underscores only.
	ID string
	// Body is JSON.
	Body []byte
}

// A Sender sends events. It is safe for concurrent use.
type Sender struct {
	client *http.Client

	mu    sync.Mutex
	onWay map[uuid.UUID]int // only those with any
}

// NewSender returns a sender.
func NewSender() *Sender {
	return &Sender{client: remote.NewHTTPClient(maxIdle, maxAnswer), onWay: map[uuid.UUID]int{}}
}

// Send sends an event, and again if it does not arrive: the receiver must answer
// with a status of 2xx within 5 seconds. Redirects are not followed. The error says
// why the last try failed, and holds nothing of the URL, the event or the answer; it
// is [ErrBusy] when nothing was sent.
func (s *Sender) Send(ctx context.Context, hook *Hook, event *Event) error {
	key, err := decodeSecret(hook.Secret)
	if err != nil {
		return err
	}
	if !s.enter(hook.OrganizationID) {
		return ErrBusy
	}
	defer s.leave(hook.OrganizationID)
	for try := 1; ; try++ {
		err = s.try(ctx, hook.URL, key, event)
		if err == nil || try == tries || !pause(ctx) {
			return err
		}
	}
}

// try sends an event once. Each try has a timestamp of its own, since receivers
// refuse an old one.
func (s *Sender) try(ctx context.Context, address string, key []byte, event *Event) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(event.Body))
	if err != nil {
		return remote.Describe(err)
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "customersession")
	request.Header.Set("Webhook-Id", event.ID)
	request.Header.Set("Webhook-Timestamp", timestamp)
	request.Header.Set("Webhook-Signature", sign(key, event.ID, timestamp, event.Body))
	response, err := s.client.Do(request)
	if err != nil {
		return remote.Describe(err)
	}
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	_ = response.Body.Close()
	switch status := response.StatusCode; {
	case status >= 200 && status < 300:
		return nil
	case status >= 300 && status < 400:
		return fmt.Errorf("it redirects (status %d), which is not followed; correct the URL", status)
	default:
		return fmt.Errorf("it answers with status %d", status)
	}
}

// pause waits before the next try, and reports whether there is to be one.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(rand.N(longestPause)) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// enter takes one of the places of an organization, if there is one.
func (s *Sender) enter(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onWay[organization] == atOnce {
		return false
	}
	s.onWay[organization]++
	return true
}

func (s *Sender) leave(organization uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onWay[organization]--; s.onWay[organization] == 0 {
		delete(s.onWay, organization)
	}
}
