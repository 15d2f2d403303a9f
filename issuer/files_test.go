package issuer_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// An opened server is one that lives on files, in this process.
type opened struct {
	*fixture
	settings      issuer.Settings
	manifest      *keys.Manifest
	organizations string
	log           *transcript
}

// newFiles writes the files of a server and the settings that name them.
func newFiles(t testing.TB, manifest *keys.Manifest) *opened {
	t.Helper()
	path := func(name string) string { return filepath.Join(t.TempDir(), name) }
	o := &opened{fixture: &fixture{logs: &logs{}}, manifest: manifest, log: newTranscript()}
	o.organizations = o.newOrganizations(t)
	o.settings = issuer.Settings{
		Issuer: "https://sessions.example.com", Audience: issuer.DefaultAudience,
		KeysFile: path("keys.json"), OrganizationsFile: path("organizations.json"),
		Customers: "file", CustomersFile: path("customers.jsonl"),
		SessionLifetime: time.Hour, MaxSessionLifetime: 24 * time.Hour,
	}
	write(t, o.settings.KeysFile, string(manifest.Encode()))
	write(t, o.settings.OrganizationsFile, o.organizations)
	write(t, o.settings.CustomersFile, customerLines)
	return o
}

// open makes the server.
func (o *opened) open(t testing.TB, signers keys.OpenSigner) *issuer.Server {
	t.Helper()
	logger := slog.New(slog.NewJSONHandler(io.MultiWriter(o.log, o.logs), nil))
	p, err := issuer.Open(t.Context(), o.settings, signers, logger)
	if err != nil {
		t.Fatal(err)
	}
	o.server, o.ring = p, ringOf(t, o.manifest, signers)
	return p
}

// start makes the server and runs it to the end of the test.
func (o *opened) start(t testing.TB, signers keys.OpenSigner) {
	t.Helper()
	p, public, operations := o.open(t, signers), listen(t), listen(t)
	o.base, o.operations = "http://"+public.Addr().String(), "http://"+operations.Addr().String()
	o.run(t, p.Run, issuer.RunConfig{Public: public, Operations: operations})
}

// await waits until the log has a line with the pattern, and returns it.
func (o *opened) await(t testing.TB, pattern string) string {
	t.Helper()
	expression := regexp.MustCompile(`.*` + pattern + `.*`)
	timeout := time.After(startLimit)
	for {
		match, more := o.log.match(expression)
		if match != nil {
			return match[0]
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("the log has no %q:\n%s", pattern, o.log)
		}
	}
}

// reloaded is what the log says of a file.
func reloaded(file, outcome string) string {
	verb := map[string]string{"replaced": "reloaded"}[outcome]
	return `"msg":"file ` + cmp.Or(verb, outcome) + `","file":"` + file + `".*"outcome":"` + outcome + `"`
}

// refused returns the metric of that name.
func (o *opened) refused(t testing.TB, file string) string {
	t.Helper()
	metrics := o.operate(t, http.MethodGet, "/metrics").body
	return samples(t, metrics, "customersession_file_refused")[`{file="`+file+`"}`]
}

