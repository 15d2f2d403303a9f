package keys_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Positions of the keys in testdata/manifest.json. All of them are public
// knowledge: RFC 7515, Appendices A.2 and A.3; RFC 8037, Appendix A.1; RFC
// 7517, Appendix A.1; RFC 7638, Section 3.1.
const (
	retired  = iota // RS256, bootstrap
	current         // ES256
	next            // EdDSA
	revoked         // ES256, its private part elsewhere
	imported        // RS256
)

func golden(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t testing.TB, data []byte) *keys.Manifest {
	t.Helper()
	m, err := keys.ParseManifest(data)
	if err != nil {
		t.Fatalf("parsing manifest: %v", err)
	}
	return m
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	instant, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return instant
}

func TestManifestRoundTrip(t *testing.T) {
	t.Parallel()
	data := golden(t)
	m := parse(t, data)
	if got := m.Encode(); !bytes.Equal(got, data) {
		t.Errorf("encoded manifest differs from what was parsed:\n%s", got)
	}
	if got := m.Clone().Encode(); !bytes.Equal(got, data) {
		t.Errorf("encoded clone differs:\n%s", got)
	}
	if m.Version != 7 || len(m.Keys) != 5 || m.Policy != keys.DefaultPolicy() {
		t.Errorf("got version %d, %d keys, policy %+v", m.Version, len(m.Keys), m.Policy)
	}
	if got, want := m.Keys[imported].ID(), "2011-04-29"; got != want {
		t.Errorf("imported key: got key ID %q, want %q", got, want)
	}
	if got, want := m.Keys[next].LatestExpiry(m.Policy), at(t, "2026-12-31T02:00:30Z"); !got.Equal(want) {
		t.Errorf("latest expiry: got %v, want %v", got, want)
	}
}

func TestCloneIsDeep(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	c := m.Clone()
	c.Keys[0].Signer, c.Version = "pkcs11:", 8
	c.Keys[1] = nil
	if got := m.Encode(); !bytes.Equal(got, golden(t)) {
		t.Errorf("changing a clone changed the original:\n%s", got)
	}
}

