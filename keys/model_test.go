package keys_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// The model is a small world in which everything that may happen does happen,
// in every order: a writer, two issuers, and consumers that ask and cache.
// Time goes by in ticks of a minute, as policies allow no less. The schedule
// and the check are the real ones.
//
// Consumers and tokens change nothing for the others, so not each is followed,
// but the worst of them: for each key, how late a token of it may expire, and
// when a consumer could last have learned that there is no such key. That
// covers two consumers, and any number.
const (
	propagation = 1 // ticks: P, C, S and T
	cache       = 1
	skew        = 1
	lifetime    = 1
	lead        = propagation + cache + skew
	retention   = lifetime + 2*skew

	// Two keys at first, then two a version at most.
	modelKeys = 8
	never     = -100
)

// A world is what holds throughout a search.
type world struct {
	offsets [2]int // by how much the clocks of the issuers are ahead
	writer  int    // and that of the writer
	writes  int8   // how often it may write
	horizon int8   // for how many ticks

	// commands says that the writer does nothing but run the commands.
	commands bool

	tolerated []string // rules that may be broken by a tick
	lifetime  int      // of the tokens that checkouts ask for
	leeway    int      // of the consumers
	rule3     int      // by how much a token may outlive rule 3
	rule4     int8     // by how much caches may outlive rule 4
}

// A moment is a state of the world at the beginning of a tick.
type moment struct {
	t              int8
	latest, before int16    // versions: the one published last, and the one before
	held           [2]int16 // by the issuers
	missed         [2]int8  // when the version after the one held was published
	cut            bool     // whether the second issuer is cut off for good
	writes         int8
	expiry         [modelKeys]int8 // of the token that lives longest
	missing        [modelKeys]int8 // when an issuer last served a JWK Set without the key
	gone           [modelKeys]int8 // since when the key is removed or revoked
}

// A view is what an issuer does at an instant of its clock.
type view struct {
	published [modelKeys]bool
	signs     int // -1 when it does not
	expiry    int
}

// A model is one search. Versions are numbered as they are found.
type model struct {
	world
	privates  []*keys.PrivateKey
	manifests []*keys.Manifest
	numbers   map[string]int16
	views     map[[2]int16]view
	verdicts  map[[2]int16]string
	steps     map[[3]int16][]int16
	rejected  string // the rules for which an issuer would not reload
}

func tick(n int) time.Time { return time.Unix(int64(n)*60, 0).UTC() }

func ticks(t time.Time) int { return int(t.Unix() / 60) }

func newModel(w world, privates []*keys.PrivateKey) *model {
	m := &model{
		world: w, privates: privates, numbers: map[string]int16{},
		views: map[[2]int16]view{}, verdicts: map[[2]int16]string{}, steps: map[[3]int16][]int16{},
	}
	p := keys.Policy{
		Algorithm: jwk.EdDSA, Propagation: propagation * time.Minute, Cache: cache * time.Minute,
		Skew: skew * time.Minute, MaxLifetime: lifetime * time.Minute,
		Lease: 3 * time.Minute, RotationPeriod: 4 * time.Minute,
	}
	first := m.key(0, 0, 0, 4)
	first.Bootstrap = true
	m.number(&keys.Manifest{Version: 1, CreatedAt: tick(0), Policy: p, Keys: []*keys.Key{first, m.key(1, 0, 4, 6)}})
	return m
}

func (m *model) key(i, publish, activate, until int) *keys.Key {
	return &keys.Key{
		Public: m.privates[i].Public(), Private: m.privates[i],
		PublishAt: tick(publish), ActivateAt: tick(activate), SignUntil: tick(until), PromisedUntil: tick(until),
		RemoveAt: tick(until + retention),
	}
}

func (m *model) index(k *keys.Key) int {
	return slices.IndexFunc(m.privates, func(p *keys.PrivateKey) bool { return p == k.Private })
}

// number returns the number of a version, the same for the same.
func (m *model) number(v *keys.Manifest) int16 {
	var text strings.Builder
	fmt.Fprint(&text, v.Version, ticks(v.CreatedAt))
	for _, k := range v.Keys {
		fmt.Fprint(&text, "|", m.index(k), k.PublishAt.Unix(), k.ActivateAt.Unix(), k.SignUntil.Unix(),
			k.PromisedUntil.Unix(), k.RemoveAt.Unix(), k.RevokedAt.Unix())
	}
	for _, k := range v.Dropped {
		fmt.Fprint(&text, "|dropped ", k.ID(), k.RemoveAt.Unix())
	}
	n, ok := m.numbers[text.String()]
	if !ok {
		n = int16(len(m.manifests))
		m.manifests = append(m.manifests, v)
		m.numbers[text.String()] = n
	}
	return n
}

