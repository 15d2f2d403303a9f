package issuer_test

import (
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

func TestMetadata(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) {
		manifest, second := newManifest(t, jwk.EdDSA), newManifest(t, jwk.ES256)
		manifest.Keys = append(manifest.Keys, second.Keys[1])
		o.ring = ringOf(t, manifest, nil)
	})
	common := `"issuer":"` + f.base + `","jwks_uri":"` + f.base + `/.well-known/jwks.json","response_types_supported":["id_token"],
		"introspection_endpoint":"` + f.base + `/oauth2/introspect","introspection_endpoint_auth_methods_supported":["Bearer"],
		"service_documentation":"` + f.base + `/docs"`
	for path, want := range map[string]string{
		"/.well-known/openid-configuration": `{` + common + `,"subject_types_supported":["public"],
			"id_token_signing_alg_values_supported":["EdDSA","ES256"],
			"claims_supported":["iss","aud","sub","sid","org","iat","exp","client_id","member_id","role","return_url","scope"]}`,
		"/.well-known/oauth-authorization-server": `{` + common + `,
			"scopes_supported":["customer_portal:write","customer_sessions:exchange","customer_sessions:introspect","customer_sessions:revoke","customer_sessions:write"],
			"revocation_endpoint":"` + f.base + `/oauth2/revoke","revocation_endpoint_auth_methods_supported":["Bearer"]}`,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, http.MethodGet, path, "")
			if got, want := object(t, a.body), object(t, []byte(want)); a.status != http.StatusOK || !reflect.DeepEqual(got, want) {
				t.Errorf("got %d\n%v\nwant 200\n%v", a.status, got, want)
			}
			checkCached(t, a)
			checkHEAD(t, f, path, a)
		})
	}
}

// checkCached fails unless everybody may read the answer and keep it as long
// as the keys, and no longer than the policy says.
func checkCached(t *testing.T, a *answer) {
	t.Helper()
	if got := a.header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("Access-Control-Allow-Origin is %q, want *", got)
	}
	control := a.header.Get("Cache-Control")
	match := regexp.MustCompile(`^public, max-age=([0-9]+), must-revalidate$`).FindStringSubmatch(control)
	if match == nil {
		t.Fatalf("Cache-Control is %q", control)
	}
	seconds, err := strconv.Atoi(match[1])
	if longest := keys.DefaultPolicy().Cache; err != nil || seconds < 1 || time.Duration(seconds)*time.Second > longest {
		t.Errorf("max-age is %s, want 1 to %.0f", match[1], longest.Seconds())
	}
}

// checkHEAD fails unless HEAD is answered like GET, but for the body.
func checkHEAD(t *testing.T, f *fixture, path string, get *answer) {
	t.Helper()
	head := f.do(t, http.MethodHead, path, "")
	if head.status != get.status || len(head.body) != 0 {
		t.Errorf("HEAD: got %d and %d bytes, want %d and none", head.status, len(head.body), get.status)
	}
	for _, name := range []string{"Content-Type", "ETag", "Access-Control-Allow-Origin"} {
		if got, want := head.header.Get(name), get.header.Get(name); got != want {
			t.Errorf("HEAD: %s is %q, want %q", name, got, want)
		}
	}
	if got := head.header.Get("Content-Length"); got != "" && got != strconv.Itoa(len(get.body)) {
		t.Errorf("HEAD: Content-Length is %q, want %d", got, len(get.body))
	}
}

func TestJWKSet(t *testing.T) {
	t.Parallel()
	public := map[jwk.Algorithm][]string{
		jwk.ES256: {"alg", "crv", "kid", "kty", "use", "x", "y"},
		jwk.EdDSA: {"alg", "crv", "kid", "kty", "use", "x"},
		jwk.RS256: {"alg", "e", "kid", "kty", "n", "use"},
	}
	for algorithm, want := range public {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) { o.ring = ringOf(t, newManifest(t, algorithm), nil) })
			a := f.do(t, http.MethodGet, "/.well-known/jwks.json", "")
			if got := a.header.Get("Content-Type"); a.status != http.StatusOK || got != "application/jwk-set+json" {
				t.Fatalf("got %d and the type %q", a.status, got)
			}
			set := a.members(t)
			published, _ := set["keys"].([]any)
			if len(set) != 1 || len(published) != 2 {
				t.Fatalf("the set is %s, want the current key and the next one", a.body)
			}
			for _, key := range published {
				if got := names(key.(map[string]any)); !slices.Equal(got, want) {
					t.Errorf("a key has the members %q, want %q", got, want)
				}
			}
			checkCached(t, a)
			checkHEAD(t, f, "/.well-known/jwks.json", a)
		})
	}
}

