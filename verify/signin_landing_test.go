package verify_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

const (
	landingURL     = "https://portal.example.com/portal"
	loopbackCookie = "customer_session"
	otherCustomer  = "00000000-0000-4000-8000-000000000001"
)

// A landing is the landing route of a portal, with an issuer behind it that a test
// can keep from answering.
type landing struct {
	*consumer

	door    *doorman
	handler http.Handler
	keyFile string
}

// newLanding returns a landing route whose other page says "hello".
func newLanding(t *testing.T, change func(*verify.SignInConfig)) *landing {
	t.Helper()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	l := &landing{door: &doorman{issuer: issuer.Client().Transport}, keyFile: filepath.Join(t.TempDir(), "key")}
	l.consumer = newConsumer(t, issuer, func(config *verify.Config) { config.HTTPClient = &http.Client{Transport: l.door} })
	l.writeKey(t, verifytest.APIKey)
	config := verify.SignInConfig{
		Next:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }),
		Exchange: verify.Exchange{APIKeyFile: l.keyFile},
	}
	if change != nil {
		change(&config)
	}
	l.handler = l.NewSignIn(config)
	return l
}

// writeKey writes the file with the API key.
func (l *landing) writeKey(t *testing.T, key string) {
	t.Helper()
	if err := os.WriteFile(l.keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A landed is what a browser gets.
type landed struct {
	status int
	header http.Header
	body   string
	cookie *http.Cookie // of the session, nil if the answer has none
}

// removes reports whether the answer takes the cookie away.
func (l *landed) removes() bool { return l.cookie != nil && l.cookie.MaxAge < 0 }

// signsIn reports whether the answer signs in.
func (l *landed) signsIn() bool { return l.cookie != nil && l.cookie.Value != "" }

// request sends a request to an address.
func (l *landing) request(method, address, form string, headers ...string) *landed {
	r := httptest.NewRequest(method, address, strings.NewReader(form))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, r)
	got := &landed{status: w.Code, header: w.Header(), body: w.Body.String()}
	answer := http.Response{Header: w.Header()}
	for _, c := range answer.Cookies() {
		if c.Name == cookieName || c.Name == loopbackCookie {
			got.cookie = c
		}
	}
	return got
}

// open opens a link as a person does.
func (l *landing) open(query string, headers ...string) *landed {
	return l.request(http.MethodGet, landingURL+"?"+query, "", append(headers, asPage...)...)
}

// press presses the button of a page, with the hidden fields that it has.
func (l *landing) press(t *testing.T, query string, page *landed, headers ...string) *landed {
	t.Helper()
	if !strings.Contains(page.body, "<button>") {
		t.Fatalf("no button on the page: %s", page.body)
	}
	if len(headers) == 0 {
		headers = []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	}
	return l.request(http.MethodPost, landingURL+"?"+query, fieldsOf(page).Encode(), headers...)
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// fieldsOf returns the hidden fields of a page.
func fieldsOf(page *landed) url.Values {
	fields := url.Values{}
	for _, found := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		fields.Set(found[1], found[2])
	}
	return fields
}

var pageTitle = regexp.MustCompile(`<h1>([^<]*)</h1>`)

// title returns the heading of a page.
func (l *landed) title() string {
	if found := pageTitle.FindStringSubmatch(l.body); found != nil {
		return found[1]
	}
	return ""
}

// check compares status, heading and whether the answer signs in.
func (l *landed) check(t *testing.T, when string, status int, title string) {
	t.Helper()
	if l.status != status || l.title() != title || l.signsIn() != (status == http.StatusSeeOther) {
		t.Errorf("%s: got %d %q, cookie %v; want %d %q", when, l.status, l.title(), l.cookie, status, title)
	}
}

// The headings of the pages.
const (
	titleConfirm     = "Sign in to your account"
	titleSwitch      = "Switch to another account?"
	titleExpired     = "This link has expired"
	titleUsed        = "This link has already been used"
	titleEnded       = "This session has ended"
	titleInvalid     = "This link does not work"
	titleUnavailable = "Please try again"
	titleSent        = "A new link is on its way"
	titleNoRecovery  = "We cannot send you a new link"
	titleWait        = "Please wait"
	titleNotAsPage   = "Open this link in its own tab"
	titleCrossOrigin = "Open the link again"
	titlePlainHTTP   = "Sign-in needs a secure connection"
	titleCookieSize  = "Your browser cannot stay signed in"
)

// newID returns a random UUID.
func newID(t *testing.T) string {
	t.Helper()
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
