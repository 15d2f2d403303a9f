package keys

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	maxKeys = 64
	// maxKeyID is the longest key ID that package verify accepts.
	maxKeyID = 255
)

var (
	errNoPublic = errors.New("jwk, the public key, is missing")
	errDraft    = errors.New("manifest is a draft: it has keys that are not generated yet")
)

// Validate checks m by itself: that it is complete, that its policy is within
// bounds, that its keys are sound, different and in order, and that they obey
// rules 1 and 2. The error lists all problems, one a line: which key breaks
// which rule, by how much, and what would be right. [Check] decides whether m
// may follow another manifest.
func (m *Manifest) Validate() error {
	problems := m.problems()
	if m.draft && slices.ContainsFunc(m.Keys, func(k *Key) bool { return k.Public == nil }) {
		problems = append(problems, errDraft)
	}
	if len(m.Policy.problems()) > 0 {
		return errors.Join(problems...) // the rules depend on the policy
	}
	for _, k := range m.Keys {
		if k == nil || k.Public == nil || k.Imported || len(k.problems()) > 0 {
			continue
		}
		problems = append(problems, slices.Concat(k.rule1(k.PublishAt, m.Policy), k.rule2(m.Policy)).errors()...)
	}
	return errors.Join(problems...)
}

// problems returns all that is wrong with m, except for the rules.
func (m *Manifest) problems() []error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format, args...))
	}
	if m.Version < 1 {
		add("version is %d; the first one is 1", m.Version)
	}
	problems = append(problems, timeProblems("created_at", m.CreatedAt, true)...)
	problems = append(problems, m.Policy.problems()...)
	if len(m.Keys) == 0 {
		add("manifest holds no key")
	}
	if n := len(m.Keys) + len(m.Dropped); n > maxKeys {
		add("manifest holds %d keys; at most %d are allowed: drop removed keys", n, maxKeys)
	}
	problems = append(problems, m.duplicates()...)
	for i, k := range m.Keys {
		if k == nil || k.Public == nil && !m.draft {
			add("key number %d: %w", i+1, errNoPublic)
			continue
		}
		for _, err := range k.problems() {
			add("key %q: %w", k.ID(), err)
		}
	}
	for i, k := range m.Dropped {
		if k == nil || k.Public == nil {
			add("dropped key number %d: %w", i+1, errNoPublic)
			continue
		}
		for _, err := range k.problems() {
			add("key %q: %w", k.ID(), err)
		}
		if !k.droppable(m.CreatedAt) {
			add("key %q: it is dropped, so it must have been removed by created_at, have no private part and not be revoked", k.ID())
		}
	}
	return problems
}

// duplicates finds what may be there only once.
func (m *Manifest) duplicates() []error {
	var problems []error
	ids, publics, bootstrap := map[string]bool{}, map[string]string{}, ""
	for _, k := range slices.Concat(m.Keys, m.Dropped) {
		if k == nil || k.Public == nil {
			continue
		}
		id, same := k.ID(), k.Public.Thumbprint()
		switch other, double := publics[same]; {
		case ids[id]:
			problems = append(problems, fmt.Errorf("key %q: there are two keys with this kid", id))
		case double:
			problems = append(problems, fmt.Errorf("key %q: is the same public key as %q", id, other))
		}
		ids[id], publics[same] = true, id
		if !k.Bootstrap {
			continue
		}
		if bootstrap != "" {
			problems = append(problems, fmt.Errorf("key %q: is marked bootstrap, as is %q; only the first key of an installation may be", id, bootstrap))
		}
		bootstrap = id
	}
	return problems
}

func (k *Key) problems() []error { return append(k.identityProblems(), k.scheduleProblems()...) }

func (k *Key) identityProblems() []error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format, args...))
	}
	switch id := k.ID(); {
	case k.Public == nil: // in a draft
	case id == "" || len(id) > maxKeyID || strings.ContainsFunc(id, unicode.IsControl):
		add("kid must have 1 to %d bytes and no control characters", maxKeyID)
	case !k.Imported && id != k.Public.Thumbprint():
		add("kid must be the thumbprint %q; only an imported key may have another", k.Public.Thumbprint())
	}
	if k.Imported && (k.Private != nil || k.Signer != "" || k.Bootstrap) {
		add("an imported key never signs: it must not have private, signer or bootstrap")
	}
	if k.Private != nil && k.Signer != "" {
		add("has both private and signer; the private key is in one place only")
	}
	if k.Private != nil && !k.Private.public.Equal(k.Public) {
		add("%w", errPrivateMismatch)
	}
	if k.Signer != "" {
		if err := checkSigner(k.Signer); err != nil {
			add("%w", err)
		}
	}
	return problems
}

// checkSigner does not quote the URI, which may hold a secret.
func checkSigner(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return errors.New(`signer must be a URI, such as "pkcs11:token=sessions;object=2026"`)
	}
	if strings.Contains(strings.ToLower(uri), "pin-value") || u.User != nil {
		return errors.New("signer must not hold a PIN or password; name a file that holds it with pin-source (RFC 7512, Section 2.4)")
	}
	return nil
}

// scheduleProblems checks that the times are there and in order.
func (k *Key) scheduleProblems() []error {
	problems := timeProblems("publish_at", k.PublishAt, true)
	for _, t := range []struct {
		name string
		t    time.Time
	}{
		{"activate_at", k.ActivateAt},
		{"sign_until", k.SignUntil},
		{"promised_until", k.PromisedUntil},
	} {
		if k.Imported && !t.t.IsZero() {
			problems = append(problems, fmt.Errorf("an imported key never signs: it must not have %s", t.name))
			continue
		}
		problems = append(problems, timeProblems(t.name, t.t, !k.Imported)...)
	}
	problems = append(problems, timeProblems("remove_at", k.RemoveAt, true)...)
	problems = append(problems, timeProblems("revoked_at", k.RevokedAt, false)...)
	if len(problems) > 0 {
		return problems
	}
	order := func(early string, a time.Time, late string, b time.Time, equal bool) {
		if a.Before(b) || equal && a.Equal(b) {
			return
		}
		words := "after"
		if equal {
			words = "at or after"
		}
		problems = append(problems, fmt.Errorf("%s is %s; it must be %s %s, %s",
			late, formatTime(b), words, early, formatTime(a)))
	}
	if k.Imported {
		order("publish_at", k.PublishAt, "remove_at", k.RemoveAt, false)
		return problems
	}
	order("publish_at", k.PublishAt, "activate_at", k.ActivateAt, true)
	order("activate_at", k.ActivateAt, "sign_until", k.SignUntil, false)
	order("sign_until", k.SignUntil, "promised_until", k.PromisedUntil, true)
	// Rule 2 demands more than remove_at after promised_until.
	return problems
}

func timeProblems(name string, t time.Time, required bool) []error {
	switch {
	case t.IsZero() && required:
		return []error{fmt.Errorf("%s is missing", name)}
	case t.IsZero():
		return nil
	case t.UTC().Year() < 1970 || t.UTC().Year() > 9999:
		return []error{fmt.Errorf("%s is not in the years 1970 to 9999", name)}
	case t.Nanosecond() != 0:
		return []error{fmt.Errorf("%s is not a whole second", name)}
	default:
		return nil
	}
}
