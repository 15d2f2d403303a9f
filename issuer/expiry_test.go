package issuer_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

func TestExpiry(t *testing.T) {
	t.Parallel()
	key, err := newRing(t).SigningKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuedAt := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name     string
		lifetime time.Duration
		left     time.Duration // to the last expiry that the key may sign
		want     time.Duration // 0: none
	}{
		{"as asked", time.Hour, 2 * time.Hour, time.Hour},
		{"to the second", time.Hour, time.Hour, time.Hour},
		{"a second too long", time.Hour, time.Hour - time.Second, time.Hour - time.Second},
		{"a part of a second too long", time.Hour, time.Hour - time.Millisecond, time.Hour - time.Second},
		{"the shortest", 24 * time.Hour, time.Minute, time.Minute},
		{"the shortest, as asked", time.Minute, time.Minute, time.Minute},
		{"shorter than that", 24 * time.Hour, time.Minute - time.Millisecond, 0},
		{"a second shorter", time.Minute, time.Minute - time.Second, 0},
		{"nothing", time.Hour, 0, 0},
		{"less than nothing", time.Hour, -time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			key := *key
			// Elsewhere than in UTC, as a manifest may have it.
			key.LatestExpiry = issuedAt.Add(test.left).In(time.FixedZone("", 3600))
			got, err := issuer.ExpiryForTest(issuedAt, test.lifetime, &key)
			switch want := issuedAt.Add(test.want); {
			case test.want == 0:
				if !errors.Is(err, keys.ErrNoSigningKey) {
					t.Errorf("got %v, %v, want %v", got, err, keys.ErrNoSigningKey)
				}
			case err != nil || got != want:
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		})
	}
}

// Whoever asks for more than the key can vouch for gets what it can, and is
// told so.
func TestSessionEndsWithItsKey(t *testing.T) {
	t.Parallel()
	manifest := newManifest(t, jwk.ES256)
	manifest.Policy.MaxLifetime = time.Hour
	key := manifest.Keys[0]
	key.SignUntil = key.PublishAt.Add(time.Hour)
	key.PromisedUntil = key.SignUntil
	key.RemoveAt = key.SignUntil.Add(manifest.Policy.MaxLifetime + 2*manifest.Policy.Skew)
	ring := ringOf(t, manifest, nil)
	f := newFixture(t, func(o *fixtureOptions) { o.ring = ring })
	latest := key.RemoveAt.Add(-manifest.Policy.Skew)
	for _, test := range []struct {
		name, member string
		want         func(createdAt time.Time) time.Time
	}{
		{"more", `,"expires_in":86400`, func(time.Time) time.Time { return latest }},
		{"less", ``, func(createdAt time.Time) time.Time { return createdAt.Add(time.Hour) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			session := f.create(t, `{"customer_id":"`+customerID+`"`+test.member+`}`)
			want := test.want(instant(t, session.text(t, "created_at")))
			if got := instant(t, session.text(t, "expires_at")); !got.Equal(want) {
				t.Errorf("expires_at is %v, want %v", got, want)
			}
			exp := claims(t, session.text(t, "token"))["exp"]
			if exp != json.Number(strconv.FormatInt(want.Unix(), 10)) {
				t.Errorf("exp is %v, want %d", exp, want.Unix())
			}
			if a := f.portal(t, "introspect", session.text(t, "token")); a.status != http.StatusOK {
				t.Errorf("introspection: got %d %s, want 200", a.status, a.body)
			}
		})
	}
}

// What makes tokens does not rely on who asks for them.
func TestSigningRefusesToOutliveTheKey(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	key, err := newRing(t).SigningKey(now)
	if err != nil {
		t.Fatal(err)
	}
	for left, want := range map[time.Duration]error{time.Hour: nil, time.Hour - time.Second: keys.ErrNoSigningKey} {
		limited := *key
		limited.LatestExpiry = now.Add(left)
		if token, err := issuer.SignForTest(t.Context(), &limited, now); !errors.Is(err, want) || (token == "") != (want != nil) {
			t.Errorf("a token of an hour with a key for %v: got %d bytes, %v, want %v", left, len(token), err, want)
		}
	}
}
