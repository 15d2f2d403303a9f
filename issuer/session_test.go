package issuer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// instant reads a time as the API writes it: whole seconds of UTC.
func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// object decodes a JSON object and keeps its numbers as they are written.
func object(t testing.TB, text []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		t.Fatalf("%q is not a JSON object: %v", text, err)
	}
	return members
}

// segment decodes the JSON of a token's header (0) or claims (1).
func segment(t testing.TB, token string, i int) map[string]any {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		t.Fatalf("a token has %d segments, want 3", len(segments))
	}
	text, err := base64.RawURLEncoding.DecodeString(segments[i])
	if err != nil {
		t.Fatal(err)
	}
	return object(t, text)
}

func claims(t testing.TB, token string) map[string]any {
	t.Helper()
	return segment(t, token, 1)
}

func names(members map[string]any) []string { return slices.Sorted(maps.Keys(members)) }

func TestSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := time.Now().Truncate(time.Second)
	a := f.create(t, `{"customer_id":"`+customerID+`","return_url":"https://shop.example.com"}`)
	after := time.Now()

	session := a.members(t)
	want := []string{
		"created_at", "customer", "customer_id", "customer_portal_url", "expires_at", "id", "modified_at", "return_url", "token",
	}
	if got := names(session); !slices.Equal(got, want) {
		t.Errorf("the session has the members %q, want %q", got, want)
	}
	if id, err := uuid.Parse(a.text(t, "id")); err != nil || id.Version() != 4 || id.String() != session["id"] {
		t.Errorf("id is %q, want a random UUID", session["id"])
	}
	created, expires := instant(t, a.text(t, "created_at")), instant(t, a.text(t, "expires_at"))
	if created.Before(before) || created.After(after) {
		t.Errorf("created_at is %s, want the present time", created)
	}
	if got := expires.Sub(created); got != time.Hour {
		t.Errorf("the session lasts %s, want 1h", got)
	}
	if session["modified_at"] != nil {
		t.Errorf("modified_at is %v, want null", session["modified_at"])
	}
	if session["customer_id"] != customerID || session["return_url"] != "https://shop.example.com/" {
		t.Errorf("customer_id is %v, return_url %v", session["customer_id"], session["return_url"])
	}
	token := claims(t, a.text(t, "token"))
	if got, want := token["exp"], json.Number(strconv.FormatInt(expires.Unix(), 10)); got != want {
		t.Errorf("the token's exp is %v, want expires_at, %v", got, want)
	}
	if token["sid"] != session["id"] {
		t.Errorf("the token's sid is %v, want the session's ID %v", token["sid"], session["id"])
	}
	if session["return_url"] = f.create(t, `{"customer_id":"`+customerID+`"}`).members(t)["return_url"]; session["return_url"] != nil {
		t.Errorf("return_url is %v, want null", session["return_url"])
	}
}

func TestSessionHeaders(t *testing.T) {
	t.Parallel()
	a := newFixture(t).createAny(t)
	for name, want := range map[string]string{
		"Content-Type":           "application/json",
		"Cache-Control":          "no-store",
		"Content-Length":         strconv.Itoa(len(a.body)),
		"X-Content-Type-Options": "nosniff",
		"Polar-Version":          "",
		"Set-Cookie":             "",
		"Location":               "",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Error("there is no X-Request-Id")
	}
}

// createAny makes a session for whomever.
func (f *fixture) createAny(t testing.TB) *answer {
	t.Helper()
	return f.create(t, `{"customer_id":"`+customerID+`"}`)
}

// Nothing is kept: the same request makes another session.
func TestSessionsAreNew(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first, second := f.createAny(t), f.createAny(t)
	for _, member := range []string{"id", "token"} {
		if first.text(t, member) == second.text(t, member) {
			t.Errorf("two sessions have the same %s", member)
		}
	}
}

