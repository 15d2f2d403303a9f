package issuer_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/keys"
)

// operate asks the listener for operators.
func (f *fixture) operate(t testing.TB, method, path string) *answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, f.operations+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, request)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	ok := map[string]any{"status": "ok"}
	for _, test := range []struct {
		name string
		ring *keys.Ring
		live map[string]any
		// Why it is not ready; empty: it is.
		reason string
	}{
		{"ready", newRing(t), ok, ""},
		{"key that does not sign yet", newUnusedRing(t), ok, "starts signing at"},
		{"public copy of the keys", newPublicRing(t), ok, "public copy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *fixtureOptions) { o.ring = test.ring })
			live := f.operate(t, http.MethodGet, "/livez")
			if live.status != http.StatusOK || !reflect.DeepEqual(live.members(t), test.live) {
				t.Errorf("/livez: got %d %s, want 200 %v", live.status, live.body, test.live)
			}
			ready := f.operate(t, http.MethodGet, "/readyz")
			switch {
			case test.reason != "":
				checkUnready(t, ready, test.reason)
			case ready.status != http.StatusOK || !reflect.DeepEqual(ready.members(t), ok):
				t.Errorf("/readyz: got %d %s, want 200", ready.status, ready.body)
			}
			for _, a := range []*answer{live, ready} {
				if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("the headers are %v, want JSON and no-store", a.header)
				}
			}
		})
	}
}

func checkUnready(t *testing.T, a *answer, reason string) {
	t.Helper()
	reasons, _ := a.members(t)["reasons"].([]any)
	if a.status != http.StatusServiceUnavailable || a.text(t, "status") != "unready" || len(reasons) != 1 {
		t.Fatalf("got %d %s, want 503 with one reason", a.status, a.body)
	}
	if text, _ := reasons[0].(string); !strings.Contains(text, reason) {
		t.Errorf("the reason is %q, want %q in it", text, reason)
	}
}

// A directory that is down is no reason to send requests elsewhere.
func TestReadyWithoutDirectory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) { o.directory = directoryFunc(refuseConnections) })
	f.post(t, f.secret, `{"customer_id":"`+customerID+`"}`)
	if a := f.operate(t, http.MethodGet, "/readyz"); a.status != http.StatusOK {
		t.Errorf("got %d %s, want 200", a.status, a.body)
	}
}

// While requests in flight finish, the world hears that there should be no
// more.
func TestDraining(t *testing.T) {
	t.Parallel()
	directory := newDirectory(t)
	started, finish := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(o *fixtureOptions) {
		o.directory = directoryFunc(func(ctx context.Context, q customers.Query) (*customers.Customer, error) {
			close(started)
			<-finish
			return directory.Find(ctx, q)
		})
	})
	inFlight := make(chan *answer)
	go func() {
		defer close(inFlight)
		inFlight <- f.post(t, f.secret, `{"customer_id":"`+customerID+`"}`)
	}()
	<-started
	f.stop()
	// It says so some time after it was told to stop.
	ready, told := f.operate(t, http.MethodGet, "/readyz"), time.Now()
	for ready.status == http.StatusOK && time.Since(told) < 10*time.Second {
		ready = f.operate(t, http.MethodGet, "/readyz")
	}
	checkUnready(t, ready, "shutting down")
	if a := f.operate(t, http.MethodGet, "/livez"); a.status != http.StatusOK {
		t.Errorf("/livez: got %d %s, want 200", a.status, a.body)
	}
	close(finish)
	if a := <-inFlight; a == nil || a.status != http.StatusCreated {
		t.Errorf("the request in flight got %+v, want 201", a)
	}
	<-f.ended
	if response, err := http.Get(f.base + "/openapi.json"); err == nil {
		response.Body.Close()
		t.Errorf("after the end: got %d, want no server", response.StatusCode)
	}
}

func TestOperationsRefuse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if a := f.operate(t, http.MethodPost, path); a.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: got %d, want 405", path, a.status)
		}
	}
	// What is public is not here, nor the other way round (see TestUnknownPath).
	for _, path := range []string{"/", createPath, "/.well-known/jwks.json", "/debug/pprof/"} {
		if a := f.operate(t, http.MethodGet, path); a.status != http.StatusNotFound {
			t.Errorf("GET %s: got %d, want 404", path, a.status)
		}
	}
}

