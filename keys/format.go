package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

// maxManifestSize is several times the size of 64 keys of the longest kind.
const maxManifestSize = 1 << 20

// timeLayout is RFC 3339 in UTC with whole seconds.
const timeLayout = "2006-01-02T15:04:05Z"

// A manifestFile is the JSON form of a manifest.
type manifestFile struct {
	Version   int        `json:"version"`
	CreatedAt string     `json:"created_at"`
	Policy    policyFile `json:"policy"`
	Keys      []keyFile  `json:"keys"`
}

type policyFile struct {
	Algorithm      string `json:"algorithm"`
	Propagation    string `json:"propagation"`
	Cache          string `json:"cache"`
	Skew           string `json:"skew"`
	MaxLifetime    string `json:"max_lifetime"`
	Lease          string `json:"lease"`
	RotationPeriod string `json:"rotation_period"`
}

type keyFile struct {
	ID            string          `json:"kid"`
	Algorithm     string          `json:"alg"`
	Public        json.RawMessage `json:"jwk"`
	Private       json.RawMessage `json:"private,omitempty"`
	Signer        string          `json:"signer,omitempty"`
	PublishAt     string          `json:"publish_at"`
	ActivateAt    string          `json:"activate_at,omitempty"`
	SignUntil     string          `json:"sign_until,omitempty"`
	PromisedUntil string          `json:"promised_until,omitempty"`
	RemoveAt      string          `json:"remove_at"`
	RevokedAt     string          `json:"revoked_at,omitempty"`
	Bootstrap     bool            `json:"bootstrap,omitempty"`
	Imported      bool            `json:"imported,omitempty"`
}

// ParseManifest reads a manifest of at most 1 MiB: strict JSON, without unknown
// members, duplicate members or names in upper case. The error lists everything
// that cannot be read, one problem a line; if all can be read, it is that of
// [Manifest.Validate]. It never holds a part of a private key.
//
// A key that was removed when the version was made, without a private part and not
// revoked, is a dropped one.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > maxManifestSize {
		return nil, errors.New("manifest is longer than 1 MiB")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("reading manifest: it is empty")
	}
	var f manifestFile
	if err := ijson.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	m, problems := f.manifest()
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// manifest converts f, and returns what cannot be read.
func (f *manifestFile) manifest() (*Manifest, []error) {
	var problems []error
	m := &Manifest{Version: f.Version}
	var err error
	if m.CreatedAt, err = parseTime(f.CreatedAt); err != nil {
		problems = append(problems, fmt.Errorf("created_at: %w", err))
	}
	policy, unread := f.Policy.policy()
	m.Policy = policy
	problems = append(problems, unread...)
	for i := range f.Keys {
		k, unread := f.Keys[i].key()
		for _, err := range unread {
			problems = append(problems, fmt.Errorf("%s: %w", f.Keys[i].name(i), err))
		}
		// A program that does not know dropped keys publishes none of these
		// either, and its next rotation leaves them out.
		if k.droppable(m.CreatedAt) {
			m.Dropped = append(m.Dropped, k)
		} else {
			m.Keys = append(m.Keys, k)
		}
	}
	return m, problems
}

func (f *policyFile) policy() (Policy, []error) {
	var problems []error
	p := Policy{Algorithm: jwk.Algorithm(f.Algorithm)}
	for _, d := range []struct {
		name, text string
		value      *time.Duration
	}{
		{"propagation", f.Propagation, &p.Propagation},
		{"cache", f.Cache, &p.Cache},
		{"skew", f.Skew, &p.Skew},
		{"max_lifetime", f.MaxLifetime, &p.MaxLifetime},
		{"lease", f.Lease, &p.Lease},
		{"rotation_period", f.RotationPeriod, &p.RotationPeriod},
	} {
		var err error
		if *d.value, err = time.ParseDuration(d.text); err != nil {
			problems = append(problems, fmt.Errorf(`policy: %s is %q; write it like "1h30m0s"`, d.name, d.text))
		}
	}
	return p, problems
}