// TestParseManifestRefuses changes the text of a good manifest.
func TestParseManifestRefuses(t *testing.T) {
	t.Parallel()
	const ecPrivate = `"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"`
	const okpPrivate = `"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"`
	const rsaPrivate = `"dp": "BwKfV3`
	for _, tc := range []struct{ name, old, new, want string }{
		{"unknown member", `"version"`, `"x":1,"version"`, `unknown field "x"`},
		{"unknown member of a key", `"bootstrap": true`, `"bootstrap": true, "until": 1`, `unknown field "until"`},
		{"upper case", `"remove_at"`, `"Remove_at"`, "line 43, column 7: member name is not lower-case ASCII"},
		{"member twice", `"skew": "30s"`, `"skew": "30s", "skew": "1s"`, "member name used twice in one object"},
		{"member twice in a private key", ecPrivate, ecPrivate + `,` + ecPrivate, "member name used twice in one object"},
		{"trailing", "]\n}\n", "]\n}\n{}", "data after the JSON object"},
		{"fraction", `"version": 7`, `"version": 7.5`, "version"},
		{"no object", "{", "[{", "not a JSON object"},
		{"time with an offset", `"2027-01-01T02:00:00Z"`, `"2027-01-01T02:00:00+00:00"`, `remove_at: "2027-01-01T02:00:00+00:00" is not a time like`},
		{"time with a fraction", `"2027-01-01T02:00:00Z"`, `"2027-01-01T02:00:00.5Z"`, `is not a time like`},
		{"time in another spelling", `"2027-01-01T02:00:00Z"`, `"2027-01-01T2:00:00Z"`, `is not a time like`},
		{"no such day", `"2027-01-01T02:00:00Z"`, `"2027-02-30T02:00:00Z"`, `is not a time like`},
		{"created_at", `"created_at": "2026`, `"created_at": "26`, `created_at: "26-11-23T02:00:00Z" is not a time`},
		{"duration", `"30s"`, `"30"`, `policy: skew is "30"; write it like "1h30m0s"`},
		{"duration missing", `"skew": "30s",`, ``, `policy: skew is ""`},
		{"no public key", `"kid": "2011-04-29",`, `"kid": "2011-04-29", "jwk": null,`, "twice"},
		{"wrong kid", `"kid": "kPrK`, `"kid": "kprK`, `"kid" of the key is "kprK`},
		{"wrong alg", `"alg": "EdDSA"`, `"alg": "ES256"`, `alg is "ES256", but the jwk is for "EdDSA"`},
		{"point off the curve", `"x": "MKBC`, `"x": "MKBD`, "public key: jwk: public point is not on the curve"},
		{"imported, kid differs", `"kid": "2011-04-29"`, `"kid": "2011"`, `key "2011": "kid" of the key is "2011", that of its jwk "2011-04-29"`},
		{"imported, alg differs", `"alg": "RS256",` + "\n" + `        "kid": "2011`, `"alg": "ES256",` + "\n" + `        "kid": "2011`, `key "2011-04-29": public key: jwk: "alg" does not fit the key`},
		{"imported, kid no string", `"kid": "2011-04-29",` + "\n" + `        "use"`, `"kid": 1,` + "\n" + `        "use"`, `key "2011-04-29": public key: jwk: a member is missing`},
		{"imported, private", `"kid": "2011-04-29",` + "\n" + `        "use"`, `"d": "AA", "kid": "2011-04-29",` + "\n" + `        "use"`, `key "2011-04-29": public key: jwk: private or symmetric key`},
		{"not imported", `"imported": true`, `"imported": false`, `"kid" is not the thumbprint`},
		{"private of another", ecPrivate, `"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"`, "private key does not belong to the public one"},
		{"private Ed25519 of another", okpPrivate, `"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2B"`, "private key is not a JWK"},
		{"private not canonical", `9-E9LI"`, `9-E9LJ"`, "private key is not a JWK"},
		{"private padded", `9-E9LI"`, `9-E9LI="`, "private key is not a JWK"},
		{"private with a line break", `9-E9LI"`, `9-E9\nLI"`, "private key is not a JWK"},
		{"private out of range", ecPrivate, `"d": "__________________________________________8"`, "private key is damaged"},
		{"private too short", ecPrivate, `"d": "jpsQ"`, "private key is damaged"},
		{"private Ed25519 too long", okpPrivate, `"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2AA"`, "private key is not a JWK"},
		{"private RSA with another dp", rsaPrivate, `"dp": "BwKfV4`, "private key is damaged"},
		{"private RSA without a prime", `"p": "4BzEE`, `"p": "", "q": "4BzEE`, "twice"},
		{"private RSA with another prime", `"p": "4BzEE`, `"p": "4BzEF`, "private key is damaged"},
		{"private RSA with leading zeros", `"p": "4BzEE`, `"p": "AAAA4BzEE`, "private key is not a JWK"},
		{"private of a third prime", ecPrivate, ecPrivate + `, "oth": []`, "private key is not a JWK"},
		{"private with RSA members", ecPrivate, ecPrivate + `, "p": "AQ"`, "private key is not a JWK"},
		{"private not a string", ecPrivate, `"d": 12345`, "private key is not a JWK"},
		{"private part null", `"signer": `, `"private": null, "signer": `, "private key"},
		{"private among the public", ecPrivate, ecPrivate + `}, "jwk": {`, "twice"},
		{"private in jwk", `"y": "4Etl`, `"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE", "y": "4Etl`, "private or symmetric key where a public one is expected"},
		{"private with another kid", ecPrivate, ecPrivate + `,"key_ops": ["sign"]`, "private key is not a JWK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			data := strings.Replace(string(golden(t)), tc.old, tc.new, 1)
			if data == string(golden(t)) {
				t.Fatalf("%q is not in the manifest", tc.old)
			}
			m, err := keys.ParseManifest([]byte(data))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			if m != nil {
				t.Error("a manifest came with the error")
			}
			noSecret(t, err.Error())
		})
	}
}

func TestParseManifestSize(t *testing.T) {
	t.Parallel()
	pad := strings.Repeat(" ", 1<<20-len(golden(t)))
	if _, err := keys.ParseManifest([]byte(string(golden(t)) + pad)); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	if _, err := keys.ParseManifest([]byte(string(golden(t)) + pad + " ")); err == nil {
		t.Error("1 MiB and a byte: no error")
	}
}