// metricsAfter ends the server, which counts a request after it answered it,
// and returns what /metrics shows then.
func (f *fixture) metricsAfter(t testing.TB) string {
	t.Helper()
	f.shutdown()
	recorder := httptest.NewRecorder()
	f.server.Operations().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	text, err := io.ReadAll(recorder.Result().Body)
	if err != nil || recorder.Code != http.StatusOK {
		t.Fatalf("/metrics: got %d, %v", recorder.Code, err)
	}
	f.checkSecrets(t, "/metrics", string(text))
	return string(text)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newFixture(t, limited(func(c *issuer.Config) { c.KeyRate, c.KeyBurst = rare, 4 }))
	token := f.createAny(t).text(t, "token")
	f.createAny(t)
	f.post(t, f.secret, `{"customer_id":"`+unknownID+`"}`)
	f.post(t, f.secret, `{}`)
	f.post(t, f.secret, `{}`)
	f.post(t, f.foreign, `{"customer_id":"`+foreignID+`"}`)
	f.post(t, f.expired, `{}`)
	f.post(t, "wrong", `{}`)
	f.do(t, http.MethodPost, createPath, `{}`)
	f.do(t, http.MethodPost, createPath, `{}`, "Authorization", "Bearer")
	f.post(t, token, `{}`)
	f.portal(t, "introspect", token)
	f.portal(t, "introspect", "wrong")
	f.do(t, "BREW", "/"+marker, "")
	metrics := f.metricsAfter(t)
	for series, want := range map[string]string{
		`http_requests_total{method="POST",route="/v1/customer-sessions/",status="201"}`:                         "3",
		`http_requests_total{method="POST",route="/v1/customer-sessions/",status="401"}`:                         "4",
		`http_requests_total{method="POST",route="/v1/customer-sessions/",status="400"}`:                         "1",
		`http_requests_total{method="POST",route="/v1/customer-sessions/",status="422"}`:                         "2",
		`http_requests_total{method="POST",route="/v1/customer-sessions/",status="429"}`:                         "1",
		`http_requests_total{method="GET",route="/v1/customer-portal/customer-session/introspect",status="200"}`: "1",
		`http_requests_total{method="other",route="none",status="404"}`:                                          "1",
		`http_request_duration_seconds_count{route="/v1/customer-sessions/"}`:                                    "11",
		`sessions_issued_total{organization="acme"}`:                                                             "2",
		`sessions_issued_total{organization="other"}`:                                                            "1",
		`credentials_refused_total{reason="no_credentials"}`:                                                     "1",
		`credentials_refused_total{reason="ambiguous_header"}`:                                                   "1",
		`credentials_refused_total{reason="customer_token"}`:                                                     "1",
		`credentials_refused_total{reason="unknown_key"}`:                                                        "1",
		`credentials_refused_total{reason="expired_key"}`:                                                        "1",
		`credentials_refused_total{reason="bad_token"}`:                                                          "1",
		`rate_limited_total{by="api_key"}`:                                                                       "1",
		`signature_duration_seconds_count{algorithm="ES256",result="ok"}`:                                        "3",
		`customer_lookup_duration_seconds_count{result="found"}`:                                                 "3",
		`customer_lookup_duration_seconds_count{result="not_found"}`:                                             "1",
	} {
		match := regexp.MustCompile(`(?m)^customersession_` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(metrics)
		if match == nil {
			t.Errorf("there is no %s", series)
		} else if match[1] != want {
			t.Errorf("%s is %s, want %s", series, match[1], want)
		}
	}
	for _, unwanted := range []string{marker, "BREW", customerID, "ada@example.com", "127.0.0.1"} {
		if strings.Contains(metrics, unwanted) {
			t.Errorf("the metrics hold %s", unwanted)
		}
	}
}

// The real listener shows them, too, with those of the process.
func TestMetricsServed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.operate(t, http.MethodGet, "/metrics")
	for _, want := range []string{"go_goroutines ", "process_resident_memory_bytes ", "go_build_info{"} {
		if !strings.Contains(string(a.body), "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
	if got := a.header.Get("Content-Type"); a.status != http.StatusOK || !strings.HasPrefix(got, "text/plain") {
		t.Errorf("got %d and the type %q, want text", a.status, got)
	}
}
