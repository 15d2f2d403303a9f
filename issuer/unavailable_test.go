package issuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

const noSignature = "No session can be signed at the moment"

// checkUnavailable fails unless a is the 503 and nothing but it: no half of a
// session, and nothing of the cause.
func checkUnavailable(t *testing.T, a *answer, detail string) {
	t.Helper()
	checkRefusal(t, a, http.StatusServiceUnavailable, `{"error":"ServiceUnavailable","detail":"`+detail+`"}`, "")
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("Retry-After is %q, want whole seconds", a.header.Get("Retry-After"))
	}
}

func TestDirectoryUnavailable(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) { o.directory = directoryFunc(refuseConnections) })
	a := f.post(t, f.secret, `{"customer_id":"`+customerID+`"}`)
	checkUnavailable(t, a, "The customer directory is unavailable")
	f.shutdown()
	if line := f.requestLine(t, a.header.Get("X-Request-Id")); line["level"] != "ERROR" || !strings.Contains(line["error"].(string), innards) {
		t.Errorf("the log has %v, want an error with its cause", line)
	}
}

// requestLine returns the one log line of a request. The server has ended.
func (f *fixture) requestLine(t *testing.T, id string) map[string]any {
	t.Helper()
	var found map[string]any
	for _, line := range f.logLines(t) {
		if line["msg"] == "request" && line["request_id"] == id {
			if found != nil {
				t.Errorf("request %s has two lines", id)
			}
			found = line
		}
	}
	if found == nil {
		t.Fatalf("request %q has no line in the log", id)
	}
	return found
}

func (f *fixture) logLines(t *testing.T) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(f.logs.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// What has no name is our fault, and says nothing.
func TestInternalError(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]directoryFunc{
		"error": func(context.Context, customers.Query) (*customers.Customer, error) { return nil, errors.New(innards) },
		"panic": func(context.Context, customers.Query) (*customers.Customer, error) { panic(innards) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) { o.directory = find })
			a := f.post(t, f.secret, `{"customer_id":"`+customerID+`"}`)
			checkRefusal(t, a, http.StatusInternalServerError, `{"error":"InternalServerError","detail":"Internal Server Error"}`, "")
			f.shutdown()
			if line := f.requestLine(t, a.header.Get("X-Request-Id")); line["level"] != "ERROR" || !strings.Contains(line["error"].(string), innards) {
				t.Errorf("the log has %v, want an error with its cause", line)
			}
		})
	}
}

func TestSignerUnavailable(t *testing.T) {
	t.Parallel()
	type sign = func(context.Context, keys.Signer, []byte) ([]byte, error)
	for name, sign := range map[string]sign{
		"fails": func(context.Context, keys.Signer, []byte) ([]byte, error) { return nil, errors.New(innards) },
		"nothing": func(context.Context, keys.Signer, []byte) ([]byte, error) {
			return nil, nil
		},
		"short": func(ctx context.Context, key keys.Signer, input []byte) ([]byte, error) {
			signature, err := key.Sign(ctx, input)
			return signature[:63], err
		},
		"long": func(ctx context.Context, key keys.Signer, input []byte) ([]byte, error) {
			signature, err := key.Sign(ctx, input)
			return append(signature, 0), err
		},
		"half and an error": func(ctx context.Context, key keys.Signer, input []byte) ([]byte, error) {
			signature, _ := key.Sign(ctx, input)
			return signature, errors.New(innards)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) { o.ring = newDeviceRing(t, sign) })
			a := f.post(t, f.secret, `{"customer_id":"`+customerID+`"}`)
			checkUnavailable(t, a, noSignature)
			f.shutdown()
			if line := f.requestLine(t, a.header.Get("X-Request-Id")); line["level"] != "ERROR" {
				t.Errorf("the log has %v, want an error", line)
			}
			if strings.Contains(f.logs.String(), `"session issued"`) {
				t.Error("the log says that a session was issued")
			}
		})
	}
}

func TestSignerElsewhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) {
		o.ring = newDeviceRing(t, func(ctx context.Context, key keys.Signer, input []byte) ([]byte, error) {
			return key.Sign(ctx, input)
		})
	})
	if a := f.portal(t, "introspect", f.createAny(t).text(t, "token")); a.status != http.StatusOK {
		t.Errorf("the token of a device is answered with %d %s, want 200", a.status, a.body)
	}
}

// A client that goes away takes its request along.
func TestClientGone(t *testing.T) {
	t.Parallel()
	signing := make(chan struct{})
	f := newFixture(t, func(o *fixtureOptions) {
		o.ring = newDeviceRing(t, func(ctx context.Context, _ keys.Signer, _ []byte) ([]byte, error) {
			close(signing)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	ctx, leave := context.WithCancel(t.Context())
	request := f.request(t, http.MethodPost, createPath, `{"customer_id":"`+customerID+`"}`, "Authorization", "Bearer "+f.secret)
	go func() {
		<-signing
		leave()
	}()
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err == nil {
		response.Body.Close()
		t.Errorf("got %d, want none", response.StatusCode)
	}
	f.shutdown() // returns once the signer has
}

// A signer that hangs, with a client that waits, is unavailable in bounded
// time.
func TestSignerHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const patience = time.Minute
		f := &fixture{}
		registry, directory := f.newRegistry(t), newDirectory(t)
		ring := newDeviceRing(t, func(ctx context.Context, _ keys.Signer, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		server, err := issuer.New(issuer.Config{
			Issuer: "https://sessions.example.com", Customers: directory,
			Keys: func() *keys.Ring { return ring }, Organizations: func() *organizations.Registry { return registry },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, createPath, strings.NewReader(`{"customer_id":"`+customerID+`"}`))
		request.Header.Set("Authorization", "Bearer "+f.secret)
		recorder, start := httptest.NewRecorder(), time.Now()
		server.Handler().ServeHTTP(recorder, request)
		if recorder.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d %s, want 503", recorder.Code, recorder.Body)
		}
		if took := time.Since(start); took >= patience {
			t.Errorf("the client waited %s, until it gave up", took)
		}
	})
}

func TestNoSigningKey(t *testing.T) {
	t.Parallel()
	past := func(t *testing.T) *keys.Ring {
		t.Helper()
		manifest, err := keys.Init(keys.DefaultPolicy(), time.Now().AddDate(-1, 0, 0), true)
		if err != nil {
			t.Fatal(err)
		}
		return ringOf(t, manifest, nil)
	}
	for _, test := range []struct {
		name string
		ring *keys.Ring
		set  int // the status of the JWK Set
	}{
		{"not yet", newUnusedRing(t), http.StatusOK},
		{"public copy", newPublicRing(t), http.StatusOK},
		{"not any more", past(t), http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) { o.ring = test.ring })
			checkUnavailable(t, f.post(t, f.secret, `{"customer_id":"`+customerID+`"}`), noSignature)
			for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration"} {
				a := f.do(t, http.MethodGet, path, "")
				if a.status != test.set {
					t.Errorf("%s: got %d %s, want %d", path, a.status, a.body, test.set)
				}
				if test.set != http.StatusOK && (a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store") {
					t.Errorf("%s: the headers are %v, want Retry-After and no-store", path, a.header)
				}
			}
		})
	}
}

// newUnusedRing has keys that are published and do not sign yet.
func newUnusedRing(t testing.TB) *keys.Ring {
	t.Helper()
	manifest, err := keys.Init(keys.DefaultPolicy(), time.Now().Truncate(time.Second), false)
	if err != nil {
		t.Fatal(err)
	}
	return ringOf(t, manifest, nil)
}

// newPublicRing has keys whose private halves somebody else has.
func newPublicRing(t testing.TB) *keys.Ring {
	t.Helper()
	manifest := newManifest(t, jwk.ES256)
	for _, key := range manifest.Keys {
		key.Private = nil
	}
	return ringOf(t, manifest, nil)
}
