package keys_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// installation returns a manifest that was rotated daily for that many days: after
// 45, the second key signs, the first is gone, and the third waits.
func installation(t testing.TB, days int) (*keys.Manifest, time.Time) {
	t.Helper()
	now := at(t, "2026-11-23T02:00:00Z")
	m := initial(t, keys.DefaultPolicy(), now, true)
	for range days {
		now = now.Add(day)
		var err error
		if m, err = keys.Rotate(m, now); err != nil {
			t.Fatal(err)
		}
	}
	return m, now
}

// inState returns the only key that is in that state.
func inState(t testing.TB, m *keys.Manifest, state keys.State, now time.Time) *keys.Key {
	t.Helper()
	var found []*keys.Key
	for _, k := range m.Keys {
		if m.StateAt(k, now) == state {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d keys are %v, want one", len(found), state)
	}
	return found[0]
}

// key returns the key with that ID.
func key(t testing.TB, m *keys.Manifest, id string) *keys.Key {
	t.Helper()
	i := slices.IndexFunc(m.Keys, func(k *keys.Key) bool { return k.ID() == id })
	if i < 0 {
		t.Fatalf("there is no key %q", id)
	}
	return m.Keys[i]
}

// must returns what a command makes of a manifest.
func must(t testing.TB) func(*keys.Manifest, error) *keys.Manifest {
	t.Helper()
	return func(next *keys.Manifest, err error) *keys.Manifest {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
}

func TestActivate(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	before, next := inState(t, m, keys.Current, now), inState(t, m, keys.Next, now)
	for _, id := range []string{"", next.ID()} {
		activated := must(t)(keys.Activate(m, now, id))
		if got := activated.CurrentAt(now); got.ID() != next.ID() {
			t.Errorf("%q: %s signs, want the next key, at once", id, got.ID())
		}
		if got := activated.StateAt(key(t, activated, before.ID()), now); got != keys.Retired {
			t.Errorf("the key before is %v, want retired", got)
		}
		if standby := activated.Keys[len(activated.Keys)-1]; activated.StateAt(standby, now) != keys.Next {
			t.Error("there is no next key any more")
		}
	}
}

// A key that was published a minute ago cannot sign yet: it takes over as soon
// as every cache can hold it, and until then the other one signs.
func TestActivateTooEarly(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	m = must(t)(keys.Add(m, now, nil))
	added := m.Keys[len(m.Keys)-1]
	soon := now.Add(time.Minute)
	activated := must(t)(keys.Activate(m, soon, added.ID()))
	p := m.Policy
	want := added.PublishAt.Add(p.Propagation + p.Cache + p.Skew)
	if got := key(t, activated, added.ID()).ActivateAt; !got.Equal(want) {
		t.Errorf("it signs from %v, want %v", got, want)
	}
	if activated.CurrentAt(soon) == nil || activated.CurrentAt(want).ID() != added.ID() {
		t.Error("signing does not go on until it takes over")
	}
}

func TestActivateRefuses(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	current, next := inState(t, m, keys.Current, now).ID(), inState(t, m, keys.Next, now).ID()
	early := must(t)(keys.Activate(m, now, ""))
	revoked := must(t)(keys.Revoke(m, now, next))
	imported := must(t)(keys.Import(m, now, now.Add(day), foreign(t)))
	for _, tc := range []struct {
		name, id, want string
		m              *keys.Manifest
	}{
		{"unknown", "nobody", `there is no key "nobody"; there are ` + m.Keys[0].ID(), m},
		{"retired", current, "a newer key took over; roll back instead", early},
		{"revoked", next, "it is revoked", revoked},
		{"imported", "old-key", "imported, without a private part", imported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := keys.Activate(tc.m, now, tc.id)
			if got != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want an error with %q", got, err, tc.want)
			}
		})
	}
	if got := must(t)(keys.Activate(m, now, current)); got != m {
		t.Errorf("activating the current key makes version %d", got.Version)
	}
}

func TestRevokeCurrent(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	now = now.Add(500 * time.Millisecond) // not a whole second
	stolen, next := inState(t, m, keys.Current, now), inState(t, m, keys.Next, now)
	revoked := must(t)(keys.Revoke(m, now, stolen.ID()))
	if got := revoked.CurrentAt(now); got == nil || got.ID() != next.ID() {
		t.Errorf("got %v to sign, want the next key, at once", got)
	}
	if got := revoked.PublishedKey(stolen.ID(), now); got != nil {
		t.Error("the revoked key is still published")
	}
	if revoked.Keys[len(revoked.Keys)-1].ID() == next.ID() {
		t.Error("there is no next key any more")
	}
	// Revoking it again changes nothing.
	if again := must(t)(keys.Revoke(revoked, now.Add(time.Hour), stolen.ID())); again != revoked {
		t.Errorf("revoking again makes version %d of %d", again.Version, revoked.Version)
	}
}

