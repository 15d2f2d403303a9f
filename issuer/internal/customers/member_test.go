package customers_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
)

// What is wrong with a member is said with its place in the line and in the list.
func TestLoadFileRefusesMembers(t *testing.T) {
	t.Parallel()
	team := func(n int, members string) string {
		return fmt.Sprintf(`{"id":"11111111-1111-4111-8111-%012d","organization_id":"%s","type":"team","members":%s}`+"\n", n, home, members)
	}
	member := func(id fmt.Stringer, more string) string { return fmt.Sprintf(`{"id":%q,"email":"a@b"%s}`, id, more) }
	const place = "line 1, column 127: members"
	for name, test := range map[string]struct{ data, want string }{
		"no list":         {team(1, `{}`), place + ": Input should be a list"},
		"no object":       {team(1, `["`+joan.String()+`"]`), place + ".0: Input should be an object"},
		"nothing":         {team(1, `[{}]`), place + ".0.id: Field required; column 127: members.0.email: Field required"},
		"no UUID":         {team(1, `[{"id":"1","email":null}]`), place + ".0.id: Input should be a valid UUID of 36 characters; column 127: members.0.email: Input should not be null"},
		"role":            {team(1, "["+member(joan, `,"role":"admin"`)+"]"), place + ".0.role: Input should be 'owner', 'billing_manager' or 'member'"},
		"role a number":   {team(1, "["+member(joan, `,"role":1`)+"]"), place + ".0.role: Input should be a valid string"},
		"external ID":     {team(1, "["+member(joan, `,"external_id":"`+strings.Repeat("x", 256)+`"`)+"]"), place + ".0.external_id: String should have at most 255 characters"},
		"nearly":          {team(1, "["+member(joan, `,"externalId":"x"`)+"]"), place + ".0.externalId: Input should be named external_id"},
		"second":          {team(1, "["+member(joan, "")+","+member(mavis, `,"name":7`)+"]"), place + ".1.name: Input should be a valid string"},
		"ID twice":        {team(1, "["+member(joan, "")+","+member(joan, "")+"]"), place + ".1.id: Another member has the same value"},
		"external twice":  {team(1, "["+member(joan, `,"external_id":"x"`)+","+member(mavis, `,"external_id":"x"`)+"]"), place + ".1.external_id: Another member has the same value"},
		"ID in two lines": {team(2, "["+member(mavis, "")+","+member(joan, "")+"]") + team(1, "["+member(joan, "")+"]"), "line 2, column 127: members.0.id: another line has the same value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := customers.LoadFile(strings.NewReader(test.data)); err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	// A list may be empty, two teams may use one external ID, and an organization does
	// not know another one's members.
	load(t, strings.NewReader(team(1, "["+member(joan, `,"external_id":"x"`)+"]")+team(2, "["+member(mavis, `,"external_id":"x"`)+"]")+
		team(3, "[]")+team(4, "null")+strings.Replace(team(5, "["+member(joan, "")+"]"), home.String(), abroad.String(), 1)))
}

// A member is asked for by both IDs, or by both external IDs.
func TestHTTPAsksForMembers(t *testing.T) {
	t.Parallel()
	customer := func(externalID string) *customers.Customer {
		c := &customers.Customer{ID: ada, OrganizationID: home}
		if externalID != "" {
			c.ExternalID = &externalID
		}
		return c
	}
	for name, test := range map[string]struct {
		query    customers.Query
		customer *customers.Customer
		path     string // empty: not asked
		err      error
	}{
		"by ID":                     {customers.Query{MemberID: joan, ExternalMemberID: "x"}, customer("a"), "/api/v1/customers/" + ada.String() + "/members/" + joan.String(), customers.ErrMemberNotFound},
		"by ID, no external one":    {customers.Query{MemberID: joan}, customer(""), "/api/v1/customers/" + ada.String() + "/members/" + joan.String(), customers.ErrMemberNotFound},
		"by external ID":            {customers.Query{ExternalMemberID: "b/../c ?#%é"}, customer("a/é"), "/api/v1/customers/external/a%2F%C3%A9/members/b%2F..%2Fc%20%3F%23%25%C3%A9", customers.ErrMemberNotFound},
		"dots":                      {customers.Query{ExternalMemberID: ".."}, customer("a"), "", customers.ErrMemberNotFound},
		"customer without one":      {customers.Query{ExternalMemberID: "b"}, customer(""), "", customers.ErrMemberExternalID},
		"customer's has no segment": {customers.Query{ExternalMemberID: "b"}, customer(".."), "", customers.ErrMemberExternalID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var path, authorization string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				path, authorization = r.RequestURI, r.Header.Get("Authorization")
				http.Error(w, notFound, http.StatusNotFound)
			}))
			h := newHTTP(t, customers.HTTPConfig{BaseURL: server.URL + "/api/", Token: token})
			test.query.OrganizationID = home
			_, err := h.FindMember(t.Context(), test.query, test.customer)
			server.Close() // waits for the handler, which wrote path
			if !errors.Is(err, test.err) || path != test.path || path != "" && authorization != "Bearer "+token {
				t.Errorf("asked for %q with %q, got %v; want %q and %v", path, authorization, err, test.path, test.err)
			}
		})
	}
}

