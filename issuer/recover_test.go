package issuer_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/secret"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// webhookSecret is the secret of every webhook here.
const webhookSecret = "whsec_b3VyIHNlY3JldCBvZiAzMiBieXRlcywgbm8gbW9yZSE="

// A hook is the server of an organization that gets events. Its answers have the
// statuses of a list, the last one again and again.
type hook struct {
	*httptest.Server

	mu       sync.Mutex
	statuses []int
	events   []event
}

// An event is what a hook got: its headers and its body.
type event struct {
	header http.Header
	body   []byte
}

func newHook(t testing.TB, statuses ...int) *hook {
	t.Helper()
	h := &hook{statuses: statuses}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.String() != "/hook?for=acme" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event{r.Header, body})
	status := http.StatusOK
	if len(h.statuses) > 0 {
		status = h.statuses[min(len(h.events), len(h.statuses))-1]
	}
	w.WriteHeader(status)
}

// got returns the events, whose signatures are good.
func (h *hook) got(t testing.TB) []event {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(webhookSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range h.events {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", e.header.Get("webhook-id"), e.header.Get("webhook-timestamp"), e.body)
		if got, want := e.header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("the signature is %s, want %s", got, want)
		}
	}
	return h.events
}

// data returns what an event says.
func (e event) data(t testing.TB) map[string]any {
	t.Helper()
	var body struct {
		Type      string         `json:"type"`
		Timestamp time.Time      `json:"timestamp"`
		Data      map[string]any `json:"data"`
	}
	if err := json.Unmarshal(e.body, &body); err != nil {
		t.Fatal(err)
	}
	if age := time.Since(body.Timestamp); body.Type != "customer_session.recovery_requested" || age < 0 || age > time.Minute {
		t.Errorf("the event is %s", e.body)
	}
	operation := theContract(t).document.Webhooks["customer_session.recovery_requested"].Post
	if err := fits(operation.RequestBody.Value.Content["application/json"], object(t, e.body)); err != nil {
		t.Errorf("the event %s is not in the document: %v", e.body, err)
	}
	for _, parameter := range operation.Parameters {
		if err := parameter.Value.Schema.Value.VisitJSON(e.header.Get(parameter.Value.Name)); err != nil {
			t.Errorf("header %s: %v", parameter.Value.Name, err)
		}
	}
	return body.Data
}

// newRecovery starts a server whose first organization has a recovery with this
// webhook, and whose second has none, but a support page.
func newRecovery(t testing.TB, webhookURL, maxAge string, changes ...func(*fixtureOptions)) *fixture {
	t.Helper()
	age, err := time.ParseDuration(maxAge)
	if err != nil {
		t.Fatal(err)
	}
	return newFixture(t, append(changes, func(o *fixtureOptions) {
		change := o.change
		o.change = func(c *issuer.Config) {
			for organization := range c.Organizations().Organizations() {
				organization.SupportURL = "https://help.example.com/"
				if organization.ID.String() == orgID {
					organization.Recovery = &organizations.Recovery{WebhookURL: webhookURL + "/hook?for=acme", SecretFile: "acme.secret", MaxAge: age}
				}
			}
			c.WebhookSecret = func(path string) (secret.Text, error) {
				if path != "acme.secret" {
					return "", fmt.Errorf("the path is %q", path)
				}
				return webhookSecret, nil
			}
			if change != nil {
				change(c)
			}
		}
	})...)
}

// old makes a token that expired some time ago, of a session of an hour.
func (f *fixture) old(t testing.TB, ago time.Duration, claims map[string]any) string {
	t.Helper()
	expired := time.Now().Add(-ago)
	all := map[string]any{wire.ClaimIssuedAt: expired.Add(-time.Hour).Unix(), wire.ClaimExpiresAt: expired.Unix()}
	maps.Copy(all, claims)
	return f.forge(t, nil, all)
}

// oldCode makes a code that expired some time ago.
func (f *fixture) oldCode(t testing.TB, ago time.Duration) string {
	t.Helper()
	expired := time.Now().Add(-ago)
	return f.forge(t, map[string]any{"typ": wire.CodeType}, map[string]any{
		wire.ClaimAudience: f.base, wire.ClaimScope: nil, "session_exp": expired.Add(time.Hour).Unix(),
		wire.ClaimIssuedAt: expired.Add(-10 * time.Minute).Unix(), wire.ClaimExpiresAt: expired.Unix(),
	})
}

