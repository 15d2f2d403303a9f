package issuer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/deploy/rig/clock"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/verify/wire"
)

// consumerCount is how many services verify.
const consumerCount = 20

// The load, in real time.
const (
	creators    = 3
	createEvery = 60 * time.Millisecond // each of them
	showEvery   = 100 * time.Millisecond
	showOld     = consumerCount / 4 // how many see a token again each time
)

// A shownToken is one that consumers are shown again and again.
type shownToken struct {
	text, keyID string
	// From from to until it must be accepted, as long as its key lives.
	from, until time.Time
	// lasting is whether the test made it, to outlive its key.
	lasting bool
	// Once a consumer rightly refused it, it is not shown it again: each time
	// would be a reason to fetch keys, and caches would never be as old as
	// they may be.
	accepted, refused [consumerCount]bool
}

// A workload creates sessions through the balancer, shows their tokens to the
// consumers and judges the verdicts.
type workload struct {
	t                 testing.TB
	clock             clock.Clock
	policy            keys.Policy
	issuer, consumers string // URLs
	secret            string
	client            http.Client

	mu     sync.Mutex
	closed bool // nobody asks for sessions any more
	act    *act // that is on
	keys   map[string]*keyLife
	tokens []*shownToken
}

// A keyLife is when a key is no longer to be accepted.
type keyLife struct{ removeAt, revokedAt time.Time }

// An act is a line of the table.
type act struct {
	name                            string
	began, ended                    time.Time
	sessions, failed, verifications int
	// refused counts valid tokens that were refused, accepted those of dead
	// keys that were accepted.
	refused, accepted int
	slowest           time.Duration // of creating a session, in real time
}

// learn takes note of a manifest before any replica has it, and makes a lasting
// token of each new key.
func (w *workload) learn(m *keys.Manifest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policy = m.Policy
	for _, k := range m.Keys {
		if w.keys[k.ID()] == nil {
			w.keys[k.ID()] = &keyLife{}
			w.tokens = append(w.tokens, w.lastingToken(m, k))
		}
		w.keys[k.ID()].removeAt, w.keys[k.ID()].revokedAt = k.RemoveAt, k.RevokedAt
	}
}

// lastingToken is what a thief of the key would make. It is not shown before
// every cache holds the key: an unknown one makes consumers fetch.
func (w *workload) lastingToken(m *keys.Manifest, k *keys.Key) *shownToken {
	now := w.clock.Now()
	until := now.Add(24 * time.Hour)
	header := map[string]any{"alg": k.Public.Algorithm(), "kid": k.ID(), "typ": wire.TokenType}
	claims := map[string]any{
		wire.ClaimIssuer: w.issuer, wire.ClaimAudience: "customer-portal", wire.ClaimCustomerID: customerID,
		wire.ClaimSessionID: uuid.NewString(), wire.ClaimOrganizationID: orgID,
		wire.ClaimIssuedAt: now.Unix(), wire.ClaimExpiresAt: until.Unix(), wire.ClaimScope: wire.Scope,
	}
	input := encodeChanged(w.t, header, nil) + "." + encodeChanged(w.t, claims, nil)
	signature, err := signerOf(w.t, m, k).Sign(w.t.Context(), []byte(input))
	if err != nil {
		w.t.Error(err)
	}
	return &shownToken{
		text: input + "." + base64.RawURLEncoding.EncodeToString(signature), keyID: k.ID(), lasting: true,
		from: k.PublishAt.Add(w.policy.Propagation + w.policy.Cache + w.policy.Skew), until: until,
	}
}

// run creates sessions and shows tokens until ctx is done.
func (w *workload) run(ctx context.Context) {
	var working sync.WaitGroup
	for range creators {
		working.Go(func() {
			every(ctx, createEvery, func(int) {
				if !w.isClosed() {
					w.create(ctx, w.issuer)
				}
			})
		})
	}
	every(ctx, showEvery, func(n int) { w.show(ctx, w.due(n)) })
	working.Wait()
}

// close ends the creation of sessions. Tokens are shown as before.
func (w *workload) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

func (w *workload) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// every calls f again and again until ctx is done.
func every(ctx context.Context, interval time.Duration, f func(n int)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
			f(n)
		case <-ctx.Done():
			return
		}
	}
}

// create creates a session at a URL and shows its token to all consumers at
// once. It returns the ID of the key that signed it, and the status.
func (w *workload) create(ctx context.Context, base string) (keyID string, status int) {
	lifetime := minSession + time.Duration(rand.N(int64(maxSession-minSession)/int64(time.Second)+1))*time.Second
	body := fmt.Sprintf(`{"customer_id":%q,"expires_in":%d}`, customerID, int(lifetime.Seconds()))
	var session struct {
		Token     string
		ExpiresAt time.Time `json:"expires_at"`
	}
	began := time.Now()
	status, err := w.post(ctx, base+"/v1/customer-sessions/", body, &session)
	took := time.Since(began)
	if ctx.Err() != nil {
		return "", 0
	}
	token := &shownToken{text: session.Token, until: session.ExpiresAt}
	if err == nil {
		token.keyID, err = keyIDOf(session.Token)
	}
	// What is asked of one replica alone is a question, not a part of the load.
	w.created(token, took, err, base == w.issuer)
	if err != nil {
		return "", status
	}
	w.show(ctx, map[*shownToken][]int{token: allConsumers()})
	return token.keyID, status
}

