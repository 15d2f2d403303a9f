package issuer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

const (
	revokePath  = "/v1/customer-sessions/revoke"
	signOutPath = "/v1/customer-portal/customer-session"
)

// revoke asks to end sessions.
func (f *fixture) revoke(t testing.TB, secret, body string) *answer {
	t.Helper()
	return f.do(t, http.MethodPost, revokePath, body, "Authorization", "Bearer "+secret, "Content-Type", "application/json")
}

// active reports whether a token is good, by introspection and for its holder: both
// must agree.
func (f *fixture) active(t testing.TB, token string) bool {
	t.Helper()
	a := f.do(t, http.MethodPost, "/oauth2/introspect", url.Values{"token": {token}}.Encode(),
		"Authorization", "Bearer "+f.secret, "Content-Type", "application/x-www-form-urlencoded")
	if a.status != http.StatusOK {
		t.Fatalf("introspecting: %d %s", a.status, a.body)
	}
	holder := f.do(t, http.MethodGet, signOutPath+"/introspect", "", "Authorization", "Bearer "+token)
	if holder.status != http.StatusOK && holder.status != http.StatusUnauthorized {
		t.Fatalf("the portal: %d %s", holder.status, holder.body)
	}
	active := a.members(t)["active"] == true
	if active != (holder.status == http.StatusOK) {
		t.Errorf("introspection says %v, the portal %d", active, holder.status)
	}
	return active
}

func (f *fixture) wantActive(t testing.TB, what, token string, want bool) {
	t.Helper()
	if got := f.active(t, token); got != want {
		t.Errorf("%s: active is %v, want %v", what, got, want)
	}
}

