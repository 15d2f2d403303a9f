package issuer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
)

// rare is a rate at which no second request passes while a test runs.
const rare = 0.001

func limited(change func(*issuer.Config)) func(*fixtureOptions) {
	return func(o *fixtureOptions) { o.change = change }
}

// checkTooMany fails unless a is the 429: without a body, and saying when.
func checkTooMany(t *testing.T, a *answer) {
	t.Helper()
	if a.status != http.StatusTooManyRequests || len(a.body) != 0 || a.header.Get("Content-Type") != "" {
		t.Fatalf("got %d %q, want 429 without a body", a.status, a.body)
	}
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > 1/rare {
		t.Errorf("Retry-After is %q, want whole seconds up to %v", a.header.Get("Retry-After"), 1/rare)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Length") != "0" {
		t.Errorf("the headers are %v, want no-store and the length 0", a.header)
	}
}

func TestKeyLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, limited(func(c *issuer.Config) { c.KeyRate, c.KeyBurst = rare, 2 }))
	good := `{"customer_id":"` + customerID + `"}`
	token := f.createAny(t).text(t, "token")
	// A request that fails counts like any other, and all endpoints together.
	if a := f.post(t, f.secret, `{}`); a.status != http.StatusUnprocessableEntity {
		t.Fatalf("the second request: got %d %s, want 422", a.status, a.body)
	}
	checkTooMany(t, f.post(t, f.secret, good))
	checkTooMany(t, f.ask(t, f.secret, "token="+token))
	for name, secret := range map[string]string{"of the organization": f.writeOnly, "of another one": f.foreign} {
		if a := f.post(t, secret, good); a.status == http.StatusTooManyRequests {
			t.Errorf("another key %s is limited, too", name)
		}
	}
	if a := f.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("the holder of a token is limited, too: %d", a.status)
	}
}

// The holder of a good token cannot make the server look a customer up as often
// as they like: neither with one session, nor with all that they have.
func TestSessionLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, limited(func(c *issuer.Config) { c.SessionRate, c.SessionBurst = rare, 2 }))
	token, other := f.createAny(t).text(t, "token"), f.createAny(t).text(t, "token")
	for _, call := range []string{"user", "introspect"} {
		if a := f.portal(t, call, token); a.status != http.StatusOK {
			t.Fatalf("%s: got %d %s, want 200", call, a.status, a.body)
		}
	}
	checkTooMany(t, f.portal(t, "user", token))
	checkTooMany(t, f.portal(t, "introspect", token))
	if a := f.portal(t, "user", other); a.status != http.StatusOK {
		t.Errorf("another session of the same customer: got %d, want 200", a.status)
	}
	if a := f.ask(t, f.secret, "token="+token); a.status != http.StatusOK {
		t.Errorf("a service that asks about the token: got %d, want 200", a.status)
	}
	f.createAny(t)
	metrics := f.metricsAfter(t)
	if !strings.Contains(metrics, `customersession_rate_limited_total{by="session"} 2`) {
		t.Error("the metrics do not say that a session was limited twice")
	}
}

func TestSessionAddressLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, limited(func(c *issuer.Config) {
		c.SessionRate, c.SessionBurst, c.AddressRate, c.AddressBurst = rare, 2, rare, 3
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}))
	ask := func(token, address string) *answer {
		return f.do(t, http.MethodGet, portalPath+"user", "", "Authorization", "Bearer "+token, "X-Forwarded-For", address)
	}
	var tokens [3]string
	for i := range tokens {
		tokens[i] = f.createAny(t).text(t, "token")
	}
	var passed int
	// What the limit of a session refuses is not held against its address.
	for range 50 {
		if ask(tokens[0], "192.0.2.1").status == http.StatusOK {
			passed++
		}
	}
	if a := ask(tokens[1], "192.0.2.1"); passed != 2 || a.status != http.StatusOK {
		t.Errorf("%d requests of one session passed, and the next session got %d; want 2 and 200", passed, a.status)
	}
	checkTooMany(t, ask(tokens[2], "192.0.2.1"))
	if a := ask(tokens[2], "192.0.2.2"); a.status != http.StatusOK {
		t.Errorf("from another address: got %d, want 200", a.status)
	}
}

