package issuer_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/verify/wire"
)

// An ending is one way to end sessions.
type ending struct {
	name string
	// wide is whether it ends all sessions of a customer, a key or an organization,
	// and not only one.
	wide bool
	// request returns the request that ends sessions of a target. Without a bearer,
	// it is that of the one who ends them.
	request func(v *target) (method, path, bearer, body string)
}

// A target is whose sessions one revocation ends.
type target struct {
	tenant
	customer string
	claims   struct{ SessionID, ClientID string } // of a session
	token    string                               // of the same
}

const endPath = "/v1/customer-sessions/revoke"

var endings = []ending{
	{"session by ID", false, func(v *target) (string, string, string, string) {
		return http.MethodDelete, "/v1/customer-sessions/" + v.claims.SessionID, "", ""
	}},
	{"session_id", false, revokeBody(func(v *target) (string, any) { return "session_id", v.claims.SessionID })},
	{"session itself", false, func(v *target) (string, string, string, string) {
		return http.MethodDelete, "/v1/customer-portal/customer-session", v.token, ""
	}},
	{"RFC 7009", false, func(v *target) (string, string, string, string) {
		return http.MethodPost, "/oauth2/revoke", "", "token=" + url.QueryEscape(v.token)
	}},
	{"session itself, everywhere", true, func(v *target) (string, string, string, string) {
		return http.MethodDelete, "/v1/customer-portal/customer-session?everywhere=true", v.token, ""
	}},
	{"customer_id", true, revokeBody(func(v *target) (string, any) { return "customer_id", v.customer })},
	{"external_customer_id", true, revokeBody(func(v *target) (string, any) { return "external_customer_id", "external-" + v.customer })},
	{"api_key", true, revokeBody(func(v *target) (string, any) { return "api_key", v.key })},
	{"client_id", true, revokeBody(func(v *target) (string, any) { return "client_id", v.claims.ClientID })},
	{"organization", true, revokeBody(func(*target) (string, any) { return "organization", true })},
}

func revokeBody(what func(v *target) (name string, value any)) func(v *target) (string, string, string, string) {
	return func(v *target) (string, string, string, string) {
		name, value := what(v)
		body, _ := json.Marshal(map[string]any{name: value, "reason": "rehearsal"}) // it cannot fail
		return http.MethodPost, endPath, "", string(body)
	}
}

// revoke is the n-th revocation, from making the sessions that it ends until all
// consumers refuse them, and until the same customer has another one.
func (f *endingFleet) revoke(ctx context.Context, a *endingAct, n int) {
	e := &endings[n%len(endings)]
	v := &target{tenant: f.checkout, customer: f.customers[n+1]}
	revoker := f.checkout.secret
	switch e.name {
	case "api_key", "client_id":
		v.tenant = f.keys[n]
	case "organization":
		v.tenant, v.customer = f.others[n], f.otherCustomers[n]
		revoker = v.secret
	}
	// What is next to it must stay: the customer's other session, or what a wide
	// ending does not name.
	neighbor := f.customers[n+1]
	if e.wide && v.tenant == f.checkout {
		neighbor = f.customers[0]
	}
	near := f.create(ctx, "near "+e.name, f.checkout.secret, neighbor)
	ended := []*endable{f.create(ctx, e.name, v.secret, v.customer)}
	if e.wide {
		ended = append(ended, f.create(ctx, e.name, v.secret, v.customer))
	}
	for _, s := range append(ended, near) {
		if s == nil {
			return // it is lost, and counted
		}
		f.present(ctx, s)
	}
	f.openStreams(ctx, near)
	var streams []*stream
	for _, s := range ended {
		streams = append(streams, f.openStreams(ctx, s)...)
	}
	v.read(f.t, ended[0].token)
	for _, s := range ended {
		s.begin()
	}
	acknowledged, effectiveBy := f.acknowledge(ctx, a, e, v, revoker)
	if acknowledged.IsZero() {
		return // the test is over
	}
	for _, s := range ended {
		s.acknowledged(acknowledged, a.bound)
	}
	last := f.untilRefused(ctx, ended, streams, acknowledged)
	if ctx.Err() != nil {
		return
	}
	f.note(a, e, last, acknowledged, effectiveBy)

	// "Until now" is over, and every replica may not know that it is.
	if wait := a.settle - time.Since(acknowledged); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
	if again := f.create(ctx, "after "+e.name, v.secret, v.customer); again != nil {
		f.present(ctx, again)
	}
}