func TestJWKSetNotModified(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const path = "/.well-known/jwks.json"
	tag := f.do(t, http.MethodGet, path, "").header.Get("ETag")
	if len(tag) < 3 || tag[0] != '"' {
		t.Fatalf("ETag is %q, want a strong one", tag)
	}
	for _, test := range []struct {
		name, method, tags string
		status             int
	}{
		{"same", http.MethodGet, tag, http.StatusNotModified},
		{"same, HEAD", http.MethodHead, tag, http.StatusNotModified},
		{"weak", http.MethodGet, "W/" + tag, http.StatusNotModified},
		{"in a list", http.MethodGet, `"a", ` + tag, http.StatusNotModified},
		{"any", http.MethodGet, "*", http.StatusNotModified},
		{"another", http.MethodGet, `"a"`, http.StatusOK},
		{"without quotes", http.MethodGet, strings.Trim(tag, `"`), http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, test.method, path, "", "If-None-Match", test.tags)
			if a.status != test.status || a.status == http.StatusNotModified && len(a.body) != 0 {
				t.Errorf("got %d with %d bytes, want %d", a.status, len(a.body), test.status)
			}
			if got := a.header.Get("ETag"); got != tag {
				t.Errorf("ETag is %q, want %q", got, tag)
			}
			checkCached(t, a)
		})
	}
	if another := newFixture(t).do(t, http.MethodGet, path, "").header.Get("ETag"); another == tag {
		t.Error("other keys have the same ETag")
	}
}

func TestOpenAPIServed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	a := f.do(t, http.MethodGet, "/openapi.json", "")
	if a.status != http.StatusOK || string(a.body) != string(want) {
		t.Errorf("got %d and %d bytes, want the file, %d bytes", a.status, len(a.body), len(want))
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q, want application/json", got)
	}
	checkHEAD(t, f, "/openapi.json", a)
}

// The page has what it needs, from here, and is allowed no more than that.
func TestDocs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	page := f.do(t, http.MethodGet, "/docs", "")
	if got := page.header.Get("Content-Type"); page.status != http.StatusOK || !strings.HasPrefix(got, "text/html") {
		t.Fatalf("got %d and the type %q, want a page", page.status, got)
	}
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("Content-Security-Policy is %q, want %s in it", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || regexp.MustCompile(`(?i)<script>|<style|style=|\son[a-z]+=`).Match(page.body) {
		t.Errorf("the page %s has parts inline, with the policy %q", page.body, policy)
	}
	checkHEAD(t, f, "/docs", page)
}

// The page is the same with a slash at its end, and below a path that a gateway
// removes: its links are relative.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const below = "/sessions"
	types := map[string]string{".css": "text/css", ".js": "/javascript", ".png": "image/png"}
	for _, address := range []string{"/docs", "/docs/"} {
		page := roundTrip(t, f.request(t, http.MethodGet, address, ""))
		if page.status != http.StatusOK || page.header.Get("Content-Security-Policy") == "" {
			t.Fatalf("%s: got %d %v, want the page", address, page.status, page.header)
		}
		links := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllSubmatch(page.body, -1)
		if len(links) < 5 {
			t.Fatalf("%s has %d links, want its styles, its scripts and its icon", address, len(links))
		}
		for _, link := range links {
			u, err := (&url.URL{Path: below + address}).Parse(string(link[1]))
			if err != nil {
				t.Fatal(err)
			}
			path, ok := strings.CutPrefix(u.String(), below)
			if !ok || !strings.HasPrefix(path, "/docs/") {
				t.Errorf("%s loads %s, which is not its own", address, u)
				continue
			}
			a := roundTrip(t, f.request(t, http.MethodGet, path, ""))
			want := types[path[strings.LastIndexByte(path, '.'):]]
			if got := a.header.Get("Content-Type"); a.status != http.StatusOK || !strings.Contains(got, want) || len(a.body) == 0 {
				t.Errorf("%s: got %d, %d bytes of type %q, want %s", path, a.status, len(a.body), got, want)
			}
			if got := a.header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("%s: X-Content-Type-Options is %q, want nosniff", path, got)
			}
		}
	}
	// The calls are below the same path as the document.
	servers := newContract(t).document.Servers
	if len(servers) != 1 || servers[0].URL != "./" {
		t.Errorf("the servers are %v, want the folder of the document", servers)
	}
}

// The first page leads to the others, wherever the issuer is.
func TestHome(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) {
		o.change = func(c *issuer.Config) { c.Issuer += "/sessions" }
	})
	page := f.do(t, http.MethodGet, "/", "")
	if got := page.header.Get("Content-Type"); page.status != http.StatusOK || !strings.HasPrefix(got, "text/html") {
		t.Fatalf("got %d and the type %q, want a page", page.status, got)
	}
	for _, path := range []string{"/docs", "/openapi.json", "/.well-known/jwks.json", "/.well-known/openid-configuration"} {
		if !strings.Contains(string(page.body), `href="`+f.base+"/sessions"+path+`"`) {
			t.Errorf("the page %s has no link to %s below the issuer's URL", page.body, path)
		}
		if a := f.do(t, http.MethodGet, path, ""); a.status != http.StatusOK {
			t.Errorf("%s: got %d, want 200", path, a.status)
		}
	}
	policy := page.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy is %q, want it to allow the style alone", policy)
	}
	checkHEAD(t, f, "/", page)
}

// Without gzip the parts of the page are served as well.
func TestDocsUncompressed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, encoding := range []string{"identity", "gzip"} {
		a := roundTrip(t, f.request(t, http.MethodGet, "/docs/swagger-ui.css", "", "Accept-Encoding", encoding))
		isZipped := strings.HasPrefix(string(a.body), "\x1f\x8b")
		if a.status != http.StatusOK || isZipped != (a.header.Get("Content-Encoding") == "gzip") || encoding == "identity" && isZipped {
			t.Errorf("%s: got %d, zipped: %v, Content-Encoding %q", encoding, a.status, isZipped, a.header.Get("Content-Encoding"))
		}
	}
}