// refused returns the rules that next breaks beyond what is tolerated. That
// signing stops is left to the operator: it makes no token invalid.
func (m *model) refused(old, next int16) string {
	id := [2]int16{old, next}
	if text, ok := m.verdicts[id]; ok {
		return text
	}
	var broken []string
	for _, f := range keys.Check(m.manifests[old], m.manifests[next], m.manifests[next].CreatedAt) {
		tolerated := slices.Contains(m.tolerated, f.Rule) && f.By <= time.Minute
		if !f.Warning && f.Rule != "signing" && !tolerated {
			broken = append(broken, f.Rule)
		}
	}
	m.verdicts[id] = strings.Join(broken, " ")
	return m.verdicts[id]
}

// view is what an issuer that holds the version does when its clock says now.
func (m *model) view(version int16, now int) view {
	id := [2]int16{version, int16(now)}
	if v, ok := m.views[id]; ok {
		return v
	}
	v, manifest := view{signs: -1}, m.manifests[version]
	for _, k := range manifest.Keys {
		switch manifest.StateAt(k, tick(now)) {
		case keys.Next, keys.Current, keys.Retired:
			v.published[m.index(k)] = true
		default:
		}
	}
	if k := manifest.CurrentAt(tick(now)); k != nil {
		v.signs = m.index(k)
		// At the very end of this tick at the latest.
		v.expiry = min(now+1+m.lifetime, ticks(k.LatestExpiry(manifest.Policy))+m.rule3)
	}
	m.views[id] = v
	return v
}

// writable returns the versions that the writer may publish when its clock
// says now: everything that an operator may come to think of, right or a tick
// too bold, as far as the check lets it through. A writer that dies between
// writing a file and renaming it has published nothing, and begins anew: that
// is the step it does not take.
func (m *model) writable(latest, before int16, now int) []int16 {
	id := [3]int16{latest, before, int16(now)}
	if all, ok := m.steps[id]; ok {
		return all
	}
	if m.commands {
		m.steps[id] = m.commanded(latest, tick(now))
		return m.steps[id]
	}
	var all []int16
	propose := func(from int16, change func(v *keys.Manifest)) {
		v := m.manifests[from].Clone()
		v.Version, v.CreatedAt = m.manifests[latest].Version+1, tick(now)
		change(v)
		if n := m.number(v); m.refused(latest, n) == "" {
			all = append(all, n)
		}
		if slices.Contains(m.tolerated, "version") { // a concurrent write
			v = v.Clone()
			v.Version--
			if n := m.number(v); m.refused(latest, n) == "" {
				all = append(all, n)
			}
		}
	}
	propose(before, func(*keys.Manifest) {}) // rollback
	old := m.manifests[latest]
	for _, early := range []int{0, 1} {
		propose(latest, func(v *keys.Manifest) { // published
			activate := now + lead - early
			v.Keys = append(v.Keys, m.key(v.Version, now, activate, activate+2))
		})
	}
	propose(latest, func(v *keys.Manifest) { // published, as if it had been when the version before was
		since := ticks(old.CreatedAt)
		v.Keys = append(v.Keys, m.key(old.Version+1, since, since+lead, since+lead+2))
	})
	for i, k := range old.Keys {
		propose(latest, func(v *keys.Manifest) { v.Keys = slices.Delete(v.Keys, i, i+1) })
		propose(latest, func(v *keys.Manifest) { v.Keys[i].RevokedAt = tick(now) })
		propose(latest, func(v *keys.Manifest) { v.Keys[i].RemoveAt = k.RemoveAt.Add(time.Minute) })
		propose(latest, func(v *keys.Manifest) { v.Keys[i].RemoveAt = k.RemoveAt.Add(-time.Minute) })
		if k.ActivateAt.After(tick(now)) {
			propose(latest, func(v *keys.Manifest) { v.Keys[i].ActivateAt = tick(now) })
			propose(latest, func(v *keys.Manifest) { v.Keys[i].ActivateAt = k.ActivateAt.Add(-time.Minute) })
		}
		for _, soon := range []int{0, 1} {
			short := time.Duration(soon) * time.Minute
			propose(latest, func(v *keys.Manifest) { // renewed
				k := v.Keys[i]
				k.SignUntil = tick(max(now, ticks(k.SignUntil)) + 1)
				k.PromisedUntil = tick(max(ticks(k.PromisedUntil), ticks(k.SignUntil)))
				k.RemoveAt = k.PromisedUntil.Add(retention*time.Minute - short)
			})
			propose(latest, func(v *keys.Manifest) { // cut short, and the promise forgotten
				k := v.Keys[i]
				k.SignUntil = k.SignUntil.Add(-time.Minute)
				k.PromisedUntil = k.PromisedUntil.Add(-short)
				k.RemoveAt = k.RemoveAt.Add(-short)
			})
		}
	}
	m.steps[id] = all
	return all
}