// TestValidateExplains keeps what an operator reads in a golden file.
func TestValidateExplains(t *testing.T) {
	t.Parallel()
	second, zero := time.Second, time.Time{}
	cases := []struct {
		name   string
		change func(*keys.Manifest)
	}{
		{"nothing wrong", func(*keys.Manifest) {}},
		{"rule 1 by a second", func(m *keys.Manifest) { m.Keys[next].PublishAt = m.Keys[next].ActivateAt.Add(-3930*second + second) }},
		{"rule 1 not broken", func(m *keys.Manifest) { m.Keys[next].PublishAt = m.Keys[next].ActivateAt.Add(-3930 * second) }},
		{"rule 1, bootstrap", func(m *keys.Manifest) { m.Keys[retired].Bootstrap = false }},
		{"rule 1 after a change of policy", func(m *keys.Manifest) {
			m.Keys[next].PublishAt = m.Keys[next].ActivateAt.Add(-3930 * second)
			m.Policy.Cache = 24 * time.Hour
		}},
		{"rule 2 by a second", func(m *keys.Manifest) { m.Keys[next].RemoveAt = m.Keys[next].RemoveAt.Add(-second) }},
		{"rule 2 by what was promised", func(m *keys.Manifest) { m.Keys[next].PromisedUntil = m.Keys[next].PromisedUntil.Add(time.Hour) }},
		{"order", func(m *keys.Manifest) {
			k := m.Keys[current]
			k.PublishAt, k.ActivateAt, k.SignUntil = k.ActivateAt.Add(second), k.SignUntil, k.PromisedUntil.Add(second)
		}},
		{"lease that never begins", func(m *keys.Manifest) { m.Keys[current].SignUntil = m.Keys[current].ActivateAt }},
		{"times missing", func(m *keys.Manifest) {
			k := m.Keys[current]
			k.PublishAt, k.ActivateAt, k.SignUntil, k.PromisedUntil, k.RemoveAt = zero, zero, zero, zero, zero
		}},
		{"fractions", func(m *keys.Manifest) {
			m.Keys[current].RevokedAt = m.CreatedAt.Add(1)
			m.Keys[next].RemoveAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			m.Policy.Lease++
		}},
		{"imported that signs", func(m *keys.Manifest) {
			k := m.Keys[imported]
			k.Private, k.Bootstrap, k.ActivateAt, k.PromisedUntil = m.Keys[current].Private, true, m.CreatedAt, m.CreatedAt
		}},
		{"imported, order", func(m *keys.Manifest) { m.Keys[imported].RemoveAt = m.Keys[imported].PublishAt }},
		{"two places", func(m *keys.Manifest) { m.Keys[current].Signer = "pkcs11:object=1" }},
		{"private of another", func(m *keys.Manifest) { m.Keys[current].Private = m.Keys[next].Private }},
		{"PIN in the URI", func(m *keys.Manifest) { m.Keys[revoked].Signer = "pkcs11:object=1?pin-value=swordfish" }},
		{"password in the URI", func(m *keys.Manifest) { m.Keys[revoked].Signer = "kms://user:swordfish@example.com/key" }},
		{"no URI", func(m *keys.Manifest) { m.Keys[revoked].Signer = "swordfish" }},
		{"kid", func(m *keys.Manifest) {
			m.Keys[current].Public = m.Keys[current].Public.WithID("mine")
			m.Keys[imported].Public = m.Keys[imported].Public.WithID("a\nb")
		}},
		{"empty kid", func(m *keys.Manifest) { m.Keys[imported].Public = m.Keys[imported].Public.WithID("") }},
		{"duplicates", func(m *keys.Manifest) {
			m.Keys[imported].Public = m.Keys[current].Public.WithID("old")
			m.Keys = append(m.Keys, m.Keys[next])
			m.Keys[current].Bootstrap = true
		}},
		{"no keys", func(m *keys.Manifest) { m.Keys = nil }},
		{"too many keys", func(m *keys.Manifest) {
			for len(m.Keys) < 65 {
				m.Keys = append(m.Keys, m.Keys[imported])
			}
			// These are also duplicates, which are reported above.
			m.Keys = m.Keys[:65]
		}},
		{"nil", func(m *keys.Manifest) { m.Keys[current] = nil; m.Keys[next].Public = nil }},
		{"versions", func(m *keys.Manifest) { m.Version, m.CreatedAt = 0, zero }},
		{"policy of zeros", func(m *keys.Manifest) { m.Policy = keys.Policy{} }},
		{"policy out of bounds", func(m *keys.Manifest) {
			m.Policy = keys.Policy{
				Algorithm: "HS256", Propagation: 25 * time.Hour, Cache: 59 * second, Skew: 301 * second,
				MaxLifetime: 25 * time.Hour, Lease: 10000 * time.Hour, RotationPeriod: -second,
			}
		}},
		{"policy that cannot work", func(m *keys.Manifest) {
			m.Policy.Lease = m.Policy.Propagation + m.Policy.Skew
			m.Policy.RotationPeriod = 3929 * second
		}},
	}
	var got strings.Builder
	for _, tc := range cases {
		m := parse(t, golden(t)).Clone()
		tc.change(m)
		err := m.Validate()
		fmt.Fprintf(&got, "# %s\n", tc.name)
		if err != nil {
			seen := map[string]bool{}
			for line := range strings.Lines(err.Error() + "\n") {
				if !seen[line] {
					got.WriteString(line)
				}
				seen[line] = true
			}
			noSecret(t, err.Error())
		}
		got.WriteString("\n")
	}
	checkGolden(t, "problems.golden", got.String())
}

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (-update rewrites it):\n%s", path, got)
	}
}

