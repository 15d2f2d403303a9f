package keys_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// pool hands out the same keys again and again: far more than a set holds.
type pool struct {
	keys []*keys.PrivateKey
	next int
}

func newPool(t testing.TB) *pool {
	t.Helper()
	p := &pool{}
	for range 64 {
		k, err := keys.GenerateKey(jwk.EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		p.keys = append(p.keys, k)
	}
	return p
}

func (p *pool) generate(jwk.Algorithm) (*keys.PrivateKey, error) {
	p.next++
	return p.keys[p.next%len(p.keys)], nil
}

// between returns whole seconds from low to high, small values as likely as
// large ones.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	span := high - low
	for r.IntN(2) == 0 {
		span /= 8
	}
	return low + time.Duration(r.Int64N(int64(span)+1)).Truncate(time.Second)
}

// randomPolicy is any that Validate allows, with the extremes among them.
func randomPolicy(r *rand.Rand) keys.Policy {
	p := keys.Policy{
		Algorithm:   jwk.EdDSA,
		Propagation: between(r, time.Second, day),
		Cache:       between(r, time.Minute, day),
		Skew:        between(r, 0, 5*time.Minute),
		MaxLifetime: between(r, time.Minute, day),
	}
	p.Lease = between(r, p.Propagation+p.Skew+time.Second, 366*day)
	p.RotationPeriod = between(r, p.Propagation+p.Cache+p.Skew, 366*day)
	return p
}

// TestRotateForACentury steps the clock by up to half a lease, through Rotate
// alone, for 100 years or, where leases are short, many of them.
func TestRotateForACentury(t *testing.T) {
	t.Parallel()
	const policies, most = 24, 25000
	century := 100 * 366 * day
	source := newPool(t)
	var steps, versions, longest, centuries int
	for seed := range uint64(policies) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := randomPolicy(r)
		if seed == 0 {
			p = keys.DefaultPolicy()
			p.Algorithm = jwk.EdDSA
		}
		begin := at(t, "2026-11-23T02:00:00Z")
		m := initial(t, p, begin, true)
		now := begin
		for n := 0; n < most && now.Sub(begin) < century; n++ {
			step := p.Lease / 2
			if r.IntN(4) > 0 {
				step = time.Duration(r.Int64N(int64(step) + 1))
			}
			now = now.Add(step)
			if m.CurrentAt(now) == nil {
				t.Fatalf("policy %d, %+v: nothing may sign at %v, before version %d", seed, p, now, m.Version+1)
			}
			rotated, err := keys.RotateWith(m, now, source.generate)
			if err != nil {
				t.Fatalf("policy %d, %+v: %v: %v", seed, p, now, err)
			}
			steps++
			if rotated == m {
				continue
			}
			versions++
			if v := keys.Check(m, rotated, now); v.Err() != nil {
				t.Fatalf("policy %d, %+v: %v: unsafe:\n%v", seed, p, now, v)
			}
			if m.CurrentAt(now) == nil {
				t.Fatalf("policy %d: nothing may sign at %v", seed, now)
			}
			m = rotated
			longest = max(longest, len(m.Keys))
			if len(m.Keys) > 4 {
				t.Fatalf("policy %d, %+v: %d keys at %v", seed, p, len(m.Keys), now)
			}
		}
		if now.Sub(begin) >= century {
			centuries++
		}
	}
	t.Logf("%d policies, %d of them for a century, %d runs, %d versions, at most %d keys",
		policies, centuries, steps, versions, longest)
	if centuries < policies/2 {
		t.Errorf("got %d centuries of %d policies, want half of them", centuries, policies)
	}
}

// TestRotateDaily is what an operator sees of the default policy: when each
// key signs, and that the next one is ready long before.
func TestRotateDaily(t *testing.T) {
	t.Parallel()
	p := keys.DefaultPolicy()
	begin := at(t, "2026-11-23T02:00:00Z")
	m := initial(t, p, begin, true)
	var takeovers []string
	current := m.Keys[0]
	for now := begin; now.Before(begin.Add(100 * day)); now = now.Add(day) {
		before := m
		var err error
		if m, err = keys.Rotate(m, now); err != nil {
			t.Fatal(err)
		}
		if m != before {
			for _, f := range keys.Check(before, m, now) {
				t.Errorf("%v: %v", now, f)
			}
		}
		// No private part in what is published: "d" is in each kind of it.
		if set := m.PublishedAt(now).AppendJSON(nil); bytes.Contains(set, []byte(`"d"`)) {
			t.Errorf("%v: the JWK Set has a private part", now)
		}
		if k := m.CurrentAt(now); k.ID() != current.ID() {
			takeovers = append(takeovers, now.Format(time.DateOnly))
			current = k
		}
		if soon := now.Add(p.Lease / 2); m.CurrentAt(soon) == nil {
			t.Errorf("%v: without another run, nothing would sign at %v", now, soon)
		}
	}
	if got, want := strings.Join(takeovers, " "), "2026-12-23 2027-01-22 2027-02-21"; got != want {
		t.Errorf("takeovers: got %s, want %s", got, want)
	}
}