// name is the name of the key in messages.
func (f *keyFile) name(index int) string {
	if f.ID == "" || len(f.ID) > maxKeyID {
		return fmt.Sprintf("key number %d", index+1)
	}
	return fmt.Sprintf("key %q", f.ID)
}

func (f *keyFile) key() (*Key, []error) {
	var problems []error
	k := &Key{Signer: f.Signer, Bootstrap: f.Bootstrap, Imported: f.Imported}
	var err error
	if k.Public, err = f.public(); err != nil {
		problems = append(problems, err)
	}
	if k.Public != nil && f.Private != nil {
		if k.Private, err = parsePrivate(f.Private, k.Public); err != nil {
			problems = append(problems, err)
		}
	}
	for _, t := range []struct {
		name, text string
		value      *time.Time
	}{
		{"publish_at", f.PublishAt, &k.PublishAt},
		{"activate_at", f.ActivateAt, &k.ActivateAt},
		{"sign_until", f.SignUntil, &k.SignUntil},
		{"promised_until", f.PromisedUntil, &k.PromisedUntil},
		{"remove_at", f.RemoveAt, &k.RemoveAt},
		{"revoked_at", f.RevokedAt, &k.RevokedAt},
	} {
		if *t.value, err = parseTime(t.text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", t.name, err))
		}
	}
	return k, problems
}

func (f *keyFile) public() (public *jwk.Key, err error) {
	private := false
	switch {
	case f.Public == nil:
		return nil, errNoPublic
	case f.Imported:
		public, private, err = jwk.ParseForeign(f.Public)
	default:
		public, err = jwk.Parse(f.Public)
	}
	if private {
		err = jwk.ErrPrivate
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("public key: %w", err)
	case public.ID() != f.ID:
		return nil, fmt.Errorf(`"kid" of the key is %q, that of its jwk %q`, f.ID, public.ID())
	case string(public.Algorithm()) != f.Algorithm:
		return nil, fmt.Errorf("alg is %q, but the jwk is for %q", f.Algorithm, public.Algorithm())
	}
	return public, nil
}

// parseTime reads a time; an empty text is the zero time.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(timeLayout, text)
	// time.Parse accepts more than the one spelling.
	if err != nil || t.Format(timeLayout) != text {
		return time.Time{}, fmt.Errorf(`%q is not a time like "2026-11-23T02:00:00Z"`, text)
	}
	return t, nil
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// Encode returns the manifest as a file, private keys included: indented JSON
// with a line feed at the end, the same bytes for the same manifest. m must be
// valid.
func (m *Manifest) Encode() []byte {
	f := manifestFile{
		Version:   m.Version,
		CreatedAt: formatTime(m.CreatedAt),
		Policy: policyFile{
			Algorithm:      string(m.Policy.Algorithm),
			Propagation:    m.Policy.Propagation.String(),
			Cache:          m.Policy.Cache.String(),
			Skew:           m.Policy.Skew.String(),
			MaxLifetime:    m.Policy.MaxLifetime.String(),
			Lease:          m.Policy.Lease.String(),
			RotationPeriod: m.Policy.RotationPeriod.String(),
		},
		Keys: make([]keyFile, 0, len(m.Keys)+len(m.Dropped)),
	}
	for _, k := range slices.Concat(m.Keys, m.Dropped) {
		f.Keys = append(f.Keys, k.file())
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(&f); err != nil {
		panic("keys: a manifest of our own is not JSON: " + err.Error())
	}
	return b.Bytes()
}

func (k *Key) file() keyFile {
	f := keyFile{
		ID:            k.ID(),
		Algorithm:     string(k.Public.Algorithm()),
		Public:        k.Public.AppendJSON(nil),
		Signer:        k.Signer,
		PublishAt:     formatTime(k.PublishAt),
		ActivateAt:    formatTime(k.ActivateAt),
		SignUntil:     formatTime(k.SignUntil),
		PromisedUntil: formatTime(k.PromisedUntil),
		RemoveAt:      formatTime(k.RemoveAt),
		RevokedAt:     formatTime(k.RevokedAt),
		Bootstrap:     k.Bootstrap,
		Imported:      k.Imported,
	}
	if k.Private != nil {
		f.Private = k.Private.appendJWK(nil)
	}
	return f
}