// Each call ends what it names, and nothing else: at once here, within a second at
// the other replica, and in the feed.
func TestEnding(t *testing.T) {
	t.Parallel()
	const ada, alan = `{"customer_id":"` + customerID + `"}`, `{"customer_id":"` + otherCustomerID + `"}`
	for name, test := range map[string]struct {
		end   func(t *testing.T, f *fixture, session *answer) *answer
		scope wire.RevocationScope
		// Whether the customer's other session and another customer's are ended; or the
		// member's other one and a colleague's, when the session is a member's.
		same, other bool
		member      bool
	}{
		"DELETE": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.do(t, http.MethodDelete, "/v1/customer-sessions/"+session.text(t, "id"), "", "Authorization", "Bearer "+f.revokeOnly)
		}, wire.RevokeSession, false, false, false},
		"session_id": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, `{"session_id":"`+session.text(t, "id")+`","customer_id":null}`)
		}, wire.RevokeSession, false, false, false},
		"token": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.revokeToken(t, f.revokeOnly, session.text(t, "token"))
		}, wire.RevokeSession, false, false, false},
		"holder": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.do(t, http.MethodDelete, signOutPath, "", "Authorization", "Bearer "+session.text(t, "token"))
		}, wire.RevokeSession, false, false, false},
		"holder, everywhere": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.do(t, http.MethodDelete, signOutPath+"?everywhere=true", "", "Authorization", "Bearer "+session.text(t, "token"))
		}, wire.RevokeCustomer, true, false, false},
		"customer_id": {func(t *testing.T, f *fixture, _ *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, ada)
		}, wire.RevokeCustomer, true, false, false},
		"external_customer_id": {func(t *testing.T, f *fixture, _ *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, `{"external_customer_id":"`+externalID+`","reason":"account closed"}`)
		}, wire.RevokeCustomer, true, false, false},
		"api_key": {func(t *testing.T, f *fixture, _ *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, `{"api_key":"write"}`)
		}, wire.RevokeAPIKey, true, true, false},
		"client_id": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, `{"client_id":"`+f.clientID(t, session)+`"}`)
		}, wire.RevokeAPIKey, true, true, false},
		"organization": {func(t *testing.T, f *fixture, _ *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, `{"organization":true}`)
		}, wire.RevokeOrganization, true, true, false},
		"member_id": {func(t *testing.T, f *fixture, _ *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, `{"member_id":"`+ownerID+`","reason":"demoted"}`)
		}, wire.RevokeMember, true, false, true},
		"member": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.do(t, http.MethodDelete, signOutPath, "", "Authorization", "Bearer "+session.text(t, "token"))
		}, wire.RevokeSession, false, false, true},
		"member, everywhere": {func(t *testing.T, f *fixture, session *answer) *answer {
			t.Helper()
			return f.do(t, http.MethodDelete, signOutPath+"?everywhere=true", "", "Authorization", "Bearer "+session.text(t, "token"))
		}, wire.RevokeMember, true, false, true},
		"customer_id of the team": {func(t *testing.T, f *fixture, _ *answer) *answer {
			t.Helper()
			return f.revoke(t, f.revokeOnly, `{"customer_id":"`+teamID+`"}`)
		}, wire.RevokeCustomer, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := revocations.NewMemory()
			f := newFixture(t, withLog(log))
			replica := newFixture(t, withLog(log), func(o *fixtureOptions) {
				o.ring = f.ring
				change := o.change
				o.change = func(c *issuer.Config) {
					change(c)
					c.Issuer = f.base
				}
			})
			f.feed(t, "")
			replica.feed(t, "")
			one, another := ada, alan
			if test.member {
				one, another = ofOwner, ofColleague
			}
			session, same := f.post(t, f.writeOnly, one), f.post(t, f.writeOnly, one)
			other := f.post(t, f.writeOnly, another)
			foreign := f.post(t, f.foreign, `{"customer_id":"`+foreignID+`"}`)
			byOther := f.create(t, alan) // with another API key
			before := time.Now().Truncate(time.Second)
			a := test.end(t, f, session)
			if a.status < 200 || a.status > 299 {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			checkEnded(t, a, before, test.scope)
			f.wantActive(t, "the session", session.text(t, "token"), false)
			f.wantActive(t, "the holder's other session", same.text(t, "token"), !test.same)
			f.wantActive(t, "another holder's session", other.text(t, "token"), !test.other)
			f.wantActive(t, "another key's session", byOther.text(t, "token"), test.scope != wire.RevokeOrganization)
			holder := f.do(t, http.MethodGet, signOutPath+"/introspect", "", "Authorization", "Bearer "+foreign.text(t, "token"))
			if holder.status != http.StatusOK {
				t.Errorf("another organization's session: %d", holder.status)
			}
			all, _ := f.feed(t, "")
			if len(all.Revoked) != 1 || all.Revoked[0].Scope != test.scope {
				t.Errorf("the feed has %+v", all.Revoked)
			}
			deadline := time.Now().Add(time.Second)
			holder = &answer{status: http.StatusOK}
			for holder.status == http.StatusOK {
				holder = replica.do(t, http.MethodGet, signOutPath+"/introspect", "", "Authorization", "Bearer "+session.text(t, "token"))
				if time.Now().After(deadline) {
					t.Fatal("the session lives on at the other replica")
				}
			}
			replica.wantActive(t, "the session, at the other replica", session.text(t, "token"), false)
			f.shutdown()
			if !strings.Contains(f.logs.String(), `"msg":"sessions ended"`) || !strings.Contains(f.logs.String(), `"scope":"`+string(test.scope)+`"`) {
				t.Errorf("there is no audit event in %s", f.logs)
			}
		})
	}
}

