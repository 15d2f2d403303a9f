package howto_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// newVerifier returns a verifier of the development server's sessions.
func newVerifier(t *testing.T, d dev) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{Issuer: d.base, Audience: "customer-portal"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestGo(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	portal := httptest.NewServer(NewPortal(newVerifier(t, d)))
	t.Cleanup(portal.Close)
	// Under a name that is not loopback, the cookie has its usual name.
	checkPortal(t, d, portal.URL+"/portal", portal.URL+"/portal", portal.URL+"/sign-out")
}

// A link with a code signs in by the button, once.
func TestCodes(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	key := filepath.Join(write(t, map[string]string{"key": verifytest.APIKey + "\n"}), "key")
	portal := Landing(v, http.NotFoundHandler(), key)
	link := "https://portal.example.com/portal?customer_session_code=" + issuer.Code(verifytest.TokenSpec{})
	visit := func(method, form string) (int, bool) {
		r := httptest.NewRequest(method, link, strings.NewReader(form))
		r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}
		w := httptest.NewRecorder()
		portal.ServeHTTP(w, r)
		_, set := answer{header: w.Result().Header}.cookie()
		return w.Code, set
	}
	const first, second = "redemption=0123456789abcdefghijklmnop", "redemption=qrstuvwxyz0123456789ABCDEF"
	if status, set := visit(http.MethodGet, ""); status != http.StatusOK || set {
		t.Errorf("opening the link: got %d, signed in %t", status, set)
	}
	if status, set := visit(http.MethodPost, first); status != http.StatusSeeOther || !set {
		t.Errorf("pressing the button: got %d, signed in %t", status, set)
	}
	if status, set := visit(http.MethodPost, second); status != http.StatusUnauthorized || set {
		t.Errorf("another browser: got %d, signed in %t", status, set)
	}
}

// The shop makes a new session and the portal takes it over without a question; for
// another customer it asks.
func TestRenew(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	customer := "user_ada"
	shop := OpenPortal(d.base, d.apiKey, func(*http.Request) string { return customer })
	portal := newVerifier(t, d).NewSignIn(verify.SignInConfig{Next: http.NotFoundHandler()})
	visit := func(cookie string) answer {
		w := httptest.NewRecorder()
		shop.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/account/portal", http.NoBody))
		_, query, found := strings.Cut(w.Header().Get("Location"), "?")
		if w.Code != http.StatusSeeOther || !found {
			t.Fatalf("the shop: got %d, %s", w.Code, w.Body)
		}
		r := httptest.NewRequest(http.MethodGet, "https://portal.example.com/portal?"+query, http.NoBody)
		r.Header = http.Header{
			"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"cross-site"},
			"Cookie": {cookieName + "=" + cookie},
		}
		got := httptest.NewRecorder()
		portal.ServeHTTP(got, r)
		return answer{got.Code, got.Header(), got.Body.String()}
	}
	first := d.create(t, customer)
	renewed := visit(first)
	if token, _ := renewed.cookie(); renewed.status != http.StatusSeeOther || token == first || !d.accepts(t, token) {
		t.Errorf("the same customer: got %d, %v", renewed.status, renewed.header)
	}
	customer = "user_alan"
	other := visit(first)
	if _, set := other.cookie(); other.status != http.StatusOK || set {
		t.Errorf("another customer: got %d, %v", other.status, other.header)
	}
}