// noSecret fails when text holds a private part of a golden key, or the
// password of some cases.
func noSecret(t testing.TB, text string) {
	t.Helper()
	if strings.Contains(text, "swordfish") {
		t.Errorf("password shown: %s", text)
	}
	data, err := os.ReadFile(filepath.Join("testdata", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	private := regexp.MustCompile(`"(?:d|p|q|dp|dq|qi)": "([^"]+)"`)
	found := private.FindAllSubmatch(data, -1)
	if len(found) != 8 {
		t.Fatalf("got %d private members in the golden manifest, want 8", len(found))
	}
	for _, m := range found {
		if part := string(m[1][4:24]); strings.Contains(text, part) {
			t.Errorf("private key shown: %s", text)
		}
	}
}

func TestPrivateKeyIsRedacted(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t))
	ring, err := keys.NewRing(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range m.Keys[:3] {
		signing, err := ring.SigningKey(k.ActivateAt)
		if err != nil || signing.Public != k.Public {
			t.Fatalf("got %v, %v, want key %s", signing, err, k.ID())
		}
		hidden := struct{ key *keys.PrivateKey }{k.Private}
		copied := struct{ key keys.PrivateKey }{*k.Private}
		for _, v := range []any{hidden, &hidden, copied, k.Private, *k.Private, k, *k, m, *m, ring, signing, *signing, []any{k.Private}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				text := fmt.Sprintf(verb, v)
				noSecret(t, text)
				// Raw bytes of a key would come out as numbers.
				if strings.Contains(text, "157 97 177 157") || strings.Contains(text, "9d61b19d") {
					t.Errorf("%s of %T shows a private key", verb, v)
				}
			}
			var out bytes.Buffer
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			noSecret(t, out.String())
		}
		if got, want := fmt.Sprintf("%v %+v %#v %s", k.Private, k.Private, *k.Private, k.Private),
			"[redacted] [redacted] [redacted] [redacted]"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		text, err := json.Marshal(k)
		if err != nil || !strings.Contains(string(text), `"Private":"[redacted]"`) {
			t.Errorf("got %s, %v", text, err)
		}
	}
}