// read reads the claims of a token.
func (v *target) read(t testing.TB, token string) {
	t.Helper()
	v.token = token
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	claims := map[string]any{}
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	v.claims.SessionID, _ = claims[wire.ClaimSessionID].(string)
	v.claims.ClientID, _ = claims["client_id"].(string)
	if err != nil || v.claims.SessionID == "" || v.claims.ClientID == "" {
		t.Errorf("claims %v, %v", claims, err)
	}
}

// acknowledge ends the sessions of a target. It asks again as long as the outcome is
// unknown. The result is zero if the test is over before.
func (f *endingFleet) acknowledge(ctx context.Context, a *endingAct, e *ending, v *target, revoker string) (at, effectiveBy time.Time) {
	method, path, bearer, body := e.request(v)
	if bearer == "" {
		bearer = revoker
	}
	for {
		var answer struct {
			EffectiveBy time.Time `json:"effective_by"`
		}
		status, err := f.call(ctx, method, path, bearer, body, &answer)
		at = time.Now()
		if ctx.Err() != nil {
			return time.Time{}, time.Time{}
		}
		switch {
		case err == nil && status < http.StatusMultipleChoices:
			return at, answer.EffectiveBy
		case a.troubled && status == http.StatusUnauthorized && bearer == v.token:
			return at, answer.EffectiveBy // an earlier try had ended it, unknown to us
		}
		f.repeat(a, e, status, err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// repeat takes note of a call with an unknown outcome, which is wrong unless there is
// trouble.
func (f *endingFleet) repeat(a *endingAct, e *ending, status int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.repeated++
	if !a.troubled || err == nil && status < http.StatusInternalServerError {
		f.complain(a.repeated, "%s: status %d, %v", e.name, status, err)
	}
}

// A last is when the last consumer of a kind refused.
type last map[string]time.Time

func (l last) add(kind string, at time.Time) {
	if at.After(l[kind]) {
		l[kind] = at
	}
}

// untilRefused shows sessions that have been ended to all consumers, until each has
// refused them and all streams have ended, or twice the longest bound is over.
func (f *endingFleet) untilRefused(ctx context.Context, ended []*endable, streams []*stream, acknowledged time.Time) last {
	ctx, cancel := context.WithDeadline(ctx, acknowledged.Add(2*endingMaxAge+endingBound))
	defer cancel()
	var mu sync.Mutex
	all := last{}
	var asking sync.WaitGroup
	for _, g := range f.guards {
		asking.Go(func() {
			for _, s := range ended {
				at, denied := f.show(ctx, g, s)
				for !denied && ctx.Err() == nil {
					select {
					case <-time.After(askEvery):
					case <-ctx.Done():
					}
					at, denied = f.show(ctx, g, s)
				}
				mu.Lock()
				all.add(g.kind, at)
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	for _, st := range streams {
		select {
		case <-st.ended:
			all.add("stream", st.at)
		case <-ctx.Done():
			all.add("stream", time.Now())
		}
	}
	return all
}

// note takes note of how long a revocation took.
func (f *endingFleet) note(a *endingAct, e *ending, l last, acknowledged, effectiveBy time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slowest := time.Duration(0)
	for kind, at := range l {
		took := max(0, at.Sub(acknowledged))
		a.kinds[kind] = append(a.kinds[kind], took)
		if took > slowest {
			slowest = took
		}
		if !effectiveBy.IsZero() && at.After(effectiveBy) {
			f.t.Errorf("%s: the call said that it takes effect by %v; %s refuses at %v", e.name, effectiveBy, kind, at)
		}
	}
	a.took = append(a.took, slowest)
	f.done[e.name]++
	if slowest > a.bound {
		f.complain(1, "%s: the last consumer refuses after %v: %s", e.name, slowest, fmt.Sprint(l))
	}
}
