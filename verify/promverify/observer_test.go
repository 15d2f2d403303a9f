package promverify_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/promverify"
)

var _ verify.RevocationsObserver = (*promverify.Observer)(nil)

func TestObserver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // for the timestamp
		registry := prometheus.NewPedanticRegistry()
		o, err := promverify.New(registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []verify.Verification{
			{Result: "ok"},
			{Result: "ok", Cached: true},
			{Result: "ok", Cached: true},
			{Result: "expired", Cached: true}, // since it was put there
			{Result: "malformed"},
		} {
			o.Verified(t.Context(), v)
		}
		o.Refreshed(verify.Refresh{
			Result: "ok", Keys: 3, Skipped: map[string]int{"private": 2, "unsupported": 1}, Duration: time.Second,
		})
		o.Refreshed(verify.Refresh{Result: "unchanged", Keys: 2, Skipped: map[string]int{"private": 1}})
		time.Sleep(time.Hour)
		o.Refreshed(verify.Refresh{Result: "timeout", Duration: 5 * time.Second})
		o.RevocationsAnswered(verify.RevocationsAnswer{Result: "ok", Age: 30 * time.Second, Entries: 7, Duration: 25 * time.Second})
		o.RevocationsAnswered(verify.RevocationsAnswer{Result: "ok", Age: 10 * time.Second, Entries: 8})
		time.Sleep(time.Minute)
		o.RevocationsAnswered(verify.RevocationsAnswer{Result: "nonce", Age: 70 * time.Second, Entries: 8})

		const want = `
# HELP customersession_verify_keys Usable keys in the issuer's last good answer.
# TYPE customersession_verify_keys gauge
customersession_verify_keys 2
# HELP customersession_verify_last_refresh_timestamp_seconds When the issuer last answered with keys, in seconds since 1970.
# TYPE customersession_verify_last_refresh_timestamp_seconds gauge
customersession_verify_last_refresh_timestamp_seconds 9.466848e+08
# HELP customersession_verify_refreshes_total Attempts to fetch the issuer's keys, by result.
# TYPE customersession_verify_refreshes_total counter
customersession_verify_refreshes_total{result="ok"} 1
customersession_verify_refreshes_total{result="timeout"} 1
customersession_verify_refreshes_total{result="unchanged"} 1
# HELP customersession_verify_revocation_requests_total Requests to the issuer's feed of revocations, by result.
# TYPE customersession_verify_revocation_requests_total counter
customersession_verify_revocation_requests_total{result="nonce"} 1
customersession_verify_revocation_requests_total{result="ok"} 2
# HELP customersession_verify_revocations Revocations in force.
# TYPE customersession_verify_revocations gauge
customersession_verify_revocations 8
# HELP customersession_verify_revocations_timestamp_seconds As of when ended sessions are known, in seconds since 1970.
# TYPE customersession_verify_revocations_timestamp_seconds gauge
customersession_verify_revocations_timestamp_seconds 9.4668839e+08
# HELP customersession_verify_skipped_keys Keys in the issuer's last good answer that cannot be used, by reason.
# TYPE customersession_verify_skipped_keys gauge
customersession_verify_skipped_keys{reason="private"} 1
# HELP customersession_verify_tokens_total Tokens verified, by result and whether they were in the cache.
# TYPE customersession_verify_tokens_total counter
customersession_verify_tokens_total{cached="false",result="algorithm"} 0
customersession_verify_tokens_total{cached="false",result="audience"} 0
customersession_verify_tokens_total{cached="false",result="claims"} 0
customersession_verify_tokens_total{cached="false",result="expired"} 0
customersession_verify_tokens_total{cached="false",result="issuer"} 0
customersession_verify_tokens_total{cached="false",result="keys_unavailable"} 0
customersession_verify_tokens_total{cached="false",result="malformed"} 1
customersession_verify_tokens_total{cached="false",result="not_yet_valid"} 0
customersession_verify_tokens_total{cached="false",result="ok"} 1
customersession_verify_tokens_total{cached="false",result="revocations_unavailable"} 0
customersession_verify_tokens_total{cached="false",result="revoked"} 0
customersession_verify_tokens_total{cached="false",result="signature"} 0
customersession_verify_tokens_total{cached="false",result="type"} 0
customersession_verify_tokens_total{cached="false",result="unknown_key"} 0
customersession_verify_tokens_total{cached="true",result="expired"} 1
customersession_verify_tokens_total{cached="true",result="ok"} 2
`
		// The buckets of the histogram are not worth a comparison.
		var got strings.Builder
		for line := range strings.Lines(scrape(t, registry)) {
			if !strings.Contains(line, "refresh_seconds") {
				got.WriteString(line)
			}
		}
		if got.String() != strings.TrimLeft(want, "\n") {
			t.Errorf("got:\n%s\nwant:%s", got.String(), want)
		}
		if count := "customersession_verify_refresh_seconds_count 3\n"; !strings.Contains(scrape(t, registry), count) {
			t.Errorf("there is no %s", count)
		}
	})
}

// scrape returns what a Prometheus server would get.
func scrape(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return w.Body.String()
}

func TestNewTwice(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for _, organization := range []string{"a", "b"} {
		labelled := prometheus.WrapRegistererWith(prometheus.Labels{"portal": organization}, registry)
		if _, err := promverify.New(labelled); err != nil {
			t.Errorf("%s: %v", organization, err)
		}
	}
	plain := prometheus.NewRegistry()
	if _, err := promverify.New(plain); err != nil {
		t.Fatal(err)
	}
	o, err := promverify.New(plain)
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); !ok || o != nil {
		t.Errorf("got %v, %v, want an error", o, err)
	}
}

func BenchmarkVerified(b *testing.B) {
	o, err := promverify.New(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		o.Verified(b.Context(), verify.Verification{Result: verify.ResultOK, Cached: true})
	}
}
