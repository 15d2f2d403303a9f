package issuer_test

import (
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// samples returns the series of /metrics whose names begin with a prefix, less
// that prefix, and their values.
func samples(t testing.TB, metrics []byte, prefix string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^`+prefix+`(\S+(?:\{.*\})?) (\S+)$`).FindAllSubmatch(metrics, -1) {
		found[string(match[1])] = string(match[2])
	}
	return found
}

// keysMetrics checks that the metrics of keys are want, less those of which
// there are no keys.
func (s *bubbleServer) keysMetrics(t *testing.T, want map[string]string) {
	t.Helper()
	a := s.operate(t, "/metrics")
	if a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	got := samples(t, a.body, "customersession_keys")
	for _, state := range []string{"scheduled", "next", "current", "retired", "removed", "revoked"} {
		series := `{state="` + state + `"}`
		value, found := got[series]
		if !found {
			t.Errorf("there is no %s", series)
		}
		if value == "0" {
			delete(got, series)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("at %v: got\n%s\nwant\n%s", time.Now(), list(got), list(want))
	}
}

func list(series map[string]string) string {
	var lines strings.Builder
	for name, value := range series {
		lines.WriteString("  " + name + " " + value + "\n")
	}
	return lines.String()
}

// The metrics follow the schedule without a request or a reload.
func TestKeysMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		manifest := newManifest(t, jwk.ES256)
		first, second := manifest.Keys[0], manifest.Keys[1]
		// Revoked, so that its other times do not count; and one that is to come.
		revoked, scheduled := newManifest(t, jwk.EdDSA).Keys[1], newManifest(t, jwk.RS256).Keys[1]
		revoked.RevokedAt = manifest.CreatedAt.Add(time.Hour)
		revoked.ActivateAt = manifest.CreatedAt.Add(2 * time.Hour)
		scheduled.PublishAt = manifest.CreatedAt.Add(10 * time.Minute)
		first.SignUntil = second.ActivateAt
		first.PromisedUntil = first.SignUntil
		first.RemoveAt = first.SignUntil.Add(25 * time.Hour)
		scheduled.ActivateAt, scheduled.SignUntil = second.ActivateAt.Add(time.Hour), second.SignUntil.Add(time.Hour)
		scheduled.PromisedUntil, scheduled.RemoveAt = scheduled.SignUntil, scheduled.SignUntil.Add(25*time.Hour)
		manifest.Keys = append(manifest.Keys, revoked, scheduled)
		manifest.Version = 12
		s := newBubbleServer(t, manifest)
		const always = "_manifest_version"
		current := func(k *keys.Key) string {
			return `_current_info{algorithm="` + string(k.Public.Algorithm()) + `",kid="` + k.ID() + `"}`
		}
		// The clock of a bubble starts with the year 2000.
		const created, madeAt = "_manifest_created_timestamp_seconds", "9.466848e+08"
		s.keysMetrics(t, map[string]string{
			always: "12", created: madeAt,
			`{state="current"}`: "1", `{state="next"}`: "2", `{state="scheduled"}`: "1",
			current(first):                            "1",
			`_next_event_seconds{event="publish"}`:    "600",
			`_next_event_seconds{event="activate"}`:   "2.592e+06",
			`_next_event_seconds{event="sign_until"}`: "2.592e+06",
			`_next_event_seconds{event="remove"}`:     "3600", // by the revocation
			`_signing_ends_seconds`:                   "3.2004e+06",
		})
		until(second.ActivateAt)
		s.keysMetrics(t, map[string]string{
			always: "12", created: madeAt,
			`{state="retired"}`: "1", `{state="current"}`: "1", `{state="next"}`: "1", `{state="revoked"}`: "1",
			current(second):                           "1",
			`_next_event_seconds{event="activate"}`:   "3600",
			`_next_event_seconds{event="sign_until"}`: "604800",
			`_next_event_seconds{event="remove"}`:     "90000",
			`_signing_ends_seconds`:                   "608400",
		})
		until(scheduled.SignUntil)
		s.keysMetrics(t, map[string]string{
			always: "12", created: madeAt,
			`{state="removed"}`: "1", `{state="retired"}`: "2", `{state="revoked"}`: "1",
			`_next_event_seconds{event="remove"}`: "82860",
			`_signing_ends_seconds`:               "0",
		})
	})
}

// What cannot sign says so, although its manifest has a current key.
func TestKeysMetricsOfAPublicCopy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) { o.ring = newPublicRing(t) })
	got := samples(t, f.operate(t, http.MethodGet, "/metrics").body, "customersession_keys")
	if got["_signing_ends_seconds"] != "0" || got[`{state="current"}`] != "1" {
		t.Errorf("got\n%s\nwant a current key, and no time left", list(got))
	}
	for series := range got {
		if strings.HasPrefix(series, "_current_info") {
			t.Errorf("there is %s, but no key signs", series)
		}
	}
}