// A busy holder of a token reaches the directory as often as the default limit
// allows, and others go on.
func TestSessionLimitProtectsTheDirectory(t *testing.T) {
	t.Parallel()
	directory, asked := newDirectory(t), atomic.Int64{}
	f := newFixture(t, limited(func(c *issuer.Config) { c.SessionRate, c.SessionBurst = 5, 20 }),
		func(o *fixtureOptions) {
			o.directory = directoryFunc(func(ctx context.Context, q customers.Query) (*customers.Customer, error) {
				if q.ID.String() == customerID {
					asked.Add(1)
				}
				return directory.Find(ctx, q)
			})
		})
	token := f.createAny(t).text(t, "token")
	start, handler, statuses := time.Now(), f.server.Handler(), map[int]int{}
	for i := range 10_000 {
		r := httptest.NewRequest(http.MethodGet, portalPath+"user", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		statuses[w.Code]++
		if i%1000 == 0 {
			f.create(t, `{"customer_id":"`+otherCustomerID+`"}`)
		}
	}
	allowed := 20 + int(5*time.Since(start).Seconds()) + 1
	if statuses[http.StatusOK] > allowed || statuses[http.StatusOK]+statuses[http.StatusTooManyRequests] != 10_000 {
		t.Errorf("got %v, want at most %d times 200, and 429", statuses, allowed)
	}
	if n := int(asked.Load()) - 1; n > allowed {
		t.Errorf("the directory was asked %d times for the user, want at most %d", n, allowed)
	}
}

func TestAnonymousLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, limited(func(c *issuer.Config) { c.AnonymousRate, c.AnonymousBurst = rare, 2 }))
	for range 2 {
		if a := f.post(t, "wrong", `{}`); a.status != http.StatusUnauthorized {
			t.Fatalf("got %d %s, want 401", a.status, a.body)
		}
	}
	checkTooMany(t, f.post(t, "wrong", `{}`))
	checkTooMany(t, f.do(t, http.MethodPost, createPath, `{}`))
	checkTooMany(t, f.ask(t, f.expired, "token=x"))
	checkTooMany(t, f.portal(t, "introspect", "wrong"))
	checkTooMany(t, f.portal(t, "user", f.forge(t, nil, map[string]any{"org": nil})))
	// Nobody is asked to prove anything for what is public, and who has a key
	// is not anonymous.
	if a := f.do(t, http.MethodGet, "/.well-known/jwks.json", ""); a.status != http.StatusOK {
		t.Errorf("the key set: got %d, want 200", a.status)
	}
	if a := f.portal(t, "introspect", f.createAny(t).text(t, "token")); a.status != http.StatusOK {
		t.Errorf("a good token: got %d, want 200", a.status)
	}
}

func TestNoLimitByDefault(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 50 {
		f.createAny(t)
		if a := f.post(t, "wrong", `{}`); a.status != http.StatusUnauthorized {
			t.Fatalf("got %d %s, want 401", a.status, a.body)
		}
	}
}

// The log names clients in one form, and repeats nothing else of the header.
func TestForwardedForInTheLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t, limited(func(c *issuer.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}))
	asked := map[string]string{} // by request ID
	for sent, want := range map[string]string{
		"192.0.2.1:4711":         "192.0.2.1",
		"[2001:db8::1]:443":      "2001:db8::1",
		"::ffff:192.0.2.1":       "192.0.2.1",
		"fe80::1%" + f.secret:    "fe80::1",
		f.secret:                 "127.0.0.1",
		f.secret + ", 192.0.2.1": "192.0.2.1",
	} {
		a := f.do(t, http.MethodGet, "/.well-known/jwks.json", "", "X-Forwarded-For", sent)
		asked[a.header.Get("X-Request-Id")] = want
	}
	f.shutdown() // which also looks for the secret
	for id, want := range asked {
		checkLine(t, f.requestLine(t, id), map[string]any{"client": want})
	}
}

// Who sends X-Forwarded-For can claim to be anybody, unless it is a proxy that
// the operator named.
func TestForwardedFor(t *testing.T) {
	t.Parallel()
	loopback, inner := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	for _, test := range []struct {
		name          string
		trusted       []netip.Prefix
		first, second string
		same          bool // the two requests are from one client
	}{
		{"not trusted", nil, "192.0.2.1", "192.0.2.2", true},
		{"another proxy trusted", []netip.Prefix{inner}, "192.0.2.1", "192.0.2.2", true},
		{"two clients", []netip.Prefix{loopback}, "192.0.2.1", "192.0.2.2", false},
		{"one client", []netip.Prefix{loopback}, "192.0.2.1", "192.0.2.1", true},
		{"one client who claims to be two", []netip.Prefix{loopback}, "198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.1", true},
		{"two clients behind two proxies", []netip.Prefix{loopback, inner}, "192.0.2.1, 10.0.0.1", "192.0.2.2, 10.0.0.1", false},
		{"one IPv6 network", []netip.Prefix{loopback}, "2001:db8::1", "2001:db8::2", true},
		{"two IPv6 networks", []netip.Prefix{loopback}, "2001:db8::1", "2001:db8:0:1::1", false},
		{"two clients with ports", []netip.Prefix{loopback}, "192.0.2.1:1", "192.0.2.2:1", false},
		{"one client with two ports", []netip.Prefix{loopback}, "192.0.2.1:1", "192.0.2.1:2", true},
		{"one client, also as IPv6", []netip.Prefix{loopback}, "192.0.2.1", "::ffff:192.0.2.1", true},
		{"two IPv6 networks with ports", []netip.Prefix{loopback}, "[2001:db8::1]:443", "[2001:db8:0:1::1]:443", false},
		{"no address", []netip.Prefix{loopback}, "nonsense", "other nonsense", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, limited(func(c *issuer.Config) {
				c.AnonymousRate, c.AnonymousBurst, c.TrustedProxies = rare, 1, test.trusted
			}))
			ask := func(from string) *answer {
				return f.do(t, http.MethodPost, createPath, `{}`, "X-Forwarded-For", from, "X-Real-Ip", from)
			}
			if a := ask(test.first); a.status != http.StatusUnauthorized {
				t.Fatalf("the first request: got %d %s, want 401", a.status, a.body)
			}
			if a := ask(test.second); test.same {
				checkTooMany(t, a)
			} else if a.status != http.StatusUnauthorized {
				t.Errorf("the second request: got %d %s, want 401", a.status, a.body)
			}
		})
	}
}