// Answers that are written at the same time do not get into each other's way.
func TestSessionsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var wg sync.WaitGroup
	for _, id := range []string{customerID, otherCustomerID, fullID, timeOrderedID} {
		wg.Go(func() {
			for range 25 {
				a := roundTrip(t, f.request(t, http.MethodPost, createPath, `{"customer_id":"`+id+`"}`, "Authorization", "Bearer "+f.secret))
				session := a.members(t)
				customer, _ := session["customer"].(map[string]any)
				if session["customer_id"] != id || customer["id"] != id || claims(t, a.text(t, "token"))["sub"] != id {
					t.Errorf("asked for %s, got %s", id, a.body)
				}
			}
		})
	}
	wg.Wait()
}

func TestPortalLink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ours := f.createAny(t)
	foreign := f.post(t, f.foreign, `{"customer_id":"`+foreignID+`"}`)
	for _, test := range []struct {
		name, want string // the link without its token
		a          *answer
		query      url.Values
	}{
		{"plain", "https://portal.example.com/acme/portal?customer_session_token=", ours, url.Values{}},
		{
			"query, fragment, e-mail address", "https://portal.example.com/?org=other&customer_session_token=&email=grace%40example.com#start", foreign,
			url.Values{"org": {"other"}, "email": {"grace@example.com"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			link, token := test.a.text(t, "customer_portal_url"), test.a.text(t, "token")
			if got := strings.ReplaceAll(link, token, ""); got != test.want {
				t.Errorf("the link is %q, want %q", got, test.want)
			}
			parsed, err := url.Parse(link)
			if err != nil {
				t.Fatal(err)
			}
			// What the plug-ins of Polar's SDKs do to it.
			query := parsed.Query()
			query.Set("theme", "dark & light")
			parsed.RawQuery = query.Encode()
			again, err := url.Parse(parsed.String())
			if err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(test.query)
			want["customer_session_token"], want["theme"] = []string{token}, []string{"dark & light"}
			if !reflect.DeepEqual(again.Query(), want) {
				t.Errorf("with one more parameter the query is %v, want %v", again.Query(), want)
			}
		})
	}
}

// gravatar is the picture of who has no other.
func gravatar(email string) string {
	sum := sha256.Sum256([]byte(email))
	return "https://www.gravatar.com/avatar/" + hex.EncodeToString(sum[:]) + "?d=404"
}

func TestCustomerMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct{ name, id, want string }{
		{"every member", fullID, `{"id":"` + fullID + `","organization_id":"` + orgID + `","created_at":"2026-01-15T09:00:00Z",
			"modified_at":"2026-02-15T09:00:00Z","deleted_at":null,"first_user_event_at":"2026-03-15T09:00:00Z",
			"metadata":{"plan":"pro","seats":3,"share":0.5,"vip":true},"external_id":"full","name":"Zoë \"Z\" <b>",
			"billing_name":"Zoo Ltd","locale":"en-GB","default_payment_method_id":"5d9c1b7e-2f4a-4c8d-9e6b-1a3c5e7f9b2d",
			"email":"Full@Example.com","email_verified":true,"type":"individual","tax_id":["GB980780684","gb_vat"],
			"billing_address":{"country":"GB","line1":"12 St James","line2":null,"postal_code":"SW1Y 4JH","city":"London","state":null},
			"avatar_url":"https://cdn.example.com/zoe.png"}`},
		{"few members", otherCustomerID, `{"id":"` + otherCustomerID + `","organization_id":"` + orgID + `","created_at":"2026-02-20T10:30:00Z",
			"modified_at":null,"deleted_at":null,"first_user_event_at":null,"metadata":{},"external_id":"user_alan","name":null,
			"billing_name":null,"locale":null,"default_payment_method_id":null,"email":"alan@example.com","email_verified":false,
			"type":"individual","tax_id":null,"billing_address":null,"avatar_url":"` + gravatar("alan@example.com") + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.create(t, `{"customer_id":"`+test.id+`"}`)
			if got, want := object(t, a.body)["customer"], object(t, []byte(test.want)); !reflect.DeepEqual(got, any(want)) {
				t.Errorf("the customer is\n%v\nwant\n%v", got, want)
			}
		})
	}
}