// A file that cannot be used is told of wherever somebody may look, with all
// that is wrong and no secret, and the good version stays in use. When the file
// is good again, so is everything else.
func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	manifest := newManifest(t, jwk.ES256)
	unsafe := clone(t, manifest)
	unsafe.Keys = unsafe.Keys[1:]
	for _, test := range []struct {
		name, file, title, inUse string
		path                     func(*issuer.Settings) string
		bad                      func(good string) string
		want                     []string
	}{
		{
			"unsafe keys", "keys", "key manifest", "; version 1 stays in use",
			func(s *issuer.Settings) string { return s.KeysFile },
			func(string) string { return string(unsafe.Encode()) },
			[]string{"version: version 1 cannot follow version 1", "dropped: key", "signing: no key may sign"},
		},
		{
			"broken keys", "keys", "key manifest", "; version 1 stays in use",
			func(s *issuer.Settings) string { return s.KeysFile },
			// One key has the private part of the other.
			func(good string) string {
				parts := privatePart.FindAllStringSubmatch(good, 2)
				return strings.Replace(good, parts[0][1], parts[1][1], 1)
			},
			[]string{"private key does not belong to the public one"},
		},
		{
			"organizations", "organizations", "organizations", " stays in use",
			func(s *issuer.Settings) string { return s.OrganizationsFile },
			func(good string) string { return strings.Replace(good, "https://portal", "http://portal", 2) },
			[]string{"organizations[0].portal_url", "organizations[1].portal_url"},
		},
		{
			"an API key taken away, and its comma left", "organizations", "organizations", " stays in use",
			func(s *issuer.Settings) string { return s.OrganizationsFile },
			func(good string) string {
				from, to := strings.Index(good, ",{\n  \"name\": \"write\""), strings.Index(good, "]},")
				return good[:from] + ",\n" + good[to:]
			},
			[]string{"organizations: line ", "column 1: not valid JSON: there is a trailing comma before this bracket; remove it"},
		},
		{
			"recovery without its secret", "organizations", "organizations", " stays in use",
			func(s *issuer.Settings) string { return s.OrganizationsFile },
			func(good string) string {
				return strings.Replace(good, `"slug"`, `"recovery":{"webhook_url":"https://shop.example.com/","secret_file":"/nowhere/secret"},"slug"`, 1)
			},
			[]string{"recovery.secret_file: ", "/nowhere/secret: no such file or directory"},
		},
		{
			"customers", "customers", "customers", " stays in use",
			func(s *issuer.Settings) string { return s.CustomersFile },
			func(good string) string { return "ada\n" + good + "alan\n" },
			[]string{"line 1, column 1: ", "line 10, column 1: "},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := newFiles(t, manifest)
			o.start(t, nil)
			if got := o.refused(t, test.file); got != "0" {
				t.Errorf("at first file_refused is %q, want 0", got)
			}
			path := test.path(&o.settings)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, test.bad(string(good)))
			line := o.await(t, reloaded(test.file, "refused"))
			ready := o.operate(t, http.MethodGet, "/readyz")
			warnings := ready.texts(t, "warnings")
			if ready.status != http.StatusOK || ready.text(t, "status") != "ok" || len(warnings) != 1 {
				t.Fatalf("/readyz: got %d %s, want 200 with one warning", ready.status, ready.body)
			}
			if text := warnings[0]; !strings.HasPrefix(text, test.title+": the file as it is now is refused: ") || !strings.HasSuffix(text, test.inUse) {
				t.Errorf("the warning is %q", text)
			}
			for _, want := range test.want {
				if !strings.Contains(warnings[0], want) || !strings.Contains(line, want) {
					t.Errorf("there is no %q in the warning %q or the line %s", want, warnings[0], line)
				}
			}
			o.checkSecrets(t, "what is told of the file", line+string(ready.body))
			if strings.Contains(line+string(ready.body), "ada@example.com") {
				t.Errorf("a customer is told of: %s", line)
			}
			if got := o.refused(t, test.file); got != "1" {
				t.Errorf("file_refused is %q, want 1", got)
			}
			o.createAny(t)

			write(t, path, string(good))
			o.await(t, reloaded(test.file, "restored"))
			if a := o.operate(t, http.MethodGet, "/readyz"); string(a.body) != `{"status":"ok"}`+"\n" {
				t.Errorf("afterwards: got %s, want no warning", a.body)
			}
			if got := o.refused(t, test.file); got != "0" {
				t.Errorf("afterwards file_refused is %q, want 0", got)
			}
		})
	}
}

