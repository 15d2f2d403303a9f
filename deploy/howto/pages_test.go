package howto_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// shell runs a block of a page with settings, and returns what it prints.
func shell(t *testing.T, block string, settings ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), needs.Program(t, "bash", "install bash"), "-euc", block)
	command.Env = append(command.Environ(), settings...)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return string(output)
}

// The app of another origin reads the API, in a real browser, and the token is gone
// from its address. A page of a third origin reads nothing.
func TestSPA(t *testing.T) {
	t.Parallel()
	browser := needs.Program(t, "chromium", "install Debian's chromium")
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)

	var api *httptest.Server
	module := blocks(t, "spa.md")["app.mjs"]
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/app.mjs" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(module))
			return
		}
		fmt.Fprintf(w, `<!doctype html><pre></pre><script type="module">
import { get, signIn } from "/app.mjs";
signIn();
const seen = await get(%q).then((body) => body.customer, (error) => error.message);
document.querySelector("pre").textContent = seen + " " + location.search;
</script>`, api.URL+"/me")
	})
	ours, theirs := httptest.NewServer(app), httptest.NewServer(app)
	t.Cleanup(ours.Close)
	t.Cleanup(theirs.Close)
	api = httptest.NewServer(NewAPI(v, ours.URL, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		_ = json.NewEncoder(w).Encode(map[string]string{"customer": session.CustomerID})
	})))
	t.Cleanup(api.Close)

	good, bad := issuer.Token(verifytest.TokenSpec{}), issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
	for _, tc := range []struct{ name, origin, token, want string }{
		{"the app", ours.URL, good, "<pre>" + verifytest.CustomerID + " ?tab=1</pre>"},
		{"an old link", ours.URL, bad, "<pre>ended ?tab=1</pre>"},
		{"another origin", theirs.URL, good, "<pre>Failed to fetch ?tab=1</pre>"},
	} {
		page := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu",
			"--user-data-dir="+t.TempDir(), "--virtual-time-budget=5000", "--dump-dom",
			tc.origin+"/?tab=1&customer_session_token="+tc.token)
		page.WaitDelay = time.Second
		output, err := page.Output()
		if err != nil || !strings.Contains(string(output), tc.want) {
			t.Errorf("%s: got %s, %v", tc.name, output, err)
		}
	}
}

// Both files are JSON, without a redirect and without a session.
func TestAssociation(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	Associate(mux)
	for path, want := range map[string]string{
		"/.well-known/apple-app-site-association": "customer_session_token",
		"/.well-known/assetlinks.json":            "delegate_permission/common.handle_all_urls",
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" ||
			!json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d, %v, %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

// The app can show whose link it is before it signs in.
func TestMobileUser(t *testing.T) {
	t.Parallel()
	needs.Program(t, "curl", "install curl")
	d := startDev(t)
	ask := blocks(t, "mobile.md")["user.sh"]
	if got := shell(t, ask, "ISSUER="+d.base, "TOKEN="+d.create(t, "user_ada")); !strings.Contains(got, `"name":"Ada Lovelace"`) || !strings.HasSuffix(got, "\n200\n") {
		t.Errorf("got %s", got)
	}
	if got := shell(t, ask, "ISSUER="+d.base, "TOKEN=garbage"); !strings.HasSuffix(got, "\n401\n") {
		t.Errorf("a bad token: got %s", got)
	}
}

// A phone gets the portal over https, with a certificate that Caddy has made.
func TestPhone(t *testing.T) {
	t.Parallel()
	caddy := needs.Program(t, "caddy", "install Debian's caddy")
	curl := needs.Program(t, "curl", "install curl")
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s over %s", r.Host, r.Header.Get("X-Forwarded-Proto"))
	}))
	t.Cleanup(portal.Close)
	port := freePort(t)
	folder := write(t, blocks(t, "development.md", "auto_https", "admin off\n\tauto_https",
		"8443", port, "127.0.0.1:3000", strings.TrimPrefix(portal.URL, "http://")))
	run(t, folder, "env", "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder, "HOME="+folder, caddy, "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	root := filepath.Join(folder, "caddy", "pki", "authorities", "local", "root.crt")
	for _, err := os.Stat(root); err != nil; _, err = os.Stat(root) {
		if t.Context().Err() != nil || t.Failed() {
			t.Fatal("Caddy made no certificate")
		}
		time.Sleep(20 * time.Millisecond) // it is starting
	}
	output, err := exec.CommandContext(t.Context(), curl, "-sS", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "--cacert", root,
		"--resolve", "shop.lan:"+port+":127.0.0.1", "https://shop.lan:"+port+"/portal").CombinedOutput()
	if want := "shop.lan:" + port + " over https"; err != nil || string(output) != want {
		t.Errorf("got %s, %v, want %s", output, err, want)
	}
}

// Each way ends all sessions of the customer, and none of others.
func TestEverywhere(t *testing.T) {
	t.Parallel()
	needs.Program(t, "curl", "install curl")
	d := startDev(t)
	v := newVerifier(t, d)
	page := blocks(t, "everywhere.md")
	handler := v.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(SignOutEverywhere(d.base))
	others := d.create(t, "user_alan")
	for name, end := range map[string]func(token string){
		"portal": func(token string) { shell(t, page["everywhere.sh"], "ISSUER="+d.base, "TOKEN="+token) },
		"shop":   func(string) { shell(t, page["customer.sh"], "ISSUER="+d.base, "API_KEY="+d.apiKey) },
		"Go": func(token string) {
			r := httptest.NewRequest(http.MethodPost, "https://portal.example.com/everywhere", http.NoBody)
			r.Header.Set("Cookie", cookieName+"="+token)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusSeeOther {
				t.Errorf("got %d, %s", w.Code, w.Body)
			}
		},
	} {
		here, elsewhere := d.create(t, "user_ada"), d.create(t, "user_ada")
		end(here)
		if d.accepts(t, here) || d.accepts(t, elsewhere) {
			t.Errorf("%s: a session goes on", name)
		}
	}
	if !d.accepts(t, others) {
		t.Error("a session of another customer has ended")
	}
}