// commanded returns what each command makes of the version. What a command
// makes is published, so that an issuer which refuses it is a violation.
func (m *model) commanded(latest int16, now time.Time) []int16 {
	old := m.manifests[latest]
	made := 0
	generate := func(jwk.Algorithm) (*keys.PrivateKey, error) {
		made++
		return m.privates[2*old.Version+made-1], nil
	}
	run := []func() (*keys.Manifest, error){
		func() (*keys.Manifest, error) { return keys.RotateWith(old, now, generate) },
		func() (*keys.Manifest, error) { return keys.RollbackWith(old, now, generate) },
	}
	for _, k := range old.Keys {
		run = append(run,
			func() (*keys.Manifest, error) { return keys.ActivateWith(old, now, k.ID(), generate) },
			func() (*keys.Manifest, error) { return keys.RevokeWith(old, now, k.ID(), generate) })
	}
	var all []int16
	for _, command := range run {
		made = 0
		// An error is a command that refuses: there is nothing to publish.
		if next, err := command(); err == nil && next != old {
			all = append(all, m.number(next))
		}
	}
	return all
}

// start is the world before anything happens. No consumer exists yet.
func start() moment {
	s := moment{}
	for k := range modelKeys {
		s.missing[k], s.gone[k] = never, -never
	}
	return s
}

// explore visits every moment that can be reached, and returns the first
// violation, "" when there is none, and how many moments there are.
func (m *model) explore() (violation string, visited int) {
	seen := map[moment]bool{start(): true}
	queue := []moment{start()}
	for len(queue) > 0 {
		s := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, written := range m.write(s) {
			news := m.tell(written)
			if m.rejected != "" {
				return "an issuer refuses what was published: " + m.rejected, len(seen)
			}
			for _, told := range news {
				if violation := m.live(&told); violation != "" {
					return fmt.Sprintf("tick %d: %s; version %d, issuers hold %v, clocks %v",
						s.t, violation, m.manifests[told.latest].Version, told.held, m.offsets), len(seen)
				}
				told.t++
				if told.t < m.horizon && !seen[told] {
					seen[told] = true
					queue = append(queue, told)
				}
			}
		}
	}
	return "", len(seen)
}

// write returns what may be after the writer's turn.
func (m *model) write(s moment) []moment {
	all := []moment{s}
	if s.writes == m.writes {
		return all
	}
	for _, n := range m.writable(s.latest, s.before, int(s.t)+m.writer) {
		w := s
		w.before, w.latest = s.latest, n
		w.writes++
		for i := range w.held {
			if s.held[i] == s.latest {
				w.missed[i] = s.t
			}
		}
		all = append(all, w)
	}
	return all
}

// tell returns what may be after news arrived here, there or nowhere, and
// after the second issuer was cut off.
func (m *model) tell(s moment) []moment {
	all := []moment{s}
	if !s.cut {
		s.cut = true
		all = append(all, s)
	}
	for i := range s.held {
		for _, a := range all {
			if a.held[i] == a.latest || i == 1 && a.cut {
				continue
			}
			// A server checks what it reloads, having missed versions or not.
			if rules := m.refused(a.held[i], a.latest); rules != "" && len(m.tolerated) == 0 {
				m.rejected = rules
			}
			a.held[i] = a.latest
			all = append(all, a)
		}
	}
	return slices.DeleteFunc(all, func(s moment) bool {
		return m.overdue(s, 0) || !s.cut && m.overdue(s, 1)
	})
}

// overdue reports whether an issuer should have heard by now.
func (m *model) overdue(s moment, i int) bool {
	return s.held[i] != s.latest && s.t >= s.missed[i]+propagation
}

