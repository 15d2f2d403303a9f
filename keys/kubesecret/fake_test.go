package kubesecret_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/kubesecret"
)

// A fake stands in for an API server where a test needs answers that a real one
// does not give, or looks at the client's credentials.
type fake struct {
	*httptest.Server

	authority *authority
}

func newFake(t *testing.T, handler http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{httptest.NewUnstartedServer(handler), mustAuthority(t)}
	f.TLS = f.authority.serverTLS(t)
	f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// fill replaces the placeholders of a kubeconfig.
func (f *fake) fill(text string) string {
	return strings.NewReplacer(
		"SERVER", f.URL,
		"CA_DATA", base64.StdEncoding.EncodeToString(f.authority.pem),
	).Replace(text)
}

// config is for the Secret shop/keys on the fake, with that user of a kubeconfig.
func (f *fake) config(t *testing.T, user string) kubesecret.Config {
	t.Helper()
	text := f.fill(`
clusters: [{name: c, cluster: {server: SERVER, certificate-authority-data: CA_DATA}}]
users: [{name: u, user: ` + user + `}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`)
	return kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: writeFile(t, "kubeconfig", text)}
}

// secretJSON is the Secret shop/keys with that manifest.
func secretJSON(t testing.TB, m *keys.Manifest) []byte {
	t.Helper()
	text, err := json.Marshal(object{
		"kind": "Secret", "apiVersion": "v1", "type": "Opaque",
		"metadata": object{"namespace": "shop", "name": "keys", "uid": "u1", "resourceVersion": "17"},
		"data":     map[string][]byte{"keys.json": m.Encode()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A doorman is a fake that accepts every client and remembers the last one.
type doorman struct {
	*fake

	mu   sync.Mutex
	last string
}

func newDoorman(t *testing.T) *doorman {
	t.Helper()
	answer := secretJSON(t, newManifest(t))
	d := new(doorman)
	d.fake = newFake(t, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.last = strings.TrimSpace(r.TLS.ServerName + " " + r.URL.Path + " " + r.Header.Get("Authorization"))
		if user := r.Header.Get("Impersonate-User"); user != "" {
			d.last += " as " + user
		}
		for _, certificate := range r.TLS.PeerCertificates {
			d.last += " certificate of " + certificate.Subject.CommonName
		}
		_, _ = w.Write(answer)
	})
	return d
}

const secretPath = "/api/v1/namespaces/shop/secrets/keys"

// wantVisitor reads the Secret and checks what the doorman saw.
func (d *doorman) wantVisitor(t *testing.T, s *kubesecret.Secret, want string) {
	t.Helper()
	if _, _, err := s.Read(t.Context()); err != nil {
		wantNothingHidden(t, err.Error())
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != want {
		t.Errorf("got %q, want %q", d.last, want)
	}
}

// object is a JSON object of Kubernetes.
type object = map[string]any

// statusJSON is how an API server explains an error.
func statusJSON(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind": "Status", "status": "Failure", "code": %d, "reason": %q, "message": %s}`,
		code, reason, quoteJSON(message))
}

func quoteJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // JSON can hold every string
	}
	return string(quoted)
}

// base64Of encodes data for a kubeconfig.
func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// quote encodes a string for YAML.
func quote(text string) string { return fmt.Sprintf("%q", text) }
