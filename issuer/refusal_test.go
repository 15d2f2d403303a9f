package issuer_test

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

const (
	challenge    = `Bearer realm="customersession"`
	unauthorized = `{"error":"Unauthorized","detail":"Unauthorized"}`
	createPath   = "/v1/customer-sessions/"
	portalPath   = "/v1/customer-portal/customer-session/"
	askPath      = "/oauth2/introspect"
	formType     = "application/x-www-form-urlencoded"
)

// checkRefusal fails unless a is a refusal with exactly this body, whatever
// the order of its members, and with the headers that each of them has.
func checkRefusal(t *testing.T, a *answer, status int, body, wantChallenge string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d %s, want %d", a.status, a.body, status)
	}
	if got, want := a.members(t), object(t, []byte(body)); !reflect.DeepEqual(got, want) {
		t.Errorf("the body is %s, want %s", a.body, body)
	}
	for name, want := range map[string]string{
		"WWW-Authenticate": wantChallenge,
		"Content-Type":     "application/json",
		"Cache-Control":    "no-store",
		"Content-Length":   strconv.Itoa(len(a.body)),
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// checkBearer is checkRefusal for the errors of RFC 6750, Section 3.1.
func checkBearer(t *testing.T, a *answer, status int, code, description, parameters string) {
	t.Helper()
	checkRefusal(t, a, status, `{"error":"`+code+`","error_description":"`+description+`"}`,
		challenge+`, error="`+code+`", error_description="`+description+`"`+parameters)
}

func TestCredentialsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.createAny(t).text(t, "token")
	bearer := func(secret string) []string { return []string{"Authorization", "Bearer " + secret} }
	for _, test := range []struct {
		name        string
		headers     []string
		status      int
		description string // empty: 401 without a reason
	}{
		{"none", nil, 401, ""},
		{"another scheme", []string{"Authorization", "Basic " + f.secret}, 401, ""},
		{"scheme that only begins alike", []string{"Authorization", "BearerX " + f.secret}, 401, ""},
		{"in a cookie", []string{"Cookie", "token=" + f.secret}, 401, ""},
		{"under another name", []string{"X-Api-Key", f.secret}, 401, ""},
		{"customer's token", bearer(token), 401, ""},
		{"garbage", bearer("garbage"), 401, "The API key is unknown"},
		{"unknown key", bearer(organizations.GenerateSecret().Reveal()), 401, "The API key is unknown"},
		{"key with one character more", bearer(f.secret + "0"), 401, "The API key is unknown"},
		{"key in upper case", bearer(strings.ToUpper(f.secret)), 401, "The API key is unknown"},
		{"expired key", bearer(f.expired), 401, "The API key has expired"},
		{"nothing after the scheme", []string{"Authorization", "Bearer"}, 400, "The Authorization header cannot be read"},
		{"text after the key", bearer(f.secret + " x"), 400, "The Authorization header cannot be read"},
		{"two keys in one header", bearer(f.secret + ", Bearer " + f.secret), 400, "The Authorization header cannot be read"},
		{"two headers", append(bearer(f.secret), bearer(f.secret)...), 400, "The Authorization header cannot be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for path, body := range map[string]string{createPath: `{"customer_id":"` + customerID + `"}`, askPath: "token=" + token} {
				headers := test.headers
				if path == askPath {
					headers = append([]string{"Content-Type", formType}, headers...)
				}
				a := f.do(t, http.MethodPost, path, body, headers...)
				switch {
				case test.description == "":
					checkRefusal(t, a, test.status, unauthorized, challenge)
				case test.status == http.StatusBadRequest:
					checkBearer(t, a, test.status, "invalid_request", test.description, "")
				default:
					checkBearer(t, a, test.status, "invalid_token", test.description, "")
				}
			}
		})
	}
}

