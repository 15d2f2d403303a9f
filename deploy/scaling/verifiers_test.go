package scaling_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

const (
	testIssuer   = "https://sessions.example.com"
	testAudience = "customer-portal"
	someUUID     = "7c0bd8f5-5e4b-4f0a-9d6c-0d1f4c8e2a11"
)

// measure counts what n real verifiers ask of the real JWK Set, in a bubble.
func measure(t *testing.T, s *scenario, n int) *tally {
	t.Helper()
	counts := newTally(s)
	synctest.Test(t, func(t *testing.T) {
		texts := make([]string, len(s.tokens))
		for i, k := range s.tokens {
			texts[i] = token(t, s.issuer, k)
		}
		client := &http.Client{Transport: &counter{issuer: s.issuer, counts: counts}}
		time.Sleep(time.Until(s.start))
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				time.Sleep(s.spread / time.Duration(n) * time.Duration(i))
				time.Sleep(upTo(s.spread / time.Duration(n)))
				v, err := verify.New(verify.Config{
					Issuer: testIssuer, Audience: testAudience, HTTPClient: client, CacheSize: 8,
					MaxRevocationAge: -1, // the feed has a model of its own
				})
				if err != nil {
					t.Error(err)
					return
				}
				consume(t, v, s, texts)
			})
		}
		all.Wait()
	})
	return counts
}

// consume is the traffic of one consumer. A token that is refused for another
// reason than its key would hide what is to be measured.
func consume(t *testing.T, v *verify.Verifier, s *scenario, texts []string) {
	t.Helper()
	defer v.Close()
	start := time.Now()
	var all sync.WaitGroup
	for i, k := range s.tokens {
		first := start
		if i > 0 {
			first = later(start, k.from).Add(upTo(k.every))
		}
		all.Go(func() {
			for at := first; at.Before(s.end) && at.Before(k.until); at = at.Add(k.every) {
				time.Sleep(time.Until(at))
				_, err := v.Verify(t.Context(), texts[i])
				if err != nil && !errors.Is(err, verify.ErrUnknownKey) && !errors.Is(err, verify.ErrKeysUnavailable) {
					t.Errorf("%s: %v", s.name, err)
				}
			}
			time.Sleep(time.Until(s.end))
		})
	}
	all.Wait()
}

func upTo(d time.Duration) time.Duration { return time.Duration(rand.Float64() * float64(d)) }

// A counter is a transport that counts.
type counter struct {
	issuer *issuer

	mu     sync.Mutex
	counts *tally
}

// RoundTrip implements [http.RoundTripper].
func (c *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	now := time.Now()
	response, err := c.issuer.RoundTrip(request)
	bytes := 0
	if err == nil {
		bytes = wireSize(response.StatusCode, response.Header, int(max(response.ContentLength, 0)))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !now.Before(c.counts.start) && now.Sub(c.counts.start) < time.Duration(len(c.counts.requests))*time.Second {
		c.counts.add(now, bytes)
	}
	return response, err
}

// token returns a token of a key that lasts through the scenario.
func token(t *testing.T, s *issuer, k tokens) string {
	t.Helper()
	key := lastSeen(s.manifests, k.keyID)
	header, err := json.Marshal(map[string]string{
		"alg": string(key.Public.Algorithm()), "kid": key.ID(), "typ": wire.TokenType,
	})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{
		wire.ClaimIssuer: testIssuer, wire.ClaimAudience: testAudience,
		wire.ClaimCustomerID: someUUID, wire.ClaimSessionID: uuid.NewString(), wire.ClaimOrganizationID: someUUID,
		wire.ClaimIssuedAt: k.from.Unix(), wire.ClaimExpiresAt: k.from.Add(24 * time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(header) + "." + encode(claims)
	for _, ring := range s.rings {
		signing, err := ring.SigningKey(key.ActivateAt)
		if err != nil || signing.Public.ID() != key.ID() {
			continue
		}
		signature, err := signing.Signer.Sign(t.Context(), []byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + encode(signature)
	}
	t.Fatalf("key %s never signs", key.ID())
	return ""
}

// The model is right if real verifiers send as many requests: in each window, in
// its worst minute, and for as many bytes. They may differ by as much as runs of
// the model differ by chance, and headers by a few bytes in length.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			compare(t, s, 10)
			many := 100
			if needs.Exhaustive() && !needs.Race() {
				many = 1000
			}
			compare(t, s, many)
		})
	}
}

func compare(t *testing.T, s *scenario, n int) {
	t.Helper()
	compareLoads(t, s.windows, n, 0, measure(t, s, n), func(seed uint64) *tally { return simulate(s, n, seed) })
}

// compareLoads compares what n consumers asked with the model. A share of the mean
// is allowed beside chance.
func compareLoads(t *testing.T, windows []window, n int, allowed float64, measured *tally, simulate func(seed uint64) *tally) {
	t.Helper()
	const runs = 20
	model := make([]*tally, runs)
	for i := range model {
		model[i] = simulate(uint64(i))
	}
	for _, w := range windows {
		got := measured.load(w)
		for _, f := range []struct {
			name    string
			of      func(load) int
			allowed float64 // share of the mean
		}{
			{"requests", func(l load) int { return l.requests }, allowed},
			{"requests in a minute", func(l load) int { return l.minute }, 0.01},
			{"bytes", func(l load) int { return l.bytes }, 0.01},
			{"news", func(l load) int { return l.news }, allowed},
			{"prompt news", func(l load) int { return l.prompt }, 0.01},
		} {
			mean, deviation := spread(model, func(a *tally) float64 { return float64(f.of(a.load(w))) })
			t.Logf("%d consumers, %s: %d %s, the model %.1f±%.1f", n, w.label, f.of(got), f.name, mean, deviation)
			if math.Abs(float64(f.of(got))-mean) > 6*deviation+f.allowed*mean+1 {
				t.Errorf("%d consumers, %s: got %d %s, and %.1f±%.1f in the model", n, w.label, f.of(got), f.name, mean, deviation)
			}
		}
	}
}

// spread returns the mean and the standard deviation of a figure.
func spread(runs []*tally, figure func(*tally) float64) (mean, deviation float64) {
	var sum, squares float64
	for _, r := range runs {
		sum += figure(r)
	}
	mean = sum / float64(len(runs))
	for _, r := range runs {
		squares += (figure(r) - mean) * (figure(r) - mean)
	}
	return mean, math.Sqrt(squares / float64(len(runs)-1))
}