// Revoking a key that does not sign leaves the one that signs where it is.
func TestRevokeNext(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	current, next := inState(t, m, keys.Current, now), inState(t, m, keys.Next, now)
	revoked := must(t)(keys.Revoke(m, now, next.ID()))
	if got := revoked.CurrentAt(now); got.ID() != current.ID() {
		t.Errorf("%s signs, want %s as before", got.ID(), current.ID())
	}
	if got := revoked.Keys[len(revoked.Keys)-1]; got.ID() == next.ID() || revoked.StateAt(got, now) != keys.Next {
		t.Error("no other key takes its place")
	}
}

// When all keys are stolen, signing stops until every cache can hold a new one.
func TestRevokeAll(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	now = now.Add(500 * time.Millisecond)
	var all []string
	for _, k := range m.Keys {
		all = append(all, k.ID())
	}
	revoked := must(t)(keys.Revoke(m, now, all...))
	p := m.Policy
	lead := p.Propagation + p.Cache + p.Skew
	if got := revoked.CurrentAt(now); got != nil {
		t.Errorf("%s signs, want nothing to", got.ID())
	}
	if got := revoked.CurrentAt(now.Add(lead + time.Second)); got == nil {
		t.Errorf("nothing signs %v later, want the new key to", lead)
	}
	verdict := keys.Check(m, revoked, now)
	if verdict.Err() != nil || !strings.Contains(verdict.String(), "no key may sign from") || !strings.Contains(verdict.String(), "until") {
		t.Errorf("got the verdict %v, want a warning that nothing signs", verdict)
	}
	if _, err := keys.Revoke(m, now); err == nil {
		t.Error("revoking nothing is no mistake")
	}
}

func TestRollback(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 30)
	bad := m.CurrentAt(now)
	m, err := keys.Rotate(m, now.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(3 * time.Hour)
	before := inState(t, m, keys.Retired, now)
	back := must(t)(keys.Rollback(m, now))
	if got := back.CurrentAt(now); got == nil || got.ID() != before.ID() {
		t.Fatalf("got %v to sign, want the key before", got)
	}
	if got := back.StateAt(key(t, back, bad.ID()), now); got != keys.Retired {
		t.Errorf("the bad key is %v, want retired: its tokens are alive", got)
	}
	// It stays so, whatever is rotated afterwards, until the next key takes over.
	later, days := back, 0
	for later.CurrentAt(now).ID() == before.ID() {
		now, days = now.Add(day), days+1
		later = must(t)(keys.Rotate(later, now))
	}
	if got := later.CurrentAt(now).ID(); got == bad.ID() || days < 20 {
		t.Errorf("after %d days %s signs, want a new key after a month", days, got)
	}
	// Until then it could be taken back.
	forward := must(t)(keys.Activate(back, at(t, "2026-12-23T06:00:00Z"), bad.ID()))
	if got := forward.CurrentAt(at(t, "2026-12-23T06:00:00Z")); got.ID() != bad.ID() {
		t.Errorf("%s signs, want the key that was rolled back", got.ID())
	}
}

func TestRollbackRefuses(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	for _, tc := range []struct {
		name, want string
		now        time.Time
	}{
		{"too late", "no earlier key is still held", now},
		{"nothing signs", "no key signs", now.Add(365 * day)},
	} {
		if got, err := keys.Rollback(m, tc.now); got != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", tc.name, got, err, tc.want)
		}
	}
	// At any instant, and not only at whole seconds.
	early := must(t)(keys.Activate(m, now, ""))
	if _, err := keys.Rollback(early, now.Add(time.Hour+102*time.Millisecond)); err != nil {
		t.Errorf("rolling back an early activation: %v", err)
	}
	fresh := must(t)(keys.Activate(m, now, ""))
	if _, err := keys.Rollback(fresh, now); err == nil || !strings.Contains(err.Error(), "this very second") {
		t.Errorf("got %v, want it to ask for patience", err)
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	last := inState(t, m, keys.Next, now)
	added := must(t)(keys.Add(m, now, nil))
	k := added.Keys[len(added.Keys)-1]
	if got := added.StateAt(k, now); got != keys.Next || k.ActivateAt.Sub(last.ActivateAt) != m.Policy.RotationPeriod {
		t.Errorf("it is %v and signs %v after the next one, want one period after it", got, k.ActivateAt.Sub(last.ActivateAt))
	}
	public := newPrivate(t).Public()
	device := must(t)(keys.Add(m, now, &keys.Key{Signer: "pkcs11:token=sessions;object=2026", Public: public}))
	k = device.Keys[len(device.Keys)-1]
	if k.Private != nil || k.Signer == "" || k.ID() != public.ID() {
		t.Errorf("got %+v, want the key of the device", k)
	}
	for name, tc := range map[string]struct {
		remote keys.Key
		want   string
	}{
		"without public key": {keys.Key{Signer: "pkcs11:object=x"}, "public key, is missing"},
		"twice":              {keys.Key{Signer: "pkcs11:object=x", Public: last.Public}, "exists already"},
		"with a PIN":         {keys.Key{Signer: "pkcs11:object=x?pin-value=1234", Public: public}, "must not hold a PIN"},
	} {
		if got, err := keys.Add(m, now, &tc.remote); got != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", name, got, err, tc.want)
		}
	}
}