// Whoever forgets the scheme finds that in the challenge. The body is the one
// that clients know.
func TestSchemeMissing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.createAny(t).text(t, "token")
	for _, test := range []struct{ method, path, credentials string }{
		{http.MethodPost, createPath, f.secret},
		{http.MethodPost, createPath, token},
		{http.MethodPost, askPath, f.secret},
		{http.MethodGet, portalPath + "introspect", token},
		{http.MethodGet, portalPath + "user", token},
	} {
		checkRefusal(t, f.do(t, test.method, test.path, "", "Authorization", test.credentials), http.StatusUnauthorized, unauthorized,
			challenge+`, error="invalid_request", error_description="Write Bearer and a space before the key or token"`)
	}
}

func TestScopeMissing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const description = "The API key needs the scope "
	a := f.post(t, f.introspectOnly, `{"customer_id":"`+customerID+`"}`)
	checkBearer(t, a, http.StatusForbidden, "insufficient_scope", description+"customer_sessions:write", `, scope="customer_sessions:write"`)
	a = f.ask(t, f.writeOnly, "token=x")
	checkBearer(t, a, http.StatusForbidden, "insufficient_scope", description+"customer_sessions:introspect", `, scope="customer_sessions:introspect"`)
	if a := f.post(t, f.writeOnly, `{"customer_id":"`+customerID+`"}`); a.status != http.StatusCreated {
		t.Errorf("with the one scope it takes: got %d %s, want 201", a.status, a.body)
	}
}

// Who may not ask learns nothing of what is asked: not even that it is wrong.
func TestCredentialsComeFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, body := range []string{`{"customer_id":"` + unknownID + `"}`, "{", ""} {
		a := f.do(t, http.MethodPost, createPath, body, "Content-Type", "text/plain")
		checkRefusal(t, a, http.StatusUnauthorized, unauthorized, challenge)
		if a := f.post(t, f.introspectOnly, body); a.status != http.StatusForbidden {
			t.Errorf("without the scope: got %d %s, want 403", a.status, a.body)
		}
	}
}

func TestUnknownCustomer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct{ name, member, value, loc string }{
		{"unknown ID", "customer_id", unknownID, "customer_id"},
		{"deleted", "customer_id", deletedID, "customer_id"},
		{"another organization's", "customer_id", foreignID, "customer_id"},
		{"unknown external ID", "external_customer_id", "user/<nobody>", "external_customer_id"},
		{"unknown external ID, older name", "customer_external_id", "user_grace", "external_customer_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.post(t, f.secret, `{"`+test.member+`":"`+test.value+`"}`)
			checkRefusal(t, a, http.StatusUnprocessableEntity, `{"error":"PolarRequestValidationError","detail":[{"type":"value_error",
				"loc":["body","`+test.loc+`"],"msg":"Customer does not exist.","input":"`+test.value+`"}]}`, "")
		})
	}
}

func TestNobodyNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	checkRefusal(t, f.post(t, f.secret, `{}`), http.StatusUnprocessableEntity, `{"error":"RequestValidationError","detail":[
		{"type":"missing","loc":["body","CustomerSessionCustomerIDCreate","customer_id"],"msg":"Field required"},
		{"type":"missing","loc":["body","CustomerSessionCustomerExternalIDCreate","external_customer_id"],"msg":"Field required"}]}`, "")
}

func TestUnknownPath(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{
		"/v1", "/v1/customer-session/x", "/v1/customer-session/", "/V1/customer-sessions/", "/v1/customer-portal/../",
		"/v1/customer%2Dsessions/x", "/v1/customers/" + customerID, "/.well-known/jwks", "/docs/nothing", "/docs/../livez", "/metrics", "/livez", "/readyz",
	} {
		methods := []string{http.MethodGet, http.MethodPost}
		if strings.HasPrefix(path, "/docs/") {
			methods = methods[:1] // below /docs, known or not, a POST is 405
		}
		for _, method := range methods {
			t.Run(method+" "+path, func(t *testing.T) {
				t.Parallel()
				checkRefusal(t, f.do(t, method, path, "", "Authorization", "Bearer "+f.secret),
					http.StatusNotFound, `{"detail":"Not Found"}`, "")
			})
		}
	}
}