func TestRotateIsIdempotent(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	before := m.Encode()
	for _, text := range []string{
		"2026-11-23T02:00:00Z", "2026-12-03T02:00:00Z", "2026-12-23T02:00:00Z", "2026-12-29T02:00:00Z", "2028-01-01T00:00:00Z",
	} {
		now := at(t, text).Add(time.Millisecond)
		once, err := keys.Rotate(m, now)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := keys.Rotate(once, now)
		if err != nil || twice != once {
			t.Errorf("%s: got version %d, then %d, %v", text, once.Version, twice.Version, err)
		}
		if !bytes.Equal(m.Encode(), before) {
			t.Fatalf("%s: rotating changed its argument", text)
		}
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, at string
		change   func(m *keys.Manifest)
		want     string // states after it, the algorithm of a new key, and for how long the current one signs
	}{
		{"nothing due", "2026-11-24T02:00:00Z", func(*keys.Manifest) {}, "version 7: r c n X r, 840h0m0s"},
		{"dead keys", "2026-12-03T02:00:00Z", func(*keys.Manifest) {}, "version 8: c n r, 624h0m0s"},
		{"next key", "2026-12-23T02:00:00Z", func(*keys.Manifest) {}, "version 8: r c r nES256, 168h0m0s"},
		{"lease", "2026-12-27T02:00:00Z", func(*keys.Manifest) {}, "version 8: r c nES256, 168h0m0s"},
		{"lease that has ended", "2026-12-30T12:00:00Z", func(*keys.Manifest) {}, "version 8: r c nES256, 168h0m0s"},
		{"newest key about to leave", "2026-12-31T02:00:00Z", func(*keys.Manifest) {}, "version 8: c r n nES256, 168h0m0s"},
		{"all about to leave", "2026-12-31T02:00:00Z", func(m *keys.Manifest) { m.Keys = m.Keys[next : next+1] }, "version 8: r n nES256, none"},
		{"all gone", "2028-01-01T02:00:00Z", func(*keys.Manifest) {}, "version 8: n nES256, none"},
		{"algorithm", "2026-12-23T02:00:00Z", func(m *keys.Manifest) { m.Policy.Algorithm = jwk.RS256 }, "version 8: r c r nRS256, 168h0m0s"},
		{"next key revoked", "2026-11-24T02:00:00Z", func(m *keys.Manifest) { m.Keys[next].RevokedAt = m.CreatedAt }, "version 8: r c X X r nES256, 840h0m0s"},
		{"all revoked but the next", "2026-11-24T02:00:00Z", func(m *keys.Manifest) {
			m.Keys[current].RevokedAt, m.Keys[retired].RevokedAt = m.CreatedAt, m.CreatedAt
		}, "version 8: X X c X r nES256, 864h0m0s"},
		{"in a device", "2026-12-23T02:00:00Z", func(m *keys.Manifest) {
			m.Keys[next].Private, m.Keys[next].Signer = nil, "pkcs11:object=next"
		}, "version 8: r c r, 168h0m0s"},
		{"only imported", "2026-11-24T02:00:00Z", func(m *keys.Manifest) { m.Keys = m.Keys[imported:] }, "version 8: r n nES256, none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			now := at(t, tc.at)
			m := parse(t, golden(t)).Clone()
			tc.change(m)
			rotated, err := keys.Rotate(m, now)
			if err != nil {
				t.Fatal(err)
			}
			got := states(rotated, now)
			if k := rotated.Keys[len(rotated.Keys)-1]; k.PublishAt.Equal(now) {
				got += string(k.Public.Algorithm())
			}
			lease := "none"
			if k := rotated.CurrentAt(now); k != nil {
				lease = k.SignUntil.Sub(now).String()
			}
			if got := fmt.Sprintf("version %d: %s, %s", rotated.Version, got, lease); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			parse(t, rotated.Encode())
		})
	}
}

func TestRotateRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, at, want string
		change         func(m *keys.Manifest)
	}{
		{"invalid", "2026-11-24T02:00:00Z", "version is 0", func(m *keys.Manifest) { m.Version = 0 }},
		{"public copy", "2026-11-24T02:00:00Z", "public copy", func(m *keys.Manifest) {
			for _, k := range m.Keys {
				k.Private, k.Signer = nil, ""
			}
		}},
		{"clock behind", "2026-11-22T02:00:00Z", "correct the clock", func(m *keys.Manifest) { m.Keys = m.Keys[current:next] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := parse(t, golden(t)).Clone()
			tc.change(m)
			rotated, err := keys.Rotate(m, at(t, tc.at))
			if rotated != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want an error with %q", rotated, err, tc.want)
			}
		})
	}
}

func ExampleRotate() {
	begin := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	manifest, err := keys.Init(keys.DefaultPolicy(), begin, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, days := range []int{1, 30} {
		now := begin.AddDate(0, 0, days)
		rotated, err := keys.Rotate(manifest, now)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("day %d: version %d, %d keys, %v\n",
			days, rotated.Version, len(rotated.Keys), keys.Check(manifest, rotated, now))
	}
	// Output:
	// day 1: version 1, 2 keys, safe
	// day 30: version 2, 3 keys, safe
}

// TestDraft plans what the same change of the manifest itself does, without
// generating a key.
func TestDraft(t *testing.T) {
	t.Parallel()
	source := newPool(t)
	none := func(jwk.Algorithm) (*keys.PrivateKey, error) {
		t.Error("a key was generated")
		return source.generate("")
	}
	m, now := installation(t, 45)
	now = now.AddDate(0, 0, 16)
	id := m.CurrentAt(now).ID()
	for name, change := range map[string]func(*keys.Manifest, func(jwk.Algorithm) (*keys.PrivateKey, error)) (*keys.Manifest, error){
		"rotate": func(m *keys.Manifest, generate func(jwk.Algorithm) (*keys.PrivateKey, error)) (*keys.Manifest, error) {
			return keys.RotateWith(m, now, generate)
		},
		"add": func(m *keys.Manifest, generate func(jwk.Algorithm) (*keys.PrivateKey, error)) (*keys.Manifest, error) {
			return keys.AddWith(m, now, generate)
		},
		"revoke": func(m *keys.Manifest, generate func(jwk.Algorithm) (*keys.PrivateKey, error)) (*keys.Manifest, error) {
			return keys.RevokeWith(m, now, id, generate)
		},
	} {
		made := must(t)(change(m, source.generate))
		draft := must(t)(change(m.Draft(), none))
		if got, want := fmt.Sprint(keys.Check(m, draft, now)), fmt.Sprint(keys.Check(m, made, now)); got != want {
			t.Errorf("%s: the draft is judged as %s, want %s", name, got, want)
		}
		planned := 0
		for i, k := range draft.Keys {
			want := *made.Keys[i]
			if k.Public == nil {
				planned++
				want.Public, want.Private = nil, nil
			}
			if *k != want {
				t.Errorf("%s: planned %+v, want %+v", name, *k, want)
			}
		}
		if planned == 0 {
			t.Errorf("%s: no new key is planned", name)
		}
		if err := draft.Validate(); err == nil || !strings.Contains(err.Error(), "is a draft") {
			t.Errorf("%s: the draft is valid: %v", name, err)
		}
		if _, err := keys.NewRing(draft, nil); err == nil {
			t.Errorf("%s: the draft can sign", name)
		}
	}
	if draft := m.Draft(); must(t)(keys.Rotate(draft, m.CreatedAt)) != draft {
		t.Error("a draft of which nothing is due is not returned as it is")
	}
}

func TestInitDraft(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-11-23T02:00:00Z")
	made := initial(t, keys.DefaultPolicy(), now, true)
	draft := must(t)(keys.Init(keys.DefaultPolicy(), now, true, keys.Key{}, keys.Key{}))
	if len(draft.Keys) != len(made.Keys) {
		t.Fatalf("%d keys are planned, want %d", len(draft.Keys), len(made.Keys))
	}
	for i, k := range draft.Keys {
		want := *made.Keys[i]
		want.Public, want.Private = nil, nil
		if *k != want {
			t.Errorf("planned %+v, want %+v", *k, want)
		}
	}
	if v := keys.Check(nil, draft, now); v.Err() != nil {
		t.Errorf("the draft is judged as %v", v)
	}
	if draft.Validate() == nil {
		t.Error("the draft is valid")
	}
}