// Who cannot sign any more says that, and why no newer manifest helps.
func TestUnreadyWithARefusedFile(t *testing.T) {
	t.Parallel()
	// Half a day after the last lease of 37 days.
	manifest, err := keys.Init(keys.DefaultPolicy(), time.Now().Add(-37*24*time.Hour-12*time.Hour), true)
	if err != nil {
		t.Fatal(err)
	}
	o := newFiles(t, manifest)
	o.start(t, nil)
	if err := os.Remove(o.settings.KeysFile); err != nil {
		t.Fatal(err)
	}
	o.await(t, reloaded("keys", "refused"))
	ready := o.operate(t, http.MethodGet, "/readyz")
	checkUnready(t, ready, "the lease of key")
	if got := ready.texts(t, "warnings"); len(got) != 1 || !strings.Contains(got[0], "no such file") || !strings.Contains(got[0], "version 1 stays in use") {
		t.Errorf("the warnings are %q, want why the file is refused", got)
	}
}

// Keys that a reload brings must sign what the settings promise, just as those
// at the start.
func TestReloadedKeysMustFitTheSettings(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.start(t, nil)
	next := clone(t, o.manifest)
	next.Version, next.Policy.MaxLifetime = 2, time.Hour
	write(t, o.settings.KeysFile, string(next.Encode()))
	o.await(t, reloaded("keys", "refused")+`.*MAX_SESSION_LIFETIME is 24h0m0s, but the key manifest's policy has max_lifetime 1h0m0s`)
	if got := o.create(t, `{"customer_id":"`+customerID+`","expires_in":86400}`); !instant(t, got.text(t, "expires_at")).After(time.Now().Add(23 * time.Hour)) {
		t.Errorf("got %s, want a session of a day", got.body)
	}
	next.Version, next.Policy.MaxLifetime = 3, 24*time.Hour
	write(t, o.settings.KeysFile, string(next.Encode()))
	o.await(t, reloaded("keys", "replaced"))
	metrics := o.operate(t, http.MethodGet, "/metrics").body
	if got := samples(t, metrics, "customersession_keys")["_manifest_version"]; got != "3" {
		t.Errorf("version %s is in use, want 3", got)
	}
}

// A device holds private keys and may be away.
type device struct {
	keys  map[string]keys.Signer
	away  atomic.Bool
	asked atomic.Int32
}

// take moves the private halves of a manifest into the device.
func (d *device) take(t testing.TB, manifest *keys.Manifest) {
	t.Helper()
	original := clone(t, manifest)
	d.keys = map[string]keys.Signer{}
	for _, key := range manifest.Keys {
		d.keys["device:"+key.ID()] = signerOf(t, original, key)
		key.Private, key.Signer = nil, "device:"+key.ID()
	}
}

func (d *device) open(uri string, public *jwk.Key) (keys.Signer, error) {
	d.asked.Add(1)
	key := d.keys[uri]
	switch {
	case d.away.Load():
		return nil, errors.New("the device is away")
	case key == nil || uri != "device:"+public.ID():
		return nil, fmt.Errorf("no key %s", uri)
	}
	return signerFunc(func(ctx context.Context, input []byte) ([]byte, error) { return key.Sign(ctx, input) }), nil
}

// Which signers there are is the caller's choice, also for manifests to come. A
// device that is away when one comes delays it and does not keep it out.
func TestOpenWithSigners(t *testing.T) {
	t.Parallel()
	manifest, d := newManifest(t, jwk.ES256), &device{}
	d.take(t, manifest)
	o := newFiles(t, manifest)
	_, err := issuer.Open(t.Context(), o.settings, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), `no support for signers of the kind "device"`) {
		t.Errorf("without signers: got %v", err)
	}
	o.start(t, d.open)
	o.createAny(t)

	d.away.Store(true)
	next := clone(t, manifest)
	next.Version = 2
	write(t, o.settings.KeysFile, string(next.Encode()))
	o.await(t, reloaded("keys", "refused")+`.*the device is away`)
	o.createAny(t)
	d.away.Store(false)
	o.await(t, reloaded("keys", "replaced"))
	o.createAny(t)
}

