package issuer_test

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/verify/wire"
)

// portal makes a portal call with a session's token.
func (f *fixture) portal(t testing.TB, call, token string) *answer {
	t.Helper()
	return f.do(t, http.MethodGet, portalPath+call, "", "Authorization", "Bearer "+token)
}

const badToken = "The session token is expired or not valid here"

func TestPortalIntrospect(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		name, body string
		want       any
	}{
		{"with a return URL", `{"customer_id":"` + customerID + `","return_url":"https://shop.example.com"}`, "https://shop.example.com/"},
		{"without", `{"customer_id":"` + customerID + `"}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			session := f.create(t, test.body)
			a := f.portal(t, "introspect", session.text(t, "token"))
			want := map[string]any{"expires_at": session.text(t, "expires_at"), "return_url": test.want}
			if a.status != http.StatusOK || !reflect.DeepEqual(a.members(t), want) {
				t.Errorf("got %d %s, want 200 %v", a.status, a.body, want)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q, want no-store", got)
			}
		})
	}
}

func TestPortalUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		name, secret, customer string
		nameMember             any
		email                  string
	}{
		{"with a name", f.secret, customerID, "Ada Lovelace", "ada@example.com"},
		{"without a name", f.secret, otherCustomerID, nil, "alan@example.com"},
		{"another organization's", f.foreign, foreignID, nil, "grace@example.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.portal(t, "user", f.post(t, test.secret, `{"customer_id":"`+test.customer+`"}`).text(t, "token"))
			want := map[string]any{
				"type": "customer", "name": test.nameMember, "email": test.email, "customer_id": test.customer, "member_id": nil, "role": nil,
			}
			if a.status != http.StatusOK || !reflect.DeepEqual(a.members(t), want) {
				t.Errorf("got %d %s, want 200 %v", a.status, a.body, want)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q, want no-store", got)
			}
		})
	}
}

func TestPortalCredentials(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.createAny(t).text(t, "token")
	for _, test := range []struct {
		name, query string
		headers     []string
		status      int // 401 without a reason, 400, or 200
	}{
		{"token", "", []string{"Authorization", "Bearer " + token}, 200},
		{"scheme in lower case", "", []string{"Authorization", "bearer " + token}, 200},
		{"none", "", nil, 401},
		{"another scheme", "", []string{"Authorization", "Token " + token}, 401},
		{"in the query", "?customer_session_token=" + token + "&access_token=" + token, nil, 401},
		{"in a cookie", "", []string{"Cookie", "customer_session_token=" + token}, 401},
		{"nothing after the scheme", "", []string{"Authorization", "Bearer"}, 400},
		{"two headers", "", []string{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token}, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, call := range []string{"introspect", "user"} {
				a := f.do(t, http.MethodGet, portalPath+call+test.query, "", test.headers...)
				switch test.status {
				case http.StatusUnauthorized:
					checkRefusal(t, a, test.status, unauthorized, challenge)
				case http.StatusBadRequest:
					checkBearer(t, a, test.status, "invalid_request", "The Authorization header cannot be read", "")
				default:
					if a.status != test.status {
						t.Errorf("%s: got %d %s, want 200", call, a.status, a.body)
					}
				}
			}
		})
	}
}

// Whatever is wrong with a token, the answer is the same.
func TestPortalBadTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, token := range f.badTokens(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range []string{"introspect", "user"} {
				checkBearer(t, f.portal(t, call, token), http.StatusUnauthorized, "invalid_token", badToken, "")
			}
		})
	}
	// The tokens above are bad for one reason each.
	good := f.forge(t, nil, nil)
	if a := f.portal(t, "user", good); a.status != http.StatusOK {
		t.Errorf("a good token: got %d %s, want 200", a.status, a.body)
	}
}

// A customer who is gone by now is nobody.
func TestPortalUserGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, id := range []string{unknownID, deletedID, foreignID} {
		token := f.forge(t, nil, map[string]any{wire.ClaimCustomerID: id})
		checkBearer(t, f.portal(t, "user", token), http.StatusUnauthorized, "invalid_token", badToken, "")
	}
}

func TestPortalUserWithoutDirectory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) { o.directory = directoryFunc(refuseConnections) })
	token := f.forge(t, nil, nil)
	checkUnavailable(t, f.portal(t, "user", token), "The customer directory is unavailable")
	if a := f.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("introspecting needs no directory: got %d %s, want 200", a.status, a.body)
	}
}

// The name is the one of now, not the one of when the session began.
func TestPortalUserIsLookedUpAnew(t *testing.T) {
	t.Parallel()
	renamed := newSwitch(newDirectory(t))
	f := newFixture(t, func(o *fixtureOptions) { o.directory = renamed })
	token := f.createAny(t).text(t, "token")
	renamed.use(t, `{"id":"`+customerID+`","organization_id":"`+orgID+`","email":"countess@example.com","name":"Countess"}`)
	if a := f.portal(t, "user", token); a.text(t, "name") != "Countess" || a.text(t, "email") != "countess@example.com" {
		t.Errorf("got %s, want the present name and address", a.body)
	}
	renamed.use(t, `{"id":"`+customerID+`","organization_id":"`+orgID+`","email":"a@b.example","deleted_at":"`+
		time.Now().UTC().Format(time.RFC3339)+`"}`)
	checkBearer(t, f.portal(t, "user", token), http.StatusUnauthorized, "invalid_token", badToken, "")
}

var _ customers.Directory = (*directorySwitch)(nil)