func TestWrongMethod(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const readable, portal = "GET, HEAD", "OPTIONS, GET, HEAD"
	for _, test := range []struct{ method, path, allow string }{
		{http.MethodGet, createPath, http.MethodPost},
		{http.MethodPut, createPath, http.MethodPost},
		{http.MethodPatch, strings.TrimSuffix(createPath, "/"), http.MethodPost},
		{http.MethodDelete, "/" + createPath, http.MethodPost},
		{http.MethodOptions, createPath, http.MethodPost},
		{"BREW", createPath, http.MethodPost},
		{http.MethodGet, askPath, http.MethodPost},
		{http.MethodPost, portalPath + "introspect", portal},
		{http.MethodPost, portalPath + "user", portal},
		{http.MethodPost, "/.well-known/jwks.json", readable},
		{http.MethodOptions, "/.well-known/jwks.json", readable},
		{http.MethodDelete, "/.well-known/openid-configuration", readable},
		{http.MethodPut, "/.well-known/oauth-authorization-server", readable},
		{http.MethodPost, "/", readable},
		{http.MethodPost, "/openapi.json", readable},
		{http.MethodPost, "/docs", readable},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, test.method, test.path, "", "Authorization", "Bearer "+f.secret)
			checkRefusal(t, a, http.StatusMethodNotAllowed, `{"detail":"Method Not Allowed"}`, "")
			if got := a.header.Get("Allow"); got != test.allow {
				t.Errorf("Allow is %q, want %q", got, test.allow)
			}
		})
	}
}

// HEAD has what GET has, but for the body.
func TestHEADOfWhatIsPosted(t *testing.T) {
	t.Parallel()
	a := newFixture(t).do(t, http.MethodHead, createPath, "")
	if a.status != http.StatusMethodNotAllowed || len(a.body) != 0 {
		t.Errorf("got %d with %d bytes, want 405 with none", a.status, len(a.body))
	}
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, contentType := range []string{
		"text/plain", "text/json", formType, "multipart/form-data; boundary=x", "application/xml", "application/jsonx",
		"application/merge-patch+json", "application/json; =", "application", "*/*", "json",
	} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`,
				"Authorization", "Bearer "+f.secret, "Content-Type", contentType)
			checkRefusal(t, a, http.StatusUnsupportedMediaType, `{"error":"UnsupportedMediaType","detail":"Send application/json"}`, "")
		})
	}
}

// A body is read as it is: what is compressed is not taken for broken JSON.
func TestContentEncoding(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, coding := range []string{"gzip", "br", "deflate", "zstd", "gzip, identity", "x"} {
		for path, body := range map[string]string{createPath: `{"customer_id":"` + customerID + `"}`, askPath: "token=x"} {
			contentType := "application/json"
			if path == askPath {
				contentType = formType
			}
			a := f.do(t, http.MethodPost, path, body, "Authorization", "Bearer "+f.secret, "Content-Type", contentType, "Content-Encoding", coding)
			checkRefusal(t, a, http.StatusUnsupportedMediaType,
				`{"error":"UnsupportedMediaType","detail":"Send the body as it is, without Content-Encoding"}`, "")
			if got := a.header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("Accept-Encoding is %q, want identity", got)
			}
		}
	}
	a := f.do(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`,
		"Authorization", "Bearer "+f.secret, "Content-Encoding", "identity")
	if a.status != http.StatusCreated {
		t.Errorf("identity: got %d %s, want 201", a.status, a.body)
	}
}

func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, mark := range map[string]string{"UTF-8": "\xef\xbb\xbf", "UTF-16BE": "\xfe\xff", "UTF-16LE": "\xff\xfe"} {
		a := f.post(t, f.secret, mark+`{"customer_id":"`+customerID+`"}`)
		if a.status != http.StatusUnprocessableEntity || problems(t, a) != ": json_invalid body.0" ||
			!strings.Contains(string(a.body), "JSON decode error: body begins with a byte order mark; send UTF-8 without one") {
			t.Errorf("%s: got %d %s, want a 422 that names the mark", name, a.status, a.body)
		}
	}
}