func (f *fixture) recover(t testing.TB, token string) *answer {
	t.Helper()
	return f.do(t, http.MethodPost, wire.RecoverPath, "", "Authorization", "Bearer "+token)
}

// Whoever holds an old link gets nothing but a mail to its customer.
func TestRecover(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	f := newRecovery(t, hook.URL, "168h")
	session := uuid.NewString()
	issued := time.Now().Add(-25 * time.Hour).UTC().Truncate(time.Second)
	token := f.forge(t, nil, map[string]any{
		wire.ClaimSessionID: session, wire.ClaimCustomerID: teamID, wire.ClaimMemberID: ownerID, wire.ClaimRole: "owner", wire.ClaimReturnURL: "https://shop.example.com/a?b=c&d",
		wire.ClaimIssuedAt: issued.Unix(), wire.ClaimExpiresAt: issued.Add(time.Hour).Unix(),
	})
	a := f.recover(t, token)
	if a.status != http.StatusAccepted || string(a.body) != "{}" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %s, want 202 {}", a.status, a.body)
	}
	events := hook.got(t)
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	want := map[string]any{
		"organization_id": orgID, "customer_id": teamID, "external_customer_id": "bletchley", "member_id": ownerID,
		"session_id": session, "issued_at": issued.Format(time.RFC3339), "return_url": "https://shop.example.com/a?b=c&d",
	}
	if got := events[0].data(t); !reflect.DeepEqual(got, want) {
		t.Errorf("the event is %v, want %v", got, want)
	}
	f.checkSecrets(t, "the event", fmt.Sprint(events[0].header)+string(events[0].body))
	f.shutdown()
	logged := f.logs.String()
	for _, want := range []string{`"msg":"recovery requested"`, `"outcome":"sent"`, `"session_id":"` + session + `"`, `"customer_id":"` + teamID + `"`, `"member_id":"` + ownerID + `"`} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log has no %s", want)
		}
	}
	for _, private := range []string{"bletchley", "joan@example.com", "Joan Clarke", "shop.example.com", hook.URL, webhookSecret, webhookSecret[6:]} {
		if strings.Contains(logged, private) {
			t.Errorf("the log has %s", private)
		}
	}
}

// The answer is the same whatever becomes of it, and so is the event, whether the
// directory knows the customer or not.
func TestRecoverIsNoOracle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, customer string
		directory      customers.Directory
		externalID     any
	}{
		{"known", customerID, nil, externalID},
		{"without an external ID", timeOrderedID, nil, nil},
		{"unknown", unknownID, nil, nil},
		{"deleted", deletedID, nil, nil},
		{"another organization's", foreignID, nil, nil},
		{"stated by checkout", customerID, customers.Request{}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hook := newHook(t)
			f := newRecovery(t, hook.URL, "168h", func(o *fixtureOptions) { o.directory = test.directory })
			a := f.recover(t, f.old(t, time.Hour, map[string]any{wire.ClaimCustomerID: test.customer}))
			if a.status != http.StatusAccepted || string(a.body) != "{}" {
				t.Errorf("got %d %s, want 202 {}", a.status, a.body)
			}
			events := hook.got(t)
			if len(events) != 1 {
				t.Fatalf("%d events, want 1", len(events))
			}
			if data := events[0].data(t); data["customer_id"] != test.customer || data["external_customer_id"] != test.externalID {
				t.Errorf("the event is %v, want %s and %v", data, test.customer, test.externalID)
			}
		})
	}
}

