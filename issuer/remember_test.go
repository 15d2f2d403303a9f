package issuer_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// appendKey notes in a log that a signing key has been revoked.
func appendKey(t testing.TB, log revocations.Log, id string) {
	t.Helper()
	if _, err := log.Append(t.Context(), revocations.Entry{Scope: revocations.SigningKey, ID: id}); err != nil {
		t.Fatal(err)
	}
}

// The log remembers the version of the manifest and the keys that it revokes, once.
// The feed has the revoked keys from the start, with or without a log.
func TestManifestIsRemembered(t *testing.T) {
	t.Parallel()
	manifest := newManifest(t, jwk.ES256)
	manifest, err := keys.Revoke(manifest, time.Now(), manifest.Keys[0].ID())
	if err != nil {
		t.Fatal(err)
	}
	revoked := manifest.Keys[slices.IndexFunc(manifest.Keys, func(k *keys.Key) bool { return !k.RevokedAt.IsZero() })].ID()
	ring := func(o *fixtureOptions) { o.ring = ringOf(t, manifest, nil) }
	off, _ := newFixture(t, ring).feed(t, "")
	if !slices.Equal(off.RevokedKeys, []string{revoked}) {
		t.Errorf("without a log, the feed has the revoked keys %v, want %s", off.RevokedKeys, revoked)
	}
	log := revocations.NewMemory()
	f := newFixture(t, ring, withLog(log))
	if first, _ := f.feed(t, ""); !slices.Equal(first.RevokedKeys, []string{revoked}) {
		t.Errorf("the feed has the revoked keys %v, want %s", first.RevokedKeys, revoked)
	}
	deadline := time.Now().Add(startLimit)
	for {
		page, err := log.Read(t.Context(), revocations.Position{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) == 2 {
			if r := page.Records; r[0].Scope != revocations.SigningKey || r[0].ID != revoked || r[1].Scope != revocations.Manifest || r[1].ID != "2" {
				t.Errorf("the log has %+v", r)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log has %+v", page.Records)
		}
	}
	f.shutdown()
	if page, err := log.Read(t.Context(), revocations.Position{}); err != nil || page.Position.Seq != 2 {
		t.Errorf("the log has %d entries, want 2: %v", page.Position.Seq, err)
	}
}

// A server that starts from a manifest that would bring a revoked key back does not
// start, and one that runs does not take it.
func TestRevokedKeyStaysRevoked(t *testing.T) {
	t.Parallel()
	manifest := newManifest(t, jwk.ES256)
	o := newFiles(t, manifest)
	o.settings.Revocations, o.settings.RevocationsFile = "file", filepath.Join(t.TempDir(), "revocations.jsonl")
	if err := revocations.InitFile(t.Context(), o.settings.RevocationsFile); err != nil {
		t.Fatal(err)
	}
	o.start(t, nil)
	token := o.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")

	log := revocations.NewFile(o.settings.RevocationsFile)
	defer log.Close()
	appendKey(t, log, manifest.Keys[0].ID())
	deadline := time.Now().Add(startLimit)
	for o.operate(t, http.MethodGet, "/readyz").status != http.StatusServiceUnavailable {
		if time.Now().After(deadline) {
			t.Fatal("the server is ready to sign with a revoked key")
		}
	}
	if a := o.post(t, o.secret, `{"customer_id":"`+customerID+`"}`); a.status != http.StatusServiceUnavailable {
		t.Errorf("creating a session: %d %s", a.status, a.body)
	}
	if a := o.do(t, http.MethodGet, "/.well-known/jwks.json", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("the key set: %d", a.status)
	}
	if a := o.portal(t, "introspect", token); a.status != http.StatusUnauthorized {
		t.Errorf("a token of the key: %d", a.status)
	}
	next := clone(t, manifest)
	next.Version++
	write(t, o.settings.KeysFile, string(next.Encode()))
	o.await(t, reloaded("keys", "refused")+`.*which has been revoked`)

	_, err := issuer.Open(t.Context(), o.settings, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "brings back key "+manifest.Keys[0].ID()) {
		t.Errorf("starting: got %v, want the key named", err)
	}
	good, err := keys.Revoke(manifest, time.Now(), manifest.Keys[0].ID())
	if err != nil {
		t.Fatal(err)
	}
	good.Version = 3
	write(t, o.settings.KeysFile, string(good.Encode()))
	o.await(t, reloaded("keys", "replaced"))
	if a := o.do(t, http.MethodGet, "/.well-known/jwks.json", ""); a.status != http.StatusOK || strings.Contains(string(a.body), manifest.Keys[0].ID()) {
		t.Errorf("the key set of the newest manifest: %d %s", a.status, a.body)
	}
}

// A server that starts while the log is away works with what it has, until it hears
// that its key has been revoked.
func TestRevokedKeyIsHeardLater(t *testing.T) {
	t.Parallel()
	memory := revocations.NewMemory()
	log := &logSwitch{Log: memory, away: true}
	f := newFixture(t, withLog(log))
	key, err := f.ring.SigningKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	appendKey(t, memory, key.Public.ID())
	f.create(t, `{"customer_id":"`+customerID+`"}`)
	log.set(false)
	deadline := time.Now().Add(startLimit)
	for f.post(t, f.secret, `{"customer_id":"`+customerID+`"}`).status != http.StatusServiceUnavailable {
		if time.Now().After(deadline) {
			t.Fatal("the server signs with a revoked key")
		}
	}
	if ready := string(f.operationsGet(t, "/readyz")); !strings.Contains(ready, "has been revoked") {
		t.Errorf("readiness: %s", ready)
	}
}