func TestManifestWithoutPrivateParts(t *testing.T) {
	t.Parallel()
	m := parse(t, golden(t)).Clone()
	for _, k := range m.Keys {
		k.Private, k.Signer = nil, ""
	}
	public := parse(t, m.Encode())
	if strings.Contains(string(m.Encode()), `"d"`) {
		t.Error("a private part is left in the file")
	}
	now := public.CreatedAt
	if k := public.CurrentAt(now); k != nil {
		t.Errorf("key %s may sign without a private part", k.ID())
	}
	if got := public.StateAt(public.Keys[current], now); got != keys.Current {
		t.Errorf("state of the current key: got %v", got)
	}
	ring, err := keys.NewRing(public, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.SigningKey(now); !errors.Is(err, keys.ErrNoSigningKey) || !strings.Contains(err.Error(), "public copy") {
		t.Errorf("got %v", err)
	}
	if got, want := ring.JWKSet(now).Body, mustRing(t).JWKSet(now).Body; !bytes.Equal(got, want) {
		t.Errorf("JWK Set of the public copy: got %s, want %s", got, want)
	}
}

func FuzzParseManifest(f *testing.F) {
	data := golden(f)
	m := parse(f, data)
	for i := range m.Keys {
		one := m.Clone()
		one.Keys = one.Keys[i : i+1]
		f.Add(one.Encode())
		one.Keys[0].Private, one.Keys[0].Signer, one.Keys[0].RevokedAt = nil, "", time.Time{}
		one.CreatedAt = one.Keys[0].RemoveAt
		one.Dropped = one.Keys
		one.Keys = m.Keys[(i+1)%len(m.Keys):][:1]
		f.Add(one.Encode())
	}
	f.Add([]byte(strings.ReplaceAll(string(data), `"2011-04-29"`, `"\u212a<&>\u2028"`)))
	f.Add([]byte(strings.Replace(string(data), `"imported": true`, `"imported": true, "private": {}`, 1)))
	f.Add([]byte(`{"version":1,"keys":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := keys.ParseManifest(data)
		if err != nil {
			return
		}
		encoded := m.Encode()
		again, err := keys.ParseManifest(encoded)
		if err != nil {
			t.Fatalf("what was encoded is refused: %v\n%s", err, encoded)
		}
		if !bytes.Equal(again.Encode(), encoded) {
			t.Fatalf("encoded twice: got %s, want %s", again.Encode(), encoded)
		}
		for i, k := range m.Keys {
			if !k.Public.Equal(again.Keys[i].Public) || k.ID() != again.Keys[i].ID() || *again.Keys[i] != sameKey(k, again.Keys[i]) {
				t.Fatalf("key %q changed", k.ID())
			}
		}
		if len(again.Keys) != len(m.Keys) || len(again.Dropped) != len(m.Dropped) {
			t.Fatalf("there are %d keys and %d dropped ones, want %d and %d", len(again.Keys), len(again.Dropped), len(m.Keys), len(m.Dropped))
		}
		set := m.PublishedAt(m.CreatedAt)
		for _, k := range m.Dropped {
			if k.Private != nil || set.Key(k.ID()) != nil || m.PublishedKey(k.ID(), m.CreatedAt) != nil {
				t.Fatalf("the dropped key %q is published, or has a private part", k.ID())
			}
		}
		for _, k := range m.Keys {
			if got := m.StateAt(k, m.CreatedAt); (set.Key(k.ID()) != nil) != (got == keys.Next || got == keys.Current || got == keys.Retired) {
				t.Fatalf("key %q is %v, but that is not what is published", k.ID(), got)
			}
		}
		if _, err := jwk.ParseSet(set.AppendJSON(nil)); err != nil && set.Len() > 0 && !hasImported(m) {
			t.Fatalf("published set is refused: %v", err)
		}
	})
}

// sameKey returns k with the pointers of other, to compare everything else.
func sameKey(k, other *keys.Key) keys.Key {
	same := *k
	same.Public, same.Private = other.Public, other.Private
	return same
}

func hasImported(m *keys.Manifest) bool {
	for _, k := range m.Keys {
		if k.Imported {
			return true
		}
	}
	return false
}

// An empty file, as a full disk or a shell's > leaves it, is named as such.
func TestParseManifestOfNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n"} {
		if _, err := keys.ParseManifest([]byte(text)); err == nil || !strings.Contains(err.Error(), "it is empty") {
			t.Errorf("%q: got %v, want that it is empty", text, err)
		}
	}
}
