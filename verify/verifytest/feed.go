package verifytest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

const (
	sessionPath = "/v1/customer-portal/customer-session"

	// retention is how long an entry stays in the feed: the longest session, the
	// widest leeway, and twice the largest difference of clocks.
	retention = 24*time.Hour + 5*time.Minute + 2*5*time.Minute
	// margin is by how much an entry ends what is issued after it: the clocks of
	// an issuer's replicas differ.
	margin = 2 * time.Second
)

// A feed is the issuer's log of what has been ended, and how it is served.
type feed struct {
	enabled bool
	log     string
	logs    int // so far
	// entries have their place in the list as their number, from 1. A revoked key
	// takes a place, too.
	entries []wire.Revocation
	keys    []string
	// changed is closed and replaced when there is news, or another failure.
	changed  chan struct{}
	failure  FeedFailure
	requests int
	// last is the last good answer, for FeedCached.
	last feedAnswer
	// oversize is the last answer that was too long, of which failure and answer.
	oversize struct {
		failure FeedFailure
		of      string
		body    *feedBody
	}
}

func newFeed() feed { return feed{enabled: true, log: "log-1", logs: 1, changed: make(chan struct{})} }

func (f *feed) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// RevokeSession ends a session of [OrganizationID]: [SessionID], or that of a
// token that was made with another "sid".
func (i *Issuer) RevokeSession(id string) { i.revoke(wire.RevokeSession, OrganizationID, id) }

// RevokeCustomer ends all sessions of a customer of [OrganizationID] that have been
// issued until now and in the two seconds after.
func (i *Issuer) RevokeCustomer(id string) { i.revoke(wire.RevokeCustomer, OrganizationID, id) }

// RevokeMember ends all sessions of a member of a customer that were issued until
// now.
func (i *Issuer) RevokeMember(id string) { i.revoke(wire.RevokeMember, OrganizationID, id) }

// RevokeAPIKey ends all sessions of [OrganizationID] that an API key has issued, as
// RevokeCustomer does.
func (i *Issuer) RevokeAPIKey(clientID string) { i.revoke(wire.RevokeAPIKey, OrganizationID, clientID) }

// RevokeOrganization ends all sessions of an organization, as RevokeCustomer does.
func (i *Issuer) RevokeOrganization(id string) { i.revoke(wire.RevokeOrganization, id, "") }

// RevokeKey lists a signing key as revoked. It stays in the JWK Set: see
// [Issuer.Remove].
func (i *Issuer) RevokeKey(keyID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.feed.keys = append(i.feed.keys, keyID)
	i.feed.entries = append(i.feed.entries, wire.Revocation{})
	i.feed.tell()
}

func (i *Issuer) revoke(scope wire.RevocationScope, organizationID, id string) {
	now := time.Now()
	entry := wire.Revocation{
		Scope: scope, ID: wire.NewRevocationID(scope, organizationID, id), DropAt: now.Add(retention).Unix() + 1,
	}
	if scope != wire.RevokeSession {
		entry.IssuedBefore = now.Add(margin).Unix() + 1
	}
	i.AddRevocation(entry)
}

// AddRevocation adds any entry to the feed.
func (i *Issuer) AddRevocation(entry wire.Revocation) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.feed.entries = append(i.feed.entries, entry)
	i.feed.tell()
}

// ReplaceLog makes the issuer forget what has been ended, and start another log,
// as after the loss of a database.
func (i *Issuer) ReplaceLog() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.feed.entries = nil
	i.feed.logs++
	i.feed.log = "log-" + strconv.Itoa(i.feed.logs)
	i.feed.tell()
}

// EnableRevocations switches the issuer's log on or off. It is on at first.
func (i *Issuer) EnableRevocations(on bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.feed.enabled = on
	i.feed.tell()
}

// FeedRequests returns the number of requests to the feed, failed ones included.
func (i *Issuer) FeedRequests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.feed.requests
}

// A feedAnswer is what a request gets.
type feedAnswer struct {
	wire.Revocations

	nonce string
}

// A feedRequest is what a consumer asks.
type feedRequest struct {
	after      int64
	log, nonce string
	wait       time.Duration
}