// checkEnded checks an answer with a body.
func checkEnded(t *testing.T, a *answer, before time.Time, scope wire.RevocationScope) {
	t.Helper()
	if len(a.body) == 0 {
		return
	}
	at := func(name string) time.Time {
		value, err := time.Parse(time.RFC3339, a.text(t, name))
		if err != nil {
			t.Error(err)
		}
		return value
	}
	if at("revoked_at").Before(before) || at("effective_by").Sub(at("revoked_at")) < 15*time.Minute {
		t.Errorf("got %s", a.body)
	}
	if scope == wire.RevokeSession {
		if a.members(t)["issued_before"] != nil {
			t.Errorf("got %s", a.body)
		}
	} else if until := at("issued_before").Sub(before); until < 2*time.Second || until > 10*time.Second {
		t.Errorf("got %s", a.body)
	}
}

// clientID returns the client ID of a session's API key.
func (f *fixture) clientID(t *testing.T, session *answer) string {
	t.Helper()
	return f.do(t, http.MethodPost, "/oauth2/introspect", url.Values{"token": {session.text(t, "token")}}.Encode(),
		"Authorization", "Bearer "+f.secret, "Content-Type", "application/x-www-form-urlencoded").text(t, "client_id")
}

// revokeToken is RFC 7009.
func (f *fixture) revokeToken(t testing.TB, secret, token string) *answer {
	t.Helper()
	return f.do(t, http.MethodPost, "/oauth2/revoke", url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode(),
		"Authorization", "Bearer "+secret, "Content-Type", "application/x-www-form-urlencoded")
}

// A token that is not valid needs no ending, and another organization's is left
// alone. Both look like success.
func TestRevokeToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory()))
	f.feed(t, "")
	foreign := f.post(t, f.foreign, `{"customer_id":"`+foreignID+`"}`).text(t, "token")
	tokens := f.badTokens(t)
	tokens["foreign"] = foreign
	for name, token := range tokens {
		if a := f.revokeToken(t, f.secret, token); a.status != http.StatusOK || len(a.body) > 0 {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	if all, _ := f.feed(t, ""); len(all.Revoked) != 0 {
		t.Errorf("something was ended: %+v", all)
	}
	if a := f.do(t, http.MethodPost, "/oauth2/revoke", "", "Authorization", "Bearer "+f.secret, "Content-Type", "application/x-www-form-urlencoded"); a.status != http.StatusBadRequest {
		t.Errorf("no token: got %d %s", a.status, a.body)
	}
	// An entry made from a token is dropped when the token cannot be accepted any more.
	short := f.create(t, `{"customer_id":"`+customerID+`","expires_in":60}`)
	f.revokeToken(t, f.secret, short.text(t, "token"))
	all, _ := f.feed(t, "")
	if left := time.Until(time.Unix(all.Revoked[0].DropAt, 0)); left < 15*time.Minute || left > 17*time.Minute {
		t.Errorf("the entry is dropped in %v, want a minute and the widest leeways", left)
	}
}

// A second time, the holder is told that the session has ended.
func TestSignOutTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory()))
	f.feed(t, "")
	token := f.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")
	end := func(query string) *answer {
		return f.do(t, http.MethodDelete, signOutPath+query, "", "Authorization", "Bearer "+token, "Origin", "https://shop.example.com")
	}
	for _, query := range []string{"maybe", "", "TRUE", "false&everywhere=true", "true;", "true&x=%", "%00"} {
		if a := end("?everywhere=" + query); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%q: got %d %s", query, a.status, a.body)
		}
	}
	a := end("")
	if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	for _, query := range []string{"", "?everywhere=true"} {
		if a := end(query); a.status != http.StatusUnauthorized || a.text(t, "error") != "invalid_token" {
			t.Errorf("again, %q: got %d %s", query, a.status, a.body)
		}
	}
	preflight := roundTrip(t, f.request(t, http.MethodOptions, signOutPath, "", "Origin", "https://shop.example.com",
		"Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization"))
	if preflight.status != http.StatusNoContent || !strings.Contains(preflight.header.Get("Access-Control-Allow-Methods"), "DELETE") ||
		preflight.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: got %d %v", preflight.status, preflight.header)
	}
}