// What may ask for a new link, and what may not.
func TestRecoverCredentials(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	const day = 24 * time.Hour
	f := newRecovery(t, hook.URL, "720h")
	other := func(claims map[string]any) string { return f.old(t, time.Hour, claims) }
	for _, test := range []struct {
		name, token string
		status      int
	}{
		{"expired just now", f.old(t, time.Second, nil), 202},
		{"expired nearly 30 days ago", f.old(t, 30*day-time.Minute, nil), 202},
		{"expired 30 days ago", f.old(t, 30*day+time.Second, nil), 401},
		{"live", f.forge(t, nil, nil), 202},
		{"code", f.oldCode(t, -time.Minute), 202},
		{"expired code", f.oldCode(t, time.Hour), 202},
		{"code of 30 days ago", f.oldCode(t, 30*day+time.Second), 401},
		{"another audience", other(map[string]any{wire.ClaimAudience: "somebody-else"}), 401},
		{"code that is no code", other(map[string]any{wire.ClaimAudience: f.base}), 401},
		{"another issuer", other(map[string]any{wire.ClaimIssuer: f.base + "/"}), 401},
		{"longer than a session may be", f.old(t, time.Hour, map[string]any{wire.ClaimIssuedAt: time.Now().Add(-27 * time.Hour).Unix()}), 401},
		{"an organization without recovery", other(map[string]any{wire.ClaimOrganizationID: foreignOrgID}), 404},
		{"an organization that is gone", other(map[string]any{wire.ClaimOrganizationID: unknownID}), 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := f.recover(t, test.token)
			switch test.status {
			case http.StatusUnauthorized:
				checkBearer(t, a, test.status, "invalid_token", badToken, "")
			default:
				if a.status != test.status {
					t.Errorf("got %d %s, want %d", a.status, a.body, test.status)
				}
			}
		})
	}
	before := len(hook.got(t))
	if before != 5 {
		t.Errorf("%d events, want 5", before)
	}
	for name, token := range f.badTokens(t) {
		if name != "expired" {
			checkBearer(t, f.recover(t, token), http.StatusUnauthorized, "invalid_token", badToken, "")
		}
	}
	checkRefusal(t, f.do(t, http.MethodPost, wire.RecoverPath, ""), http.StatusUnauthorized, unauthorized, challenge)
	if after := len(hook.got(t)); after != before {
		t.Errorf("bad tokens made %d events", after-before)
	}
}

// The page that asked can lead on to somebody who helps.
func TestRecoverNot(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	f := newRecovery(t, hook.URL, "168h")
	for organization, support := range map[string]string{foreignOrgID: `"https://help.example.com/"`, unknownID: `null`} {
		a := f.recover(t, f.old(t, time.Hour, map[string]any{wire.ClaimOrganizationID: organization}))
		checkRefusal(t, a, http.StatusNotFound,
			`{"error":"ResourceNotFound","detail":"This organization sends no new links","support_url":`+support+`}`, "")
	}
	if events := hook.got(t); len(events) != 0 {
		t.Errorf("%d events of another organization, want none", len(events))
	}
}