func parseFeedRequest(r *http.Request) feedRequest {
	query := r.URL.Query()
	after, _ := strconv.ParseInt(query.Get("after"), 10, 64)
	seconds, _ := strconv.Atoi(query.Get("wait"))
	return feedRequest{after, query.Get("log"), query.Get("nonce"), time.Duration(seconds) * time.Second}
}

// answer returns what the feed says now. The caller holds i.mu.
func (i *Issuer) answer(asked feedRequest) feedAnswer {
	f := &i.feed
	a := feedAnswer{nonce: asked.nonce, Revocations: wire.Revocations{
		Issuer: i.url, Enabled: f.enabled, MaxAge: int64(i.maxRevocationAge / time.Second), Pause: 1,
		Revoked: []wire.Revocation{}, RevokedKeys: append([]string{}, f.keys...),
	}}
	if !f.enabled {
		return a
	}
	a.Log, a.Seq, a.After = f.log, int64(len(f.entries)), asked.after
	if asked.log != f.log || asked.after < 0 || asked.after > a.Seq {
		a.After = 0
	}
	now := time.Now().Unix()
	for _, entry := range f.entries[a.After:] {
		if entry.DropAt > now {
			a.Revoked = append(a.Revoked, entry)
		}
	}
	return a
}

// serveFeed serves the feed. With "wait", it answers when there is news.
func (i *Issuer) serveFeed(w http.ResponseWriter, r *http.Request) {
	asked := parseFeedRequest(r)
	i.mu.Lock()
	i.feed.requests++
	i.mu.Unlock()
	begun := time.Now()
	for {
		i.mu.Lock()
		a, failure, changed := i.answer(asked), i.feed.failure, i.feed.changed
		i.mu.Unlock()
		left := asked.wait - time.Since(begun)
		news := a.Seq > asked.after || a.Log != asked.log
		if failure == FeedCutOff && !news && left > 0 {
			left = proxyTimeout - time.Since(begun)
			if left <= 0 {
				panic(http.ErrAbortHandler)
			}
		}
		if news || left <= 0 || !failure.waits() {
			i.respond(w, r, a, asked, failure)
			return
		}
		if !pause(r.Context(), changed, left) {
			return
		}
	}
}

// pause waits for a time or for news, and reports whether the client still waits.
func pause(ctx context.Context, changed <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
		return false
	}
	return true
}

// write writes an answer.
func (a *feedAnswer) write(w http.ResponseWriter, r *http.Request) {
	newFeedBody(must(json.Marshal(a.Revocations))).write(w, r, a.nonce)
}

// A feedBody is the body of an answer, plain and packed.
type feedBody struct {
	plain  []byte
	packed func() []byte
}

func newFeedBody(plain []byte) *feedBody {
	return &feedBody{plain, sync.OnceValue(func() []byte { return pack(plain) })}
}

// write writes the body, packed where that is asked for.
func (b *feedBody) write(w http.ResponseWriter, r *http.Request, nonce string) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set(wire.RevocationsAge, "0.1")
	header.Set(wire.RevocationsNonce, nonce)
	body := b.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		body = b.packed()
	}
	_, _ = w.Write(body)
}

func pack(body []byte) []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(body)
	_ = z.Close()
	return packed.Bytes()
}

// endSession ends the session of a bearer token, as the portal does.
func (i *Issuer) endSession(w http.ResponseWriter, r *http.Request) {
	token, err := verify.BearerToken(r.Header)
	if err == nil {
		var session verify.Session
		if session, err = i.verifierOf("", i.audience).Verify(r.Context(), token); err == nil {
			i.revoke(wire.RevokeSession, session.OrganizationID, session.ID)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// ended reports whether an entry of the feed ends a session.
func (i *Issuer) ended(session verify.Session) bool {
	named := map[wire.RevocationScope]string{
		wire.RevokeSession: session.ID, wire.RevokeCustomer: session.CustomerID, wire.RevokeMember: session.MemberID,
		wire.RevokeAPIKey: session.ClientID, wire.RevokeOrganization: "",
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.feed.entries, func(r wire.Revocation) bool {
		name, known := named[r.Scope]
		return known && r.ID == wire.NewRevocationID(r.Scope, session.OrganizationID, name) &&
			(r.Scope == wire.RevokeSession || session.IssuedAt.Unix() < r.IssuedBefore)
	})
}