func TestInitWithRemotes(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-11-23T02:00:00Z")
	first := keys.Key{Signer: "pkcs11:object=1", Public: newPrivate(t).Public()}
	second := keys.Key{Signer: "pkcs11:object=2", Public: newPrivate(t).Public()}
	m := must(t)(keys.Init(keys.DefaultPolicy(), now, true, first, second))
	if got := m.CurrentAt(now); got.ID() != first.Public.ID() || got.Signer != first.Signer || got.Private != nil {
		t.Errorf("got %+v to sign, want the first", got)
	}
	if got := inState(t, m, keys.Next, now); got.ID() != second.Public.ID() {
		t.Errorf("got %s next, want the second", got.ID())
	}
	if got := must(t)(keys.Init(keys.DefaultPolicy(), now, true, first)); len(got.Keys) != 1 {
		t.Errorf("got %d keys of one, want it alone", len(got.Keys))
	}
	if _, err := keys.Init(keys.DefaultPolicy(), now, true, first, second, first); err == nil {
		t.Error("three keys are accepted")
	}
	if _, err := keys.Init(keys.DefaultPolicy(), now, true, keys.Key{Signer: "pkcs11:object=1"}); err == nil {
		t.Error("a key without its public half is accepted")
	}
}

func newPrivate(t testing.TB) *keys.PrivateKey {
	t.Helper()
	private, err := keys.GenerateKey(jwk.ES256)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// foreign is a key of another issuer.
func foreign(t testing.TB) *jwk.Key {
	t.Helper()
	return newPrivate(t).Public().WithID("old-key")
}

func TestImport(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	old := foreign(t)
	imported := must(t)(keys.Import(m, now, now.Add(day), old))
	if imported.PublishedKey("old-key", now) == nil || imported.PublishedKey("old-key", now.Add(day)) != nil {
		t.Error("it is not published for just that day")
	}
	if got, want := imported.CurrentAt(now).ID(), m.CurrentAt(now).ID(); got != want {
		t.Errorf("%s signs, want %s", got, want)
	}
	if dropped := must(t)(keys.Rotate(imported, now.Add(day))); len(dropped.Keys) != len(m.Keys) {
		t.Error("it is not dropped afterwards")
	}
	if _, err := keys.Import(imported, now, now.Add(day), foreign(t)); err == nil || !strings.Contains(err.Error(), "is another key") {
		t.Errorf("got %v, want another key of that ID refused", err)
	}
	// All of a saved JWK Set may be imported: what is there already stays.
	if same := must(t)(keys.Import(imported, now, now.Add(day), old, m.CurrentAt(now).Public)); same != imported {
		t.Errorf("importing what is there makes version %d", same.Version)
	}
	longer := must(t)(keys.Import(imported, now, now.Add(2*day), old))
	if longer.PublishedKey("old-key", now.Add(day)) == nil {
		t.Error("importing it again does not keep it longer")
	}
	if _, err := keys.Import(m, now, now.Add(-day), foreign(t)); err == nil {
		t.Error("a key is imported that is removed already")
	}
}

func TestSetPolicy(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	p := m.Policy
	if same := must(t)(keys.SetPolicy(m, now, p)); same != m {
		t.Errorf("the same policy makes version %d", same.Version)
	}
	p.Algorithm = jwk.EdDSA
	changed := must(t)(keys.SetPolicy(m, now, p))
	added := must(t)(keys.Add(changed, now, nil))
	if got := added.Keys[len(added.Keys)-1].Public.Algorithm(); got != jwk.EdDSA {
		t.Errorf("a new key is for %s, want EdDSA", got)
	}
	p.Lease = 0
	if _, err := keys.SetPolicy(m, now, p); err == nil || !strings.Contains(err.Error(), "lease is 0s") {
		t.Errorf("got %v, want the policy refused", err)
	}
	// Longer tokens than the keys were made for: they stay too short.
	p = m.Policy
	p.Cache = 12 * time.Hour
	m = must(t)(keys.Add(m, now, nil))
	m = must(t)(keys.Activate(m, now, m.Keys[len(m.Keys)-1].ID()))
	if _, err := keys.SetPolicy(m, now, p); err == nil || !strings.Contains(err.Error(), "rule-1") && !strings.Contains(err.Error(), "rule 1") {
		t.Errorf("got %v, want it to say which key is published too late for such caches", err)
	}
}

func TestTokensOf(t *testing.T) {
	t.Parallel()
	m, now := installation(t, 45)
	current, next := inState(t, m, keys.Current, now), inState(t, m, keys.Next, now)
	from, expiry, alive := m.TokensOf(current, now)
	if want := now.Add(-day); !alive || !from.Equal(want) || !expiry.Equal(now.Add(day)) {
		t.Errorf("current: got %v, %v, %v", from, expiry, alive)
	}
	if _, _, alive := m.TokensOf(next, now); alive {
		t.Error("a key that never signed has tokens")
	}
	m, now = installation(t, 30)
	now = now.Add(12 * time.Hour)
	retired := inState(t, m, keys.Retired, now)
	if _, expiry, alive := m.TokensOf(retired, now); !alive || !expiry.Equal(m.CurrentAt(now).ActivateAt.Add(m.Policy.Skew+day)) {
		t.Errorf("retired: got %v, %v, want its last token to be alive", expiry, alive)
	}
	imported := must(t)(keys.Import(m, now, now.Add(day), foreign(t)))
	if _, expiry, alive := imported.TokensOf(key(t, imported, "old-key"), now.Add(time.Minute)); !alive || !expiry.Equal(now.Add(day)) {
		t.Errorf("imported: got %v, %v", expiry, alive)
	}
}

// TestOperator runs random commands at random times. Whatever they are, no step
// is unsafe, signing stops for no reason but a revocation, and it comes back.
func TestOperator(t *testing.T) {
	t.Parallel()
	const lives, steps = 40, 200
	source := newPool(t)
	done := map[string]int{}
	for seed := range uint64(lives) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := randomPolicy(r)
		now := at(t, "2026-11-23T02:00:00Z")
		m := initial(t, p, now, true)
		excused := now // until when a revocation may be the reason
		for range steps {
			now = now.Add(time.Duration(r.Int64N(int64(p.Lease/2) + 1)))
			if m.CurrentAt(now) == nil && now.After(excused) {
				t.Fatalf("life %d, %+v: nothing signs at %v", seed, p, now)
			}
			name, next, err := operate(r, m, now, source.generate)
			if err == nil {
				done[name]++
				if v := keys.Check(m, next, now); v.Err() != nil {
					t.Fatalf("life %d, %s at %v: unsafe:\n%v", seed, name, now, v)
				}
				m = next
			} // else it was refused, which is safe
			if name == "revoke" {
				excused = now.Add(p.Propagation + p.Cache + p.Skew + time.Second)
			}
			m = must(t)(keys.RotateWith(m, now, source.generate))
		}
	}
	t.Log(done)
	for _, name := range []string{"rotate", "activate", "revoke", "rollback", "add"} {
		if done[name] < lives {
			t.Errorf("%s was done %d times only", name, done[name])
		}
	}
}

func operate(
	r *rand.Rand, m *keys.Manifest, now time.Time, generate func(jwk.Algorithm) (*keys.PrivateKey, error),
) (name string, next *keys.Manifest, err error) {
	id := m.Keys[r.IntN(len(m.Keys))].ID()
	switch r.IntN(8) {
	case 0:
		next, err = keys.ActivateWith(m, now, id, generate)
		return "activate", next, err
	case 1:
		next, err = keys.RevokeWith(m, now, id, generate)
		return "revoke", next, err
	case 2, 3:
		next, err = keys.RollbackWith(m, now, generate)
		return "rollback", next, err
	case 4:
		if len(m.Keys) > 16 {
			return "", nil, fmt.Errorf("%d keys are enough", len(m.Keys))
		}
		next, err = keys.AddWith(m, now, generate)
		return "add", next, err
	default:
		next, err = keys.RotateWith(m, now, generate)
		return "rotate", next, err
	}
}
