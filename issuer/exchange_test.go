package issuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// anAttempt names a redemption.
const anAttempt = "7WQZ4PLSUTV5DQ3FJ2CAYXK6RM"

// withCodes makes the links of a server's first organization hold codes.
func withCodes(changes ...func(*issuer.Config)) func(*fixtureOptions) {
	redemptions := revocations.NewMemoryRedemptions()
	return func(o *fixtureOptions) {
		o.link = "code"
		withLog(revocations.NewMemory(), append([]func(*issuer.Config){func(c *issuer.Config) { c.Redemptions = redemptions }}, changes...)...)(o)
	}
}

// exchangeCode exchanges a code for its session.
func (f *fixture) exchangeCode(t testing.TB, secret, code, redemption string) *answer {
	t.Helper()
	body, err := json.Marshal(map[string]string{"code": code, "redemption": redemption})
	if err != nil {
		t.Fatal(err)
	}
	return f.do(t, http.MethodPost, wire.ExchangePath, string(body), "Authorization", "Bearer "+secret, "Content-Type", "application/json")
}

// codeOf returns the code in the link of a session, which must hold nothing else.
func codeOf(t testing.TB, session *answer) string {
	t.Helper()
	link, err := url.Parse(session.text(t, "customer_portal_url"))
	if err != nil {
		t.Fatal(err)
	}
	query := link.Query()
	if len(query["customer_session_code"]) != 1 || query.Has("customer_session_token") {
		t.Fatalf("the link %s holds no code, or more than that", link)
	}
	return query.Get("customer_session_code")
}

// wantRefused fails unless the code was refused for a reason.
func wantRefused(t *testing.T, what string, a *answer, reason string) {
	t.Helper()
	if a.status != http.StatusUnprocessableEntity || problemOf(t, a) != reason+"|body,code" ||
		a.members(t)["error"] != "PolarRequestValidationError" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: got %d %s, want %s", what, a.status, a.body, reason)
	}
}

// What the portal gets is the session that was created: the same claims, signed
// anew, and an answer of the same form.
func TestExchange(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	created := f.create(t, `{"customer_id":"`+customerID+`","return_url":"https://shop.example.com/?a=b"}`)
	a := f.exchangeCode(t, f.exchangeOnly, codeOf(t, created), anAttempt)
	if a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	got, want := a.members(t), created.members(t)
	want["customer_portal_url"] = "https://portal.example.com/acme/portal"
	token := a.text(t, "token")
	if strings.Split(token, ".")[1] != strings.Split(created.text(t, "token"), ".")[1] {
		t.Errorf("the claims are %v, want %v", claims(t, token), claims(t, created.text(t, "token")))
	}
	delete(got, "token") // the signature differs
	delete(want, "token")
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
	f.wantActive(t, "the session", token, true)
	f.shutdown()
	events := slices.DeleteFunc(f.logLines(t), func(line map[string]any) bool { return line["msg"] != "session exchanged" })
	if len(events) != 1 || events[0]["outcome"] != "exchanged" || events[0]["session_id"] != a.text(t, "id") ||
		events[0]["customer_id"] != customerID || events[0]["api_key"] != "exchange" {
		t.Errorf("the audit events are %v", events)
	}
}

// The code has the claims of the session, for the issuer alone and for ten minutes,
// or for as long as the session where that is shorter.
func TestCode(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	for _, test := range []struct{ expiresIn, want int64 }{{3600, 600}, {120, 120}} {
		session := f.create(t, fmt.Sprintf(`{"customer_id":%q,"return_url":"https://shop.example.com/","expires_in":%d}`, customerID, test.expiresIn))
		code := codeOf(t, session)
		if typ := segment(t, code, 0)["typ"]; typ != wire.CodeType {
			t.Errorf("the type is %v", typ)
		}
		want := claims(t, session.text(t, "token"))
		issuedAt, err := want["iat"].(json.Number).Int64()
		if err != nil {
			t.Fatal(err)
		}
		want["aud"], want["session_exp"], want["exp"] = f.base, want["exp"], json.Number(strconv.FormatInt(issuedAt+test.want, 10))
		delete(want, "scope")
		if got := claims(t, code); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the claims are %v, want %v", got, want)
		}
	}
}