// live plays one tick of all issuers and consumers, and returns
// what is wrong with it.
func (m *model) live(s *moment) string {
	void := [modelKeys]bool{}
	latest := m.manifests[s.latest]
	for _, key := range latest.Keys {
		k := m.index(key)
		// From here on no issuer that gets the news in time publishes the key.
		if state := latest.StateAt(key, tick(int(s.t))); state == keys.Revoked || state == keys.Removed {
			s.gone[k] = min(s.gone[k], s.t)
		}
		if void[k] = !key.RevokedAt.IsZero(); void[k] {
			s.expiry[k] = 0
		}
	}
	for i, held := range s.held {
		v := m.view(held, int(s.t)+m.offsets[i])
		if v.signs >= 0 && !void[v.signs] {
			s.expiry[v.signs] = max(s.expiry[v.signs], int8(v.expiry))
		}
		// Who is cut off for longer than propagation serves no JWK Set:
		// that is what the policy promises.
		if m.overdue(*s, i) {
			continue
		}
		for k, published := range v.published {
			switch {
			case !published:
				s.missing[k] = s.t
			case s.t >= s.gone[k]+propagation:
				return fmt.Sprintf("key %d is published, but removed or revoked since tick %d", k, s.gone[k])
			}
		}
	}
	for k := range modelKeys {
		alive := s.expiry[k] > 0 && s.t < s.expiry[k]+int8(m.leeway)
		oldest := s.t - cache - m.rule4
		if alive && s.missing[k] >= oldest {
			return fmt.Sprintf("a token of key %d lives until %d, but the JWK Set of tick %d does not have the key", k, s.expiry[k], s.missing[k])
		}
		// What does not matter any more must not tell moments apart.
		if !alive {
			s.expiry[k] = 0
		}
		if s.missing[k] < oldest {
			s.missing[k] = never
		}
	}
	return ""
}

func modelPrivates(t *testing.T) []*keys.PrivateKey {
	t.Helper()
	return newPool(t).keys[:modelKeys]
}

// search explores the world for each of the clocks that there may be.
func search(t *testing.T, w world, privates []*keys.PrivateKey) string {
	t.Helper()
	visited := 0
	for clocks := range 8 {
		w.offsets = [2]int{clocks & 1 * skew, clocks >> 1 & 1 * skew}
		w.writer = clocks >> 2 * skew
		violation, n := newModel(w, privates).explore()
		visited += n
		if violation != "" {
			return violation
		}
	}
	t.Logf("%d moments", visited)
	return ""
}

// The worlds: tokens as long as the policy says, of which rule 2 takes care
// with a leeway as large as the skew, longer ones, cut by rule 3, and more
// writing for a shorter time.
func worlds() map[string]world {
	return map[string]world{
		"tokens of max_lifetime": {writes: 2, horizon: 12, lifetime: lifetime, leeway: skew},
		"longer tokens":          {writes: 2, horizon: 12, lifetime: 4 * lifetime},
		"three versions":         {writes: 3, horizon: 5, lifetime: lifetime, leeway: skew},
		"commands":               {writes: 3, horizon: 10, lifetime: lifetime, leeway: skew, commands: true},
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	privates := modelPrivates(t)
	for name, w := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if violation := search(t, w, privates); violation != "" {
				t.Error(violation)
			}
		})
	}
}

// TestModelWeakened weakens one rule at a time by one tick: each time,
// something goes wrong.
func TestModelWeakened(t *testing.T) {
	t.Parallel()
	privates := modelPrivates(t)
	for _, tc := range []struct {
		name, world string
		weaken      func(w *world)
		want        string
	}{
		{"rule 1", "tokens of max_lifetime", func(w *world) { w.tolerated = []string{"rule-1"} }, "does not have the key"},
		{"rule 2", "tokens of max_lifetime", func(w *world) { w.tolerated = []string{"rule-2"} }, "does not have the key"},
		{"rule 4", "tokens of max_lifetime", func(w *world) { w.rule4 = 1 }, "does not have the key"},
		{"version", "three versions", func(w *world) { w.tolerated = []string{"version"} }, "does not have the key"},
		{"rule 3", "longer tokens", func(w *world) { w.rule3 = 1 }, "does not have the key"},
		{"rule 3 between versions", "longer tokens", func(w *world) { w.tolerated = []string{"rule-3"} }, "does not have the key"},
		// The same would do no harm to a promise alone that remove_at still keeps.
		{"lease", "tokens of max_lifetime", func(w *world) { w.tolerated = []string{"lease", "rule-3"} }, "does not have the key"},
		{"renewal", "tokens of max_lifetime", func(w *world) { w.tolerated = []string{"renewal"} }, "does not have the key"},
		{"dropped", "tokens of max_lifetime", func(w *world) { w.tolerated = []string{"dropped"} }, "does not have the key"},
		{"revoked", "tokens of max_lifetime", func(w *world) { w.tolerated = []string{"revoked"} }, "is published, but"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := worlds()[tc.world]
			tc.weaken(&w)
			violation := search(t, w, privates)
			if !strings.Contains(violation, tc.want) || violation == "" {
				t.Errorf("got %q, want a violation", violation)
			}
			t.Log(violation)
		})
	}
}