// A team may have no address; its picture is never null nevertheless.
func TestTeam(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	customer, ok := f.create(t, `{"customer_id":"`+teamID+`","member_id":"`+ownerID+`"}`).members(t)["customer"].(map[string]any)
	if !ok || customer["type"] != "team" || customer["email"] != nil {
		t.Errorf("the customer is %v, want a team without an e-mail address", customer)
	}
	if picture, ok := customer["avatar_url"].(string); !ok || !strings.HasSuffix(picture, "?d=404") {
		t.Errorf("avatar_url is %v, want a Gravatar address", customer["avatar_url"])
	}
}

// Clients call the path in all of these forms and follow no redirect.
func TestPaths(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{
		"/v1/customer-sessions/", "/v1/customer-sessions", "//v1/customer-sessions/", "//v1/customer-sessions",
		"/v1//customer-sessions/", "/v1/customer-sessions//", "///v1///customer-sessions///", "/v1/customer-sessions/?a=b",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, http.MethodPost, path, `{"customer_id":"`+customerID+`"}`, "Authorization", "Bearer "+f.secret)
			if a.status != http.StatusCreated {
				t.Errorf("got %d %s, want 201", a.status, a.body)
			}
		})
	}
}

func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		name    string
		headers []string
	}{
		{"scheme in lower case", []string{"Authorization", "bearer " + f.secret}},
		{"scheme in upper case", []string{"Authorization", "BEARER " + f.secret}},
		{"two spaces", []string{"Authorization", "Bearer  " + f.secret}},
		{"empty cookie", []string{"Authorization", "Bearer " + f.secret, "Cookie", ""}},
		{"content type with a parameter", []string{"Authorization", "Bearer " + f.secret, "Content-Type", "application/json; charset=utf-8"}},
		{"content type in upper case", []string{"Authorization", "Bearer " + f.secret, "Content-Type", "Application/JSON"}},
		{"accepting another type", []string{"Authorization", "Bearer " + f.secret, "Accept", "text/html"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, http.MethodPost, "/v1/customer-sessions/", `{"customer_id":"`+customerID+`"}`, test.headers...)
			if a.status != http.StatusCreated || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("got %d %s, want 201", a.status, a.body)
			}
		})
	}
}

func TestPolarVersion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, version := range []string{"2026-04", "2026-10", "2027-01"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for _, secret := range []string{f.secret, f.introspectOnly, "wrong"} {
				a := f.do(t, http.MethodPost, "/v1/customer-sessions/", `{"customer_id":"`+customerID+`"}`,
					"Authorization", "Bearer "+secret, "Polar-Version", version)
				if got := a.header.Get("Polar-Version"); got != version {
					t.Errorf("status %d: Polar-Version is %q, want %q", a.status, got, version)
				}
			}
		})
	}
	// What is not a version of the API is not repeated.
	for _, version := range []string{"1999-12", "2026-4", "<script>", strings.Repeat("9", 1000)} {
		t.Run("unknown", func(t *testing.T) {
			t.Parallel()
			a := roundTrip(t, f.request(t, http.MethodPost, "/v1/customer-sessions/", `{"customer_id":"`+customerID+`"}`,
				"Authorization", "Bearer "+f.secret, "Polar-Version", version))
			if got := a.header.Get("Polar-Version"); a.status != http.StatusCreated || got != "" {
				t.Errorf("got %d and the Polar-Version %q, want 201 and none", a.status, got)
			}
		})
	}
}

// Old clients send a Content-Type with everything.
func TestContentTypeOfGET(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.createAny(t).text(t, "token")
	for _, path := range []string{
		"/v1/customer-portal/customer-session/introspect", "/v1/customer-portal/customer-session/user",
		"/.well-known/jwks.json", "/.well-known/openid-configuration",
	} {
		a := f.do(t, http.MethodGet, path, "", "Authorization", "Bearer "+token, "Content-Type", "application/json", "Cookie", "")
		if a.status != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", path, a.status, a.body)
		}
	}
}