// Only the API's own words mean that a member does not exist.
func TestHTTPMemberAnswers(t *testing.T) {
	t.Parallel()
	member := func(more string) string { return `{"id":"` + joan.String() + `","external_id":"joan",` + more + `}` }
	byID, byExternalID := customers.Query{OrganizationID: home, MemberID: joan}, customers.Query{OrganizationID: home, ExternalMemberID: "joan"}
	for name, test := range map[string]struct {
		query  customers.Query
		status int
		body   string
		err    error
	}{
		"good":                 {byID, http.StatusOK, member(`"email":"a@b","role":"owner","created_at":"x","customer_id":7`), nil},
		"good by external ID":  {byExternalID, http.StatusOK, member(`"email":"a@b"`), nil},
		"not found":            {byID, http.StatusNotFound, notFound, customers.ErrMemberNotFound},
		"about the path":       {byID, http.StatusUnprocessableEntity, `{"detail":[{"loc":["path","member_id"]}]}`, customers.ErrMemberNotFound},
		"deleted":              {byID, http.StatusOK, member(`"email":"a@b","deleted_at":"2026-01-02T03:04:05Z"`), customers.ErrMemberNotFound},
		"unread external ID":   {byExternalID, http.StatusBadRequest, "", customers.ErrMemberNotFound},
		"unread ID":            {byID, http.StatusBadRequest, "", customers.ErrUnavailable},
		"no such path":         {byID, http.StatusNotFound, "404 page not found", customers.ErrUnavailable},
		"forbidden":            {byID, http.StatusForbidden, "", customers.ErrUnavailable},
		"broken":               {byID, http.StatusInternalServerError, "", customers.ErrUnavailable},
		"another member":       {byID, http.StatusOK, `{"id":"` + mavis.String() + `","email":"a@b"}`, customers.ErrUnavailable},
		"another external one": {byExternalID, http.StatusOK, `{"id":"` + mavis.String() + `","external_id":"mavis","email":"a@b"}`, customers.ErrUnavailable},
		"unknown role":         {byID, http.StatusOK, member(`"email":"a@b","role":"admin"`), customers.ErrUnavailable},
		"no e-mail address":    {byID, http.StatusOK, member(`"email":null`), customers.ErrUnavailable},
		"a list":               {byID, http.StatusOK, "[" + member(`"email":"a@b"`) + "]", customers.ErrUnavailable},
		"too long":             {byID, http.StatusOK, member(`"email":"a@b"`) + strings.Repeat(" ", 256<<10), customers.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := behind(t, func(*http.Request) (*http.Response, error) { return answer(test.status, nil, test.body) })
				m, err := h.FindMember(t.Context(), test.query, &customers.Customer{ID: ada, OrganizationID: home, ExternalID: new("ada")})
				if !errors.Is(err, test.err) || (err == nil) != (m != nil && m.ID == joan) {
					t.Errorf("got %v, %v; want the error %v", m, err, test.err)
				}
				if _, ok := errors.AsType[*customers.ValidationError](err); ok {
					t.Errorf("%v would blame the caller", err)
				}
			})
		})
	}
}

// Looking for members has the limits of looking for customers: a server that hangs
// takes bounded time, and is left alone after that.
func TestHTTPMemberTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := behind(t, hanging)
		for range 5 {
			start := time.Now()
			_, err := h.FindMember(t.Context(), customers.Query{OrganizationID: home, MemberID: joan}, &customers.Customer{ID: ada, OrganizationID: home})
			if took := time.Since(start); !errors.Is(err, customers.ErrUnavailable) || took > 3*time.Second {
				t.Errorf("got %v after %v, want ErrUnavailable after 3 s", err, took)
			}
		}
		if took, err := timed(t.Context(), h); took != 0 || err == nil || !strings.Contains(err.Error(), "repeatedly") {
			t.Errorf("a customer: got %v after %v; the server should be left alone", err, took)
		}
	})
}