func (w *workload) created(token *shownToken, took time.Duration, err error, counts bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.act.sessions++
		w.tokens = append(w.tokens, token)
	}
	if counts {
		w.act.slowest = max(w.act.slowest, took)
	}
	if counts && err != nil {
		w.act.failed++
		w.complain(w.act.failed, "creating a session: %v", err)
	}
}

// keyIDOf reads which key signed a token.
func keyIDOf(token string) (string, error) {
	segment, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return "", err
	}
	var header struct{ KID string }
	err = json.Unmarshal(text, &header)
	return header.KID, err
}

// post sends a body and decodes the answer.
func (w *workload) post(ctx context.Context, url, body string, answer any) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+w.secret)
	request.Header.Set("Content-Type", "application/json")
	response, err := w.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		return response.StatusCode, fmt.Errorf("status %d", response.StatusCode)
	}
	return response.StatusCode, json.NewDecoder(response.Body).Decode(answer)
}

// due returns what is to be shown to whom in the n-th round, and forgets
// sessions that are over. Lasting tokens are for all consumers that did not
// refuse them yet.
func (w *workload) due(n int) map[*shownToken][]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	due := map[*shownToken][]int{}
	kept := w.tokens[:0:0]
	for i, token := range w.tokens {
		if !now.Before(token.until) {
			continue
		}
		kept = append(kept, token)
		if now.Before(token.from) {
			continue
		}
		for number := range consumerCount {
			turn := (n+i+number)%(consumerCount/showOld) == 0
			if !token.refused[number] && (token.lasting || turn) {
				due[token] = append(due[token], number)
			}
		}
	}
	w.tokens = kept
	return due
}

func allConsumers() []int {
	all := make([]int, consumerCount)
	for i := range all {
		all[i] = i
	}
	return all
}

// show shows tokens to consumers, by number, and judges what they say.
func (w *workload) show(ctx context.Context, due map[*shownToken][]int) {
	type showing struct {
		Token     string
		Consumers []int
	}
	showings := make([]showing, 0, len(due))
	tokens := make([]*shownToken, 0, len(due))
	for token, numbers := range due {
		tokens = append(tokens, token)
		showings = append(showings, showing{token.text, numbers})
	}
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(showings); err != nil {
		w.t.Error(err)
	}
	var verdicts [][]string
	before := w.clock.Now()
	_, err := w.post(ctx, w.consumers, text.String(), &verdicts)
	after := w.clock.Now()
	switch {
	case ctx.Err() != nil:
		return
	case err != nil || len(verdicts) != len(tokens):
		w.t.Errorf("asking the consumers: %d verdicts on %d tokens, %v", len(verdicts), len(tokens), err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, token := range tokens {
		for j, number := range due[token] {
			w.judge(token, number, verdicts[i][j], before, after)
		}
	}
}

// judge holds a verdict, empty for yes, against what it had to be whenever
// between before and after it was made.
func (w *workload) judge(token *shownToken, number int, verdict string, before, after time.Time) {
	validUntil, deadFrom := w.bounds(token)
	w.act.verifications++
	if verdict == "" {
		token.accepted[number] = true
		if before.After(deadFrom) {
			w.act.accepted++
			w.complain(w.act.accepted, "consumer %d accepts a token of dead key %s, %v past the bound",
				number, token.keyID, before.Sub(deadFrom))
		}
		return
	}
	token.refused[number] = true
	if !before.Before(token.from) && after.Before(validUntil) {
		w.act.refused++
		w.complain(w.act.refused, "consumer %d refuses a valid token of key %s, %v before it ends: %s",
			number, token.keyID, validUntil.Sub(after), verdict)
	}
}

// bounds returns until when a token must be accepted, and from when on it must
// be refused because its key is dead. For a key that is removed the latter could
// be earlier by the propagation, as replicas remove it by the clock; but then
// one answer that comes too late, on a busy machine, would break the bound.
func (w *workload) bounds(token *shownToken) (validUntil, deadFrom time.Time) {
	life, p := w.keys[token.keyID], w.policy
	validUntil, deadFrom = earlier(token.until, life.removeAt.Add(-p.Skew)), life.removeAt
	if !life.revokedAt.IsZero() {
		validUntil, deadFrom = earlier(validUntil, life.revokedAt), earlier(deadFrom, life.revokedAt)
	}
	return validUntil, deadFrom.Add(p.Propagation + p.Cache + p.Skew)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// complain fails the test, and says why the first few times in an act.
func (w *workload) complain(n int, format string, args ...any) {
	if n <= 5 {
		w.t.Errorf("%s, %s: %s", w.clock.Now().UTC().Format(time.TimeOnly), w.act.name, fmt.Sprintf(format, args...))
	}
}

// begin begins an act, and ends the one before.
func (w *workload) begin(name string) *act {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	if w.act != nil {
		w.act.ended = now
	}
	w.act = &act{name: name, began: now}
	return w.act
}

// lasting returns the lasting tokens of the keys that must be refused by now,
// and those of the others that must be accepted.
func (w *workload) lasting() (dead, alive []*shownToken) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	for _, token := range w.tokens {
		validUntil, deadFrom := w.bounds(token)
		switch {
		case !token.lasting:
		case now.After(deadFrom):
			dead = append(dead, token)
		case !now.Before(token.from) && now.Before(validUntil):
			alive = append(alive, token)
		}
	}
	return dead, alive
}