// A manifest is parsed, checked and only then opened: a device is not asked for
// the keys of one that is refused, however often the file is looked at.
func TestRefusedKeysAskNoSigner(t *testing.T) {
	t.Parallel()
	manifest, d := newManifest(t, jwk.ES256), &device{}
	d.take(t, manifest)
	o := newFiles(t, manifest)
	o.start(t, d.open)
	asked := d.asked.Load()
	if asked == 0 {
		t.Fatal("the device was not asked for the keys in use")
	}
	next := clone(t, manifest)
	next.Version = 2
	for _, refused := range []struct {
		reason string
		change func(*keys.Manifest)
	}{
		{"a clock is wrong", func(m *keys.Manifest) { m.CreatedAt = m.CreatedAt.Add(365 * 24 * time.Hour) }},
		{"dropped: key", func(m *keys.Manifest) { m.Keys = m.Keys[1:] }},
		{"MAX_SESSION_LIFETIME", func(m *keys.Manifest) { m.Policy.MaxLifetime = time.Hour }},
	} {
		m := clone(t, next)
		refused.change(m)
		write(t, o.settings.KeysFile, string(m.Encode()))
		o.await(t, reloaded("keys", "refused")+".*"+refused.reason)
	}
	if got := d.asked.Load(); got != asked {
		t.Errorf("the device was asked %d times for keys of refused manifests", got-asked)
	}
	write(t, o.settings.KeysFile, string(next.Encode()))
	o.await(t, reloaded("keys", "replaced"))
	if d.asked.Load() == asked {
		t.Error("the device was not asked for the keys of the accepted manifest")
	}
}

// A file with more customers than files are made for works, and the log names
// the place for them.
func TestLargeCustomersFile(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.open(t, nil)
	if strings.Contains(o.logs.String(), "PostgreSQL") {
		t.Error("a small file is called large")
	}
	var lines strings.Builder
	lines.WriteString(customerLines)
	for n := range customers.MaxFile {
		fmt.Fprintf(&lines, `{"id":"00000000-0000-4000-8000-%012d","organization_id":"%s","email":"a@b"}`+"\n", n, orgID)
	}
	write(t, o.settings.CustomersFile, lines.String())
	o.start(t, nil)
	o.await(t, `more than the 100000 that a file is made for; use PostgreSQL"`)
	o.createAny(t)
}

// An editor may begin any file with a byte order mark, which nobody sees.
func TestFilesWithByteOrderMark(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	for _, path := range []string{o.settings.KeysFile, o.settings.OrganizationsFile, o.settings.CustomersFile} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "\ufeff"+string(text))
	}
	o.settings.TracesEndpoint, o.settings.TracesHeadersFile = "https://collector.example.com", filepath.Join(t.TempDir(), "headers")
	write(t, o.settings.TracesHeadersFile, "\ufeffAuthorization: Bearer x")
	wantMarks(t, o, 4)
	// The directories that need a secret.
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "\ufeffpostgres://localhost")
	o = newFiles(t, newManifest(t, jwk.ES256))
	o.settings.Customers, o.settings.CustomersDSNFile = "postgres", secret
	wantMarks(t, o, 1)
	o.settings.Customers, o.settings.CustomersTokenFile, o.settings.CustomersURL = "http", secret, "https://api.example.com"
	wantMarks(t, o, 1)
}

// wantMarks wants the server not to start, and to name so many marks.
func wantMarks(t *testing.T, o *opened, marks int) {
	t.Helper()
	_, err := issuer.Open(t.Context(), o.settings, nil, slog.New(slog.DiscardHandler))
	if err == nil || strings.Count(err.Error(), "byte order mark") != marks {
		t.Errorf("got %v, want %d byte order marks named", err, marks)
	}
}
