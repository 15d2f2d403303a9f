package issuer_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/jwk"
)

// The reference of metrics has all that a server shows, and nothing else.
func TestMetricsReference(t *testing.T) {
	t.Parallel()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.settings.AnonymousRate, o.settings.AnonymousBurst = rare, 1
	p, public, operations := o.open(t, nil), listen(t), listen(t)
	o.base = "http://" + operations.Addr().String()
	o.run(t, p.Run, issuer.RunConfig{Public: public, Operations: operations, LogDropped: func() int { return 0 }})
	o.do(t, http.MethodGet, "/livez", "") // then it runs
	for _, secret := range []string{o.secret, "wrong", "wrong again"} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, createPath, strings.NewReader(`{"customer_id":"`+customerID+`"}`))
		request.Header.Set("Authorization", "Bearer "+secret)
		ask(t, p.Handler(), request)
	}
	metrics := ask(t, p.Operations(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)).body
	got, want := shownMetrics(metrics), documentedMetrics(t)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if want[name] == "" {
			t.Errorf("%s, a %s, is not in the reference", name, got[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s is a %q, and in the reference a %q", name, got[name], want[name])
		}
	}
	for _, name := range regexp.MustCompile("customersession_[a-z_]+").FindAllString(reference(t), -1) {
		if got[name] == "" && !strings.HasPrefix(name, "customersession_verify_") { // those are a consumer's
			t.Errorf("the reference speaks of %s, which is not there", name)
		}
	}
}

// shownMetrics returns the type and the labels of each metric of ours, and of
// any other that is not of a family that the reference names.
func shownMetrics(text []byte) map[string]string {
	shown := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)\n[^{\s]+(?:\{(.*)\})? `).FindAllSubmatch(text, -1) {
		name, labels := string(match[1]), []string{}
		if regexp.MustCompile(`^(go|process|promhttp)_`).MatchString(name) {
			continue
		}
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllSubmatch(match[3], -1) {
			if string(label[1]) != "le" { // of every histogram
				labels = append(labels, string(label[1]))
			}
		}
		slices.Sort(labels)
		shown[name] = string(match[2]) + " by " + strings.Join(labels, ", ")
	}
	return shown
}

// documentedMetrics returns the same of the reference.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	documented := map[string]string{}
	rows := regexp.MustCompile("(?m)^\\| `(customersession_\\w+)` \\| (\\w+) \\|(.*?)\\| \\S")
	for _, match := range rows.FindAllStringSubmatch(reference(t), -1) {
		labels := strings.ReplaceAll(strings.TrimSpace(match[3]), "`", "")
		documented[match[1]] = match[2] + " by " + labels
	}
	if len(documented) < 10 {
		t.Fatalf("found %d metrics in the reference: is it still a table?", len(documented))
	}
	return documented
}

func reference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../deploy/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