// A code is good once. Only the attempt that had it gets the session again.
func TestExchangeOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	code := codeOf(t, f.createAny(t))
	first := f.exchangeCode(t, f.exchangeOnly, code, anAttempt)
	again := f.exchangeCode(t, f.secret, code, anAttempt)
	if first.status != http.StatusOK || again.status != http.StatusOK || first.text(t, "id") != again.text(t, "id") ||
		first.text(t, "expires_at") != again.text(t, "expires_at") {
		t.Errorf("got %d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	wantRefused(t, "another attempt", f.exchangeCode(t, f.exchangeOnly, code, anAttempt+"X"), "code_used")
	other := codeOf(t, f.createAny(t))
	if a := f.exchangeCode(t, f.exchangeOnly, other, anAttempt); a.status != http.StatusOK {
		t.Errorf("another code: got %d %s", a.status, a.body)
	}
	f.shutdown()
	f.wantResults(t, map[string]int{"exchanged": 2, "repeated": 1, "used": 1})
}

// wantResults checks the audit events.
func (f *fixture) wantResults(t *testing.T, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for _, line := range f.logLines(t) {
		if line["msg"] == "session exchanged" {
			got[line["outcome"].(string)]++
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the audit events are %v, want %v", got, want)
	}
}

// Two replicas are asked at the same instant: one of them has the session.
func TestExchangeRace(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	for range 20 {
		code := codeOf(t, f.createAny(t))
		var group sync.WaitGroup
		answers := make([]*answer, 4)
		for i := range answers {
			group.Go(func() { answers[i] = f.exchangeCode(t, f.exchangeOnly, code, fmt.Sprint(anAttempt, i)) })
		}
		group.Wait()
		won := 0
		for _, a := range answers {
			if a.status == http.StatusOK {
				won++
				continue
			}
			wantRefused(t, "a late one", a, "code_used")
		}
		if won != 1 {
			t.Fatalf("%d have the session", won)
		}
	}
}

// No API takes a code for a session, nor a token for a code.
func TestCodeIsNoSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	session := f.createAny(t)
	token, code := session.text(t, "token"), codeOf(t, session)
	f.wantActive(t, "the code", code, false)
	for _, audience := range []string{"customer-portal", f.base} {
		v, err := verify.New(verify.Config{Issuer: f.base, Audience: audience, MaxRevocationAge: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if _, err := v.Verify(t.Context(), code); !errors.Is(err, verify.ErrType) {
			t.Errorf("a verifier for %s says of a code: %v", audience, err)
		}
	}
	for _, a := range []*answer{
		f.post(t, code, `{"customer_id":"`+customerID+`"}`),
		f.do(t, http.MethodGet, "/v1/customer-portal/customer-session/user", "", "Authorization", "Bearer "+code),
		f.do(t, http.MethodDelete, signOutPath, "", "Authorization", "Bearer "+code),
	} {
		if a.status != http.StatusUnauthorized {
			t.Errorf("an API takes a code: %d %s", a.status, a.body)
		}
	}
	wantRefused(t, "the token", f.exchangeCode(t, f.exchangeOnly, token, anAttempt), "code_invalid")
	for what, bad := range f.badTokens(t) {
		if bad != "" && bad != f.secret {
			wantRefused(t, what, f.exchangeCode(t, f.exchangeOnly, bad, anAttempt), "code_invalid")
		}
	}
	if a := f.exchangeCode(t, f.exchangeOnly, code, anAttempt); a.status != http.StatusOK {
		t.Errorf("the code itself: %d %s", a.status, a.body)
	}
}

// forgeCode makes a code with the server's own key. Without changes it is good.
func (f *fixture) forgeCode(t testing.TB, changes map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	all := map[string]any{
		wire.ClaimAudience: f.base, wire.ClaimScope: nil, wire.ClaimClientID: "PhZvuTYM",
		wire.ClaimIssuedAt: now, wire.ClaimExpiresAt: now + 600, wire.ClaimSessionExpiresAt: now + 3600,
	}
	maps.Copy(all, changes)
	return f.forge(t, map[string]any{"typ": wire.CodeType}, all)
}

// A code that is signed well may still be no good.
func TestCodeRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	now := time.Now().Unix()
	for name, test := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"good":                    {nil, ""},
		"for the portal":          {map[string]any{wire.ClaimAudience: issuer.DefaultAudience}, "code_invalid"},
		"of another issuer":       {map[string]any{wire.ClaimIssuer: f.base + "/other"}, "code_invalid"},
		"of another organization": {map[string]any{wire.ClaimOrganizationID: foreignOrgID, wire.ClaimCustomerID: foreignID}, "code_invalid"},
		"of another one, expired": {map[string]any{
			wire.ClaimOrganizationID: foreignOrgID, wire.ClaimCustomerID: foreignID, wire.ClaimIssuedAt: now - 601, wire.ClaimExpiresAt: now - 1,
		}, "code_invalid"},
		"without an API key":         {map[string]any{wire.ClaimClientID: nil}, "code_invalid"},
		"without a session's expiry": {map[string]any{wire.ClaimSessionExpiresAt: nil}, "code_invalid"},
		"with a strange expiry":      {map[string]any{wire.ClaimSessionExpiresAt: "soon"}, "code_invalid"},
		"longer than its session":    {map[string]any{wire.ClaimSessionExpiresAt: now + 300}, "code_invalid"},
		"expired a second ago":       {map[string]any{wire.ClaimIssuedAt: now - 601, wire.ClaimExpiresAt: now - 1}, "code_expired"},
		"expired an hour ago":        {map[string]any{wire.ClaimIssuedAt: now - 4200, wire.ClaimExpiresAt: now - 3600}, "code_expired"},
		"from a clock ahead":         {map[string]any{wire.ClaimIssuedAt: now + 10, wire.ClaimExpiresAt: now + 610}, ""},
		"from the future":            {map[string]any{wire.ClaimIssuedAt: now + 60, wire.ClaimExpiresAt: now + 660}, "code_invalid"},
		"of a deleted customer":      {map[string]any{wire.ClaimCustomerID: deletedID}, "session_ended"},
		"of an unknown customer":     {map[string]any{wire.ClaimCustomerID: unknownID}, "session_ended"},
	} {
		a := f.exchangeCode(t, f.exchangeOnly, f.forgeCode(t, test.changes), anAttempt)
		if test.want != "" {
			wantRefused(t, name, a, test.want)
		} else if a.status != http.StatusOK {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
}

// Whatever ends the session between its creation and the click refuses its code,
// and does not redeem it.
func TestExchangeEnded(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"session":      "",
		"customer":     `{"customer_id":"` + customerID + `"}`,
		"api key":      `{"api_key":"all"}`,
		"organization": `{"organization":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, withCodes())
			f.feed(t, "")
			session := f.createAny(t)
			if body == "" {
				body = `{"session_id":"` + session.text(t, "id") + `"}`
			}
			if a := f.revoke(t, f.revokeOnly, body); a.status != http.StatusOK {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			wantRefused(t, name, f.exchangeCode(t, f.exchangeOnly, codeOf(t, session), anAttempt), "session_ended")
		})
	}
}

// "Log out everywhere" after the exchange ends the session that the portal got,
// and the attempt does not get it again.
func TestEndedAfterExchange(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	f.feed(t, "")
	code := codeOf(t, f.createAny(t))
	token := f.exchangeCode(t, f.exchangeOnly, code, anAttempt).text(t, "token")
	if a := f.do(t, http.MethodDelete, signOutPath+"?everywhere=true", "", "Authorization", "Bearer "+token); a.status != http.StatusNoContent {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	f.wantActive(t, "the session", token, false)
	wantRefused(t, "a repetition", f.exchangeCode(t, f.exchangeOnly, code, anAttempt), "session_ended")
}

// A member's session is exchanged as it was created, role included. It is not when
// the member is gone, or when all of the member's sessions were ended.
func TestExchangeMember(t *testing.T) {
	t.Parallel()
	lines := newSwitch(newDirectory(t))
	f := newFixture(t, withCodes(), func(o *fixtureOptions) { o.directory = lines })
	f.feed(t, "")
	session := f.create(t, ofOwner)
	ended, gone := codeOf(t, f.create(t, ofOwner)), codeOf(t, f.create(t, ofOwner))
	lines.use(t, strings.Replace(customerLines, `"role":"owner"`, `"role":"member"`, 1)) // demoted since
	token := f.exchangeCode(t, f.exchangeOnly, codeOf(t, session), anAttempt).text(t, "token")
	if got, want := claims(t, token), claims(t, session.text(t, "token")); fmt.Sprint(got) != fmt.Sprint(want) || got["role"] != "owner" {
		t.Errorf("the claims are %v, want %v", got, want)
	}
	lines.use(t, strings.Replace(customerLines, ownerID, unknownID, 1))
	wantRefused(t, "the member is gone", f.exchangeCode(t, f.exchangeOnly, gone, anAttempt), "session_ended")
	lines.use(t, customerLines)
	if a := f.revoke(t, f.revokeOnly, `{"member_id":"`+ownerID+`"}`); a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	wantRefused(t, "the member's sessions have ended", f.exchangeCode(t, f.exchangeOnly, ended, anAttempt), "session_ended")
}

// The session that the portal gets does not outlive the key that signs it then.
func TestExchangeEndsWithItsKey(t *testing.T) {
	t.Parallel()
	manifest := newManifest(t, jwk.ES256)
	manifest.Policy.MaxLifetime = time.Hour
	key := manifest.Keys[0]
	key.SignUntil = key.PublishAt.Add(time.Hour)
	key.PromisedUntil = key.SignUntil
	key.RemoveAt = key.SignUntil.Add(manifest.Policy.MaxLifetime + 2*manifest.Policy.Skew)
	f := newFixture(t, withCodes(), func(o *fixtureOptions) { o.ring = ringOf(t, manifest, nil) })
	latest := key.RemoveAt.Add(-manifest.Policy.Skew)
	a := f.exchangeCode(t, f.exchangeOnly, f.forgeCode(t, map[string]any{wire.ClaimSessionExpiresAt: latest.Add(time.Hour).Unix()}), anAttempt)
	if a.status != http.StatusOK || !instant(t, a.text(t, "expires_at")).Equal(latest.Truncate(time.Second)) {
		t.Errorf("got %d %s, want a session until %s", a.status, a.body, latest)
	}
	f.wantActive(t, "the session", a.text(t, "token"), true)
}

// Whatever the issuer's URL and the return URL make of a code, it is good, or there
// is no link.
func TestLongCode(t *testing.T) {
	t.Parallel()
	// The longest signature, and the longest issuer, which a code has twice.
	f := newFixture(t, withCodes(func(c *issuer.Config) { c.Issuer += "/" + strings.Repeat("i", 220) }),
		func(o *fixtureOptions) { o.ring = ringOf(t, newManifest(t, jwk.RS256), nil) })
	accepted, refused := 0, 0
	for length := 1700; length < wire.MaxReturnURLLength; length += 90 {
		returnURL := "https://shop.example.com/" + strings.Repeat("r", length-len("https://shop.example.com/"))
		session := f.post(t, f.secret, `{"customer_id":"`+customerID+`","return_url":"`+returnURL+`"}`)
		if session.status != http.StatusCreated {
			refused++
			if problemOf(t, session) != "value_error|body,return_url" {
				t.Errorf("a return URL of %d bytes: %s", length, session.body)
			}
			continue
		}
		accepted++
		if a := f.exchangeCode(t, f.exchangeOnly, codeOf(t, session), anAttempt); a.status != http.StatusOK || a.text(t, "return_url") != returnURL {
			t.Errorf("a return URL of %d bytes: %d %s", length, a.status, a.body)
		}
	}
	if accepted == 0 || refused == 0 {
		t.Errorf("%d were accepted, and %d refused; the test needs both", accepted, refused)
	}
}

// A code dies with the key that signed it.
func TestCodeOfRevokedKey(t *testing.T) {
	t.Parallel()
	log := revocations.NewMemory()
	f := newFixture(t, withCodes(func(c *issuer.Config) { c.Revocations = log }))
	code := codeOf(t, f.createAny(t))
	key, err := f.ring.SigningKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), revocations.Entry{Scope: revocations.SigningKey, ID: key.Public.ID()}); err != nil {
		t.Fatal(err)
	}
	a := f.exchangeCode(t, f.exchangeOnly, code, anAttempt)
	for a.status == http.StatusOK { // until the server has read the log
		a = f.exchangeCode(t, f.exchangeOnly, code, anAttempt)
	}
	wantRefused(t, "after the key was revoked", a, "code_invalid")
}

// A redeemingFunc is a store of redemptions of one function.
type redeemingFunc func(ctx context.Context, r revocations.Redemption) (revocations.Outcome, error)

// Redeem implements [revocations.Redemptions], as do the two methods below.
func (f redeemingFunc) Redeem(ctx context.Context, r revocations.Redemption) (revocations.Outcome, error) {
	return f(ctx, r)
}

func (redeemingFunc) Check(context.Context) error { return nil }

func (redeemingFunc) Close() {}

// A store that is away, and one that hangs, is a 503 in bounded time, and the code
// is as good as before.
func TestRedemptionsUnavailable(t *testing.T) {
	t.Parallel()
	const detail = "The code cannot be exchanged at the moment: it may have been redeemed or not. Repeating with the same redemption is safe"
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, redeem := range map[string]redeemingFunc{
		"away": func(context.Context, revocations.Redemption) (revocations.Outcome, error) {
			return 0, fmt.Errorf("%w: %s", revocations.ErrUnavailable, innards)
		},
		"hanging": func(context.Context, revocations.Redemption) (revocations.Outcome, error) {
			<-hang
			return 0, revocations.ErrUnavailable
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, withCodes(func(c *issuer.Config) { c.Redemptions = redeem }))
			begin := time.Now()
			a := f.exchangeCode(t, f.exchangeOnly, codeOf(t, f.createAny(t)), anAttempt)
			checkUnavailable(t, a, detail)
			if took := time.Since(begin); took > 7*time.Second {
				t.Errorf("it took %s", took)
			}
			f.shutdown()
			f.wantResults(t, map[string]int{"unavailable": 1})
		})
	}
}

// Where there is no store, codes cannot be exchanged.
func TestNoRedemptions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.exchangeCode(t, f.exchangeOnly, "x", anAttempt)
	checkRefusal(t, a, http.StatusNotImplemented,
		`{"error":"NotImplemented","detail":"Codes cannot be exchanged here: this server keeps no redemptions, or does not look customers up"}`, "")
}

func TestExchangeBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	for body, want := range map[string]string{
		`{}`:                                 "missing|body,code",
		`{"redemption":"` + anAttempt + `"}`: "missing|body,code",
		`{"code":"x"}`:                       "missing|body,redemption",
		`{"code":"x","redemption":null}`:     "missing|body,redemption",
		`{"code":1,"redemption":"` + anAttempt + `"}`:                  "string_type|body,code",
		`{"code":"x","redemption":"short"}`:                            "string_too_short|body,redemption",
		`{"code":"x","redemption":"` + strings.Repeat("x", 256) + `"}`: "string_too_long|body,redemption",
		`[]`: "model_attributes_type|body",
	} {
		a := f.do(t, http.MethodPost, wire.ExchangePath, body, "Authorization", "Bearer "+f.exchangeOnly, "Content-Type", "application/json")
		if a.status != http.StatusUnprocessableEntity || problemOf(t, a) != want {
			t.Errorf("%s: got %d %s, want %s", body, a.status, a.body, want)
		}
	}
	for _, secret := range []string{f.writeOnly, f.introspectOnly, f.revokeOnly} {
		a := f.exchangeCode(t, secret, "x", anAttempt)
		if a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="customer_sessions:exchange"`) {
			t.Errorf("a key without the scope: got %d %v", a.status, a.header)
		}
	}
	if a := f.exchangeCode(t, f.foreign, codeOf(t, f.createAny(t)), anAttempt); a.status != http.StatusUnprocessableEntity {
		t.Errorf("another organization's key: got %d %s", a.status, a.body)
	}
}

// Only where links hold codes there is a second signature.
func TestSignatures(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]int{"token": 1, "code": 2} {
		signatures := make(chan struct{}, 10)
		ring := newDeviceRing(t, func(ctx context.Context, key keys.Signer, input []byte) ([]byte, error) {
			signatures <- struct{}{}
			return key.Sign(ctx, input)
		})
		f := newFixture(t, withCodes(), func(o *fixtureOptions) { o.ring, o.link = ring, link })
		f.createAny(t)
		if got := len(signatures); got != want {
			t.Errorf("link %s: %d signatures, want %d", link, got, want)
		}
	}
}
