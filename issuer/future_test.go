package issuer_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
)

// A manifest that was made with the clock a year ahead has dropped every key
// that is good now. It is refused, whatever it says, and the good one stays.
func TestServeRefusesTheFuture(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	p := serve(t, i)
	path := filepath.Join(i.dir, "keys.json")
	good, text := i.manifest(t)
	token := p.public.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")
	future, err := keys.Rotate(good, time.Now().Add(365*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(future.Encode()))
	p.find(t, p.stderr, `"file":"(keys)".*"outcome":"refused".*a clock is wrong`)
	if a := p.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK || !strings.Contains(string(a.body), "a clock is wrong") {
		t.Errorf("readiness: got %d %s, want ready, and a warning", a.status, a.body)
	}
	if a := p.public.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("a token from before: %d %s", a.status, a.body)
	}
	p.public.create(t, `{"customer_id":"`+customerID+`"}`)
	write(t, path, string(text))
	p.find(t, p.stderr, `"file":"(keys)".*"outcome":"restored"`)
}

// A server that starts with a manifest from the future has no other, and takes it.
// It will refuse every later one, so it says so, and so does a check.
func TestServeWarnsOfTheFuture(t *testing.T) {
	t.Parallel()
	const want = `key manifest: .*keys.json: (version 1 was made in the future), at .*: a clock is wrong`
	i := install(t, "https://sessions.example.com")
	m, _ := i.manifest(t)
	m.CreatedAt = m.CreatedAt.Add(time.Hour)
	write(t, filepath.Join(i.dir, "keys.json"), string(m.Encode()))
	check := start(t, i.env, "serve", "--check")
	check.find(t, check.stdout, `warning: `+want)
	p := serve(t, i)
	p.find(t, p.stderr, `"msg":"file needs attention","warning":"`+want)
	if a := p.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK || !strings.Contains(string(a.body), "made in the future") {
		t.Errorf("readiness: got %d %s, want ready, and a warning", a.status, a.body)
	}
}
