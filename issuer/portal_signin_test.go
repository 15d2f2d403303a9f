package issuer_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/verify"
)

// A portal of package verify signs in with the codes of a real server: once, by its
// form, and never after the session was ended. Two replicas of the portal that
// redeem one code at the same instant sign one browser in.
func TestPortalSignsInByCode(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withCodes())
	v, err := verify.New(verify.Config{Issuer: f.base, Audience: issuer.DefaultAudience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(f.exchangeOnly+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	portal := v.NewSignIn(verify.SignInConfig{Next: http.NotFoundHandler(), Exchange: verify.Exchange{APIKeyFile: keyFile}})
	visit := func(method, link string, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, link, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
		w := httptest.NewRecorder()
		portal.ServeHTTP(w, r)
		return w
	}
	hidden := regexp.MustCompile(`name="redemption" value="([^"]+)"`)
	open := func(link string) url.Values {
		page := visit(http.MethodGet, link, nil)
		found := hidden.FindStringSubmatch(page.Body.String())
		if page.Code != http.StatusOK || found == nil {
			t.Fatalf("got %d %s", page.Code, page.Body)
		}
		return url.Values{"redemption": {found[1]}}
	}

	created := f.create(t, `{"customer_id":"`+customerID+`"}`)
	link := created.text(t, "customer_portal_url")
	forms := []url.Values{open(link), open(link)}
	got := make([]*httptest.ResponseRecorder, len(forms))
	var group sync.WaitGroup
	for i, form := range forms {
		group.Go(func() { got[i] = visit(http.MethodPost, link, form) })
	}
	group.Wait()
	if got[0].Code != http.StatusSeeOther {
		got[0], got[1], forms[0] = got[1], got[0], forms[1]
	}
	if got[0].Code != http.StatusSeeOther || got[1].Code != http.StatusUnauthorized || !strings.Contains(got[1].Body.String(), "already been used") {
		t.Fatalf("got %d, and %d %s", got[0].Code, got[1].Code, got[1].Body)
	}
	cookies := (&http.Response{Header: got[0].Header()}).Cookies()
	session, err := v.Verify(t.Context(), cookies[0].Value)
	if err != nil || session.ID != created.text(t, "id") || session.CustomerID != customerID {
		t.Errorf("got %+v, %v", session, err)
	}
	if again := visit(http.MethodPost, link, forms[0]); again.Code != http.StatusSeeOther {
		t.Errorf("the same form again: got %d %s", again.Code, again.Body)
	}

	ended := f.create(t, `{"customer_id":"`+customerID+`"}`)
	link = ended.text(t, "customer_portal_url")
	form := open(link)
	f.do(t, http.MethodDelete, "/v1/customer-sessions/"+ended.text(t, "id"), "", "Authorization", "Bearer "+f.secret)
	if page := visit(http.MethodPost, link, form); page.Code != http.StatusUnauthorized || !strings.Contains(page.Body.String(), "session has ended") {
		t.Errorf("after the session was ended: got %d %s", page.Code, page.Body)
	}
}