// What is not well-formed ends nothing, and says why in the usual shape.
func TestEndingRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory()))
	f.feed(t, "")
	for _, c := range [][2]string{
		{`{}`, `missing|body`},
		{`{"session_id":null}`, `missing|body`},
		{`{"reason":"x"}`, `missing|body`},
		{`{"session_id":"` + unknownID + `","customer_id":"` + customerID + `"}`, `value_error|body`},
		{`{"session_id":"x"}`, `uuid_parsing|body,session_id`},
		{`{"session_id":7}`, `string_type|body,session_id`},
		{`{"customer_id":"{` + customerID + `}"}`, `uuid_parsing|body,customer_id`},
		{`{"member_id":""}`, `uuid_parsing|body,member_id`},
		{`{"api_key":""}`, `value_error|body,api_key`},
		{`{"api_key":"gone"}`, `value_error|body,api_key`},
		{`{"api_key":"foreign"}`, `value_error|body,api_key`},
		{`{"client_id":"` + f.secret + `"}`, `value_error|body,client_id`},
		{`{"client_id":"short"}`, `value_error|body,client_id`},
		{`{"external_customer_id":"nobody"}`, `value_error|body,external_customer_id`},
		{`{"external_customer_id":"user_grace"}`, `value_error|body,external_customer_id`},
		{`{"external_customer_id":""}`, `value_error|body,external_customer_id`},
		{`{"external_customer_id":"` + strings.Repeat("a", 300) + `"}`, `string_too_long|body,external_customer_id`},
		{`{"organization":false}`, `value_error|body,organization`},
		{`{"organization":"true"}`, `value_error|body,organization`},
		{`{"organization":true,"everywhere":true}`, `extra_forbidden|body,everywhere`},
		{`{"organization":true,"reason":"` + strings.Repeat("é", 256) + `"}`, `string_too_long|body,reason`},
		{`{"organization":true,"reason":"` + f.secret + `"}`, `value_error|body,reason`},
		{`{"organization":true,"reason":"a\u0000b"}`, `value_error|body,reason`},
		{`[]`, `model_attributes_type|body`},
		{`{"a":1`, `json_invalid|body,6`},
	} {
		body, want := c[0], c[1]
		a := f.revoke(t, f.secret, body)
		if a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d %s", body, a.status, a.body)
			continue
		}
		if got := problemOf(t, a); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
		if strings.Contains(string(a.body), f.secret) {
			t.Errorf("%s: the answer has the API key", body)
		}
	}
	for _, id := range []string{"x", "urn:uuid:" + unknownID, strings.ReplaceAll(unknownID, "-", "")} {
		a := f.do(t, http.MethodDelete, "/v1/customer-sessions/"+id, "", "Authorization", "Bearer "+f.secret)
		if a.status != http.StatusUnprocessableEntity || problemOf(t, a) != "uuid_parsing|path,id" {
			t.Errorf("DELETE %s: got %d %s", id, a.status, a.body)
		}
	}
	if a := f.do(t, http.MethodGet, "/v1/customer-sessions/"+unknownID, ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "DELETE" {
		t.Errorf("GET: got %d %v", a.status, a.header)
	}
	for name, secret := range map[string]string{"write": f.writeOnly, "introspect": f.introspectOnly} {
		for _, a := range []*answer{
			f.revoke(t, secret, `{"organization":true}`), f.revokeToken(t, secret, "x"),
			f.do(t, http.MethodDelete, "/v1/customer-sessions/"+unknownID, "", "Authorization", "Bearer "+secret),
		} {
			if a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="customer_sessions:revoke"`) {
				t.Errorf("the key %s: got %d %v", name, a.status, a.header)
			}
		}
	}
	if a := f.post(t, f.revokeOnly, `{"customer_id":"`+customerID+`"}`); a.status != http.StatusForbidden {
		t.Errorf("the key that ends sessions creates one: %d", a.status)
	}
	if all, _ := f.feed(t, ""); len(all.Revoked) != 0 {
		t.Errorf("something was ended: %+v", all)
	}
}

// problemOf returns the type and the place of the first problem of an answer.
func problemOf(t *testing.T, a *answer) string {
	t.Helper()
	var body struct {
		Detail []struct {
			Type string
			Loc  []any
		}
	}
	if err := json.Unmarshal(a.body, &body); err != nil || len(body.Detail) == 0 {
		t.Fatalf("got %s, %v", a.body, err)
	}
	var loc []string
	for _, part := range body.Detail[0].Loc {
		loc = append(loc, fmt.Sprint(part))
	}
	return body.Detail[0].Type + "|" + strings.Join(loc, ",")
}

// Sessions of somebody who was deleted can be ended, by ID: the directory is not
// asked.
func TestEndingDeletedCustomer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory()), func(o *fixtureOptions) { o.directory = directoryFunc(refuseConnections) })
	f.feed(t, "")
	if a := f.revoke(t, f.secret, `{"customer_id":"`+deletedID+`"}`); a.status != http.StatusOK {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := f.revoke(t, f.secret, `{"external_customer_id":"x"}`); a.status != http.StatusServiceUnavailable {
		t.Errorf("by external ID: got %d %s", a.status, a.body)
	}
	stated := newFixture(t, withLog(revocations.NewMemory()), func(o *fixtureOptions) { o.directory = customers.Request{} })
	stated.feed(t, "")
	if a := stated.revoke(t, stated.secret, `{"external_customer_id":"x"}`); a.status != http.StatusUnprocessableEntity || problemOf(t, a) != "value_error|body,external_customer_id" {
		t.Errorf("without a directory: got %d %s", a.status, a.body)
	}
}

// Without a log no session can be ended, and everything else works.
func TestEndingOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	session := f.create(t, `{"customer_id":"`+customerID+`"}`)
	token := session.text(t, "token")
	for _, a := range []*answer{
		f.do(t, http.MethodDelete, "/v1/customer-sessions/"+session.text(t, "id"), "", "Authorization", "Bearer "+f.secret),
		f.revoke(t, f.secret, `{"organization":true}`), f.revokeToken(t, f.secret, token),
		f.do(t, http.MethodDelete, signOutPath, "", "Authorization", "Bearer "+token),
	} {
		if a.status != http.StatusNotImplemented || a.text(t, "error") != "NotImplemented" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	f.wantActive(t, "the session", token, true)
}

// While the log is away, sessions are created and known ones judged; ending one
// says that its outcome is unknown.
func TestEndingLogAway(t *testing.T) {
	t.Parallel()
	log := &logSwitch{Log: revocations.NewMemory()}
	f := newFixture(t, withLog(log))
	f.feed(t, "")
	session := f.create(t, `{"customer_id":"`+customerID+`"}`)
	token := session.text(t, "token")
	log.set(true)
	for _, a := range []*answer{
		f.do(t, http.MethodDelete, "/v1/customer-sessions/"+session.text(t, "id"), "", "Authorization", "Bearer "+f.secret),
		f.revoke(t, f.secret, `{"organization":true}`), f.revokeToken(t, f.secret, token),
		f.do(t, http.MethodDelete, signOutPath, "", "Authorization", "Bearer "+token),
	} {
		if a.status != http.StatusServiceUnavailable || !strings.Contains(a.text(t, "detail"), "Repeating is safe") || a.header.Get("Retry-After") == "" {
			t.Errorf("got %d %s", a.status, a.body)
		}
		if strings.Contains(string(a.body), innards) {
			t.Errorf("the answer shows the inside: %s", a.body)
		}
	}
	f.wantActive(t, "the session", token, true)
	f.create(t, `{"customer_id":"`+customerID+`"}`)
	log.set(false)
	if a := f.revoke(t, f.secret, `{"session_id":"`+session.text(t, "id")+`"}`); a.status != http.StatusOK {
		t.Errorf("after that: got %d %s", a.status, a.body)
	}
	f.wantActive(t, "the session", token, false)
}

// A replica that has not heard of the log yet cannot judge a token; it creates
// sessions all the same.
func TestNotHeardYet(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(&logSwitch{Log: revocations.NewMemory(), away: true}))
	token := f.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")
	if a := f.do(t, http.MethodGet, signOutPath+"/introspect", "", "Authorization", "Bearer "+token); a.status != http.StatusServiceUnavailable {
		t.Errorf("the portal: got %d %s", a.status, a.body)
	}
	a := f.do(t, http.MethodPost, "/oauth2/introspect", "token="+token, "Authorization", "Bearer "+f.secret, "Content-Type", "application/x-www-form-urlencoded")
	if a.status != http.StatusServiceUnavailable {
		t.Errorf("introspection: got %d %s", a.status, a.body)
	}
}

// A session that is created right after all of its customer were ended is alive. For
// others nothing changes.
func TestCreateAfterEnding(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory()))
	f.feed(t, "")
	if a := f.revoke(t, f.secret, `{"customer_id":"`+customerID+`"}`); a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	start := time.Now()
	f.create(t, `{"customer_id":"`+otherCustomerID+`"}`)
	if took := time.Since(start); took > time.Second {
		t.Errorf("another customer waited %v", took)
	}
	token := f.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")
	if took := time.Since(start); took < time.Second || took > 5*time.Second {
		t.Errorf("the customer waited %v, want about 3s", took)
	}
	f.wantActive(t, "the new session", token, true)
}

// A client that does not wait so long is not waited for.
func TestCreateAfterEndingGivesUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withLog(revocations.NewMemory()))
	f.feed(t, "")
	f.revoke(t, f.secret, `{"organization":true}`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	request := f.request(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`, "Authorization", "Bearer "+f.secret)
	if response, err := http.DefaultClient.Do(request.WithContext(ctx)); err == nil {
		response.Body.Close()
		t.Error("the request was answered")
	}
	f.shutdown()
	if !strings.Contains(f.logs.String(), `"status":499`) {
		t.Errorf("the log has no 499: %s", f.logs)
	}
}

// One organization that ends random IDs as fast as it may does not disturb another
// one's endings, sessions and consumers.
func TestEndingNeighbour(t *testing.T) {
	t.Parallel()
	log := revocations.NewMemory()
	f := newFixture(t, withLog(log))
	f.feed(t, "")
	var over atomic.Bool
	var mu sync.Mutex
	statuses := map[int]int{}
	var mob sync.WaitGroup
	for range 8 {
		mob.Go(func() {
			for !over.Load() {
				a := f.do(t, http.MethodDelete, "/v1/customer-sessions/"+uuid.NewString(), "", "Authorization", "Bearer "+f.foreign)
				mu.Lock()
				statuses[a.status]++
				mu.Unlock()
			}
		})
	}
	slowest := time.Duration(0)
	for range 20 {
		start := time.Now()
		session := f.create(t, `{"customer_id":"`+customerID+`"}`)
		token := session.text(t, "token")
		f.wantActive(t, "a new session", token, true)
		if a := f.revoke(t, f.secret, `{"session_id":"`+session.text(t, "id")+`"}`); a.status != http.StatusOK {
			t.Errorf("ending: got %d %s", a.status, a.body)
		}
		f.wantActive(t, "an ended session", token, false)
		slowest = max(slowest, time.Since(start))
	}
	over.Store(true)
	mob.Wait()
	t.Logf("the mob got %v; the slowest round of the other one took %v", statuses, slowest)
	if statuses[http.StatusTooManyRequests] == 0 || statuses[http.StatusNoContent] == 0 || len(statuses) > 2 {
		t.Errorf("the mob got %v", statuses)
	}
	if slowest > 2*time.Second {
		t.Errorf("the slowest round took %v", slowest)
	}
}