// A session that was ended, in any way, is not recovered.
func TestRecoverEnded(t *testing.T) {
	t.Parallel()
	const client = "AbCdEf12"
	session, member := uuid.NewString(), uuid.NewString()
	for name, end := range map[string]string{
		"session":      `{"session_id":"` + session + `"}`,
		"customer":     `{"customer_id":"` + customerID + `"}`,
		"member":       `{"member_id":"` + member + `"}`,
		"API key":      `{"client_id":"` + client + `"}`,
		"organization": `{"organization":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook := newHook(t)
			f := newRecovery(t, hook.URL, "168h", func(o *fixtureOptions) {
				o.change = func(c *issuer.Config) { c.Revocations = revocations.NewMemory() }
			})
			if a := f.revoke(t, f.secret, end); a.status != http.StatusOK {
				t.Fatalf("ending: got %d %s", a.status, a.body)
			}
			token := f.old(t, time.Hour, map[string]any{
				wire.ClaimSessionID: session, wire.ClaimClientID: client, wire.ClaimMemberID: member, wire.ClaimRole: "member",
			})
			checkBearer(t, f.recover(t, token), http.StatusUnauthorized, "invalid_token", badToken, "")
			want := http.StatusAccepted
			if name == "organization" {
				want = http.StatusUnauthorized
			}
			if a := f.recover(t, f.old(t, time.Hour, map[string]any{wire.ClaimCustomerID: otherCustomerID})); a.status != want {
				t.Errorf("another session: got %d %s, want %d", a.status, a.body, want)
			}
		})
	}
}

// The events of one customer, or member, of an hour have one ID, however many old
// links there are.
func TestRecoverEventID(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	f := newRecovery(t, hook.URL, "168h")
	member := map[string]any{wire.ClaimMemberID: uuid.NewString(), wire.ClaimRole: "member"}
	for _, claims := range []map[string]any{nil, nil, member, member, {wire.ClaimCustomerID: otherCustomerID}} {
		if a := f.recover(t, f.old(t, time.Hour, claims)); a.status != http.StatusAccepted {
			t.Fatalf("got %d %s, want 202", a.status, a.body)
		}
	}
	events := hook.got(t)
	var ids []string
	for _, e := range events {
		ids = append(ids, e.header.Get("webhook-id"))
	}
	if len(ids) != 5 || ids[0] != ids[1] || ids[2] != ids[3] || ids[0] == ids[2] || ids[0] == ids[4] {
		t.Errorf("got the IDs %q, want three: a customer's, a member's and another customer's", ids)
	}
}

// A new hour is a new ID.
func TestRecoverEventIDOfAnHour(t *testing.T) {
	t.Parallel()
	session := &verify.Session{OrganizationID: orgID, CustomerID: customerID}
	id := func(s *verify.Session, clock string) string {
		return issuer.RecoveryID(s, instant(t, "2026-11-23T"+clock+"Z"))
	}
	first := id(session, "10:00:00")
	if got := id(session, "10:59:59"); got != first {
		t.Errorf("in the same hour: got %s, want %s", got, first)
	}
	for name, other := range map[string]string{
		"hour before": id(session, "09:59:59"), "hour after": id(session, "11:00:00"),
		"another organization": id(&verify.Session{OrganizationID: foreignOrgID, CustomerID: customerID}, "10:00:00"),
		"another customer":     id(&verify.Session{OrganizationID: orgID, CustomerID: otherCustomerID}, "10:00:00"),
		"a member":             id(&verify.Session{OrganizationID: orgID, CustomerID: customerID, MemberID: otherCustomerID}, "10:00:00"),
	} {
		if other == first {
			t.Errorf("%s has the same ID", name)
		}
	}
}

// A holder gets few events an hour, and those of others go on.
func TestRecoverLimit(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	f := newRecovery(t, hook.URL, "168h")
	token, start := f.old(t, time.Hour, nil), time.Now()
	for range 5 {
		if a := f.recover(t, token); a.status != http.StatusAccepted {
			t.Fatalf("got %d %s, want 202", a.status, a.body)
		}
	}
	a := f.recover(t, token)
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	wait, least := time.Duration(seconds)*time.Second, 12*time.Minute-time.Since(start)
	if err != nil || a.status != http.StatusTooManyRequests || wait < least || wait > 12*time.Minute {
		t.Errorf("got %d, to wait %v (%v), want 429 for 12 minutes", a.status, wait, err)
	}
	if a := f.recover(t, f.old(t, time.Hour, nil)); a.status != http.StatusAccepted {
		t.Errorf("another session: got %d %s, want 202", a.status, a.body)
	}
	if events := hook.got(t); len(events) != 6 {
		t.Errorf("%d events, want 6", len(events))
	}
}

func TestRecoverLimitOfAddress(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	f := newRecovery(t, hook.URL, "168h", func(o *fixtureOptions) {
		o.change = func(c *issuer.Config) { c.AddressRate, c.AddressBurst = 0.001, 2 }
	})
	for _, want := range []int{202, 202, 429} {
		if a := f.recover(t, f.old(t, time.Hour, nil)); a.status != want {
			t.Errorf("got %d %s, want %d", a.status, a.body, want)
		}
	}
}

// A webhook that fails gets a second try, and then the caller hears of it.
func TestRecoverWebhook(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		statuses []int
		status   int // of the answer
		tries    int
	}{
		{"500 then 200", []int{500, 200}, 202, 2},
		{"500", []int{500}, 503, 2},
		{"redirect", []int{302}, 503, 2},
		{"204", []int{204}, 202, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hook := newHook(t, test.statuses...)
			f := newRecovery(t, hook.URL, "168h")
			a := f.recover(t, f.old(t, time.Hour, nil))
			if test.status == http.StatusAccepted && a.status != test.status {
				t.Errorf("got %d %s, want 202", a.status, a.body)
			}
			if test.status != http.StatusAccepted {
				checkUnavailable(t, a, "The request for a new link could not be passed on")
			}
			events := hook.got(t)
			if len(events) != test.tries {
				t.Fatalf("%d tries, want %d", len(events), test.tries)
			}
			for _, e := range events {
				if e.header.Get("webhook-id") != events[0].header.Get("webhook-id") {
					t.Error("the tries of one event have different IDs")
				}
			}
			f.shutdown()
			if outcome := map[int]string{202: "sent", 503: "failed"}[test.status]; !strings.Contains(f.logs.String(), `"outcome":"`+outcome+`"`) {
				t.Errorf("the log has no outcome %s", outcome)
			}
			if strings.Contains(f.logs.String(), hook.URL+"/hook") {
				t.Error("the log has the URL of the webhook")
			}
		})
	}
}

func TestRecoverWithoutParts(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	gone := newHook(t)
	gone.Close()
	for _, test := range []struct {
		name, webhook, detail string
		change                func(*fixtureOptions)
	}{
		{"hook away", gone.URL, "The request for a new link could not be passed on", func(*fixtureOptions) {}},
		{"no directory", hook.URL, "The customer directory is unavailable", func(o *fixtureOptions) { o.directory = directoryFunc(refuseConnections) }},
		{"no secret", hook.URL, "The request for a new link could not be passed on", func(o *fixtureOptions) {
			o.change = func(c *issuer.Config) {
				c.WebhookSecret = func(string) (secret.Text, error) { return "whsec_short", nil }
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newRecovery(t, test.webhook, "168h", test.change)
			checkUnavailable(t, f.recover(t, f.old(t, time.Hour, nil)), test.detail)
		})
	}
	if events := hook.got(t); len(events) != 0 {
		t.Errorf("%d events, want none", len(events))
	}
}

// A page of any origin may ask, with the token alone.
func TestRecoverOrigin(t *testing.T) {
	t.Parallel()
	hook := newHook(t)
	f := newRecovery(t, hook.URL, "168h")
	a := f.do(t, http.MethodPost, wire.RecoverPath, "", "Authorization", "Bearer "+f.old(t, time.Hour, nil), "Origin", "https://portal.example.com")
	if got := a.header.Get("Access-Control-Allow-Origin"); a.status != http.StatusAccepted || got != "*" {
		t.Errorf("got %d, for the origins %q, want 202 for all", a.status, got)
	}
}

// Tokens of a key that has left the JWK Set recover for 30 days, tokens of a revoked
// one never. For everything else they are dead.
func TestRecoverOldKeys(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, test := range []struct {
		name    string
		begin   time.Duration // how long ago the first key was made, of which the token is
		revoke  bool          // a day later
		dropped bool
		want    int
	}{
		{"published", 37 * day, false, false, 202},
		{"dropped", 40 * day, false, true, 202},
		{"dropped nearly 30 days ago", 67 * day, false, true, 202},
		{"dropped 30 days ago", 70 * day, false, false, 401},
		{"revoked", 3 * day, true, false, 401},
		{"revoked, then dropped", 40 * day, true, false, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now().Add(-test.begin)
			manifest, err := keys.Init(keys.DefaultPolicy(), begin, true)
			if err != nil {
				t.Fatal(err)
			}
			oldest := manifest.Keys[0]
			signer, last := signerOf(t, manifest, oldest), oldest.RemoveAt
			for at := begin.Add(day); at.Before(time.Now().Add(time.Second)); at = at.Add(day) {
				if test.revoke && at.Equal(begin.Add(day)) {
					manifest, err = keys.Revoke(manifest, at, oldest.ID())
				} else {
					manifest, err = keys.Rotate(manifest, at)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			dropped := slices.ContainsFunc(manifest.Dropped, func(k *keys.Key) bool { return k.ID() == oldest.ID() })
			if dropped != test.dropped {
				t.Fatalf("among the dropped keys: %v, want %v", dropped, test.dropped)
			}
			// Also after the way through the file.
			ring := ringOf(t, clone(t, manifest), nil)
			hook := newHook(t)
			f := newRecovery(t, hook.URL, "720h", func(o *fixtureOptions) { o.ring = ring })
			expired := last.Add(-time.Hour)
			if now := time.Now(); expired.After(now) {
				expired = now.Add(-time.Minute)
			}
			sign := func(expires time.Time) string {
				return f.sign(t, oldest.Public, signer, nil, map[string]any{
					wire.ClaimIssuedAt: expires.Add(-time.Hour).Unix(), wire.ClaimExpiresAt: expires.Unix(),
				})
			}
			if a := f.recover(t, sign(expired)); a.status != test.want {
				t.Errorf("got %d %s, want %d", a.status, a.body, test.want)
			}
			live := sign(time.Now().Add(time.Minute))
			if a := f.portal(t, "introspect", live); (a.status == http.StatusOK) != (test.name == "published") {
				t.Errorf("a live token of the key: got %d %s", a.status, a.body)
			}
		})
	}
}
