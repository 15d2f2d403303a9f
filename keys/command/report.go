package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/customersession/customersession/keys"
)

// A report is what a command did to a manifest.
type report struct {
	Manifest string `json:"manifest"`
	// From and To are versions, equal if nothing was due. From is 0 for a first
	// manifest.
	From     int       `json:"from_version"`
	To       int       `json:"to_version"`
	Changed  bool      `json:"changed"`
	DryRun   bool      `json:"dry_run"`
	Changes  []change  `json:"changes"`
	Warnings []finding `json:"warnings"`
	Notes    []string  `json:"notes"`

	why string // nothing changed, if not because nothing is due
}

// A change is what happened to one key.
type change struct {
	KeyID     string `json:"kid,omitempty"` // empty in a dry run, for a new key
	Algorithm string `json:"alg"`
	// What is published, imported, prolonged, dropped, forgotten, revoked, renewed,
	// retired, or brought forward.
	What string    `json:"what"`
	At   time.Time `json:"at,omitzero"`
	text string
}

// A finding is a [keys.Finding] in JSON.
type finding struct {
	Rule    string `json:"rule"`
	KeyID   string `json:"kid,omitempty"`
	By      string `json:"by,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix"`
	Warning bool   `json:"warning"`
}

func newFinding(f keys.Finding) finding {
	result := finding{Rule: f.Rule, KeyID: f.KeyID, Message: f.Message, Fix: f.Fix, Warning: f.Warning}
	if f.By > 0 {
		result.By = f.By.String()
	}
	return result
}

func newReport(name string, old, next *keys.Manifest, now time.Time, dryRun bool) *report {
	r := &report{
		Manifest: name, To: next.Version, Changed: old != next, DryRun: dryRun,
		Changes: []change{}, Warnings: []finding{}, Notes: []string{},
	}
	if old != nil {
		r.From = old.Version
	}
	r.Changes = append(r.Changes, changes(old, next, now)...)
	for _, f := range keys.Check(old, next, now) {
		r.Warnings = append(r.Warnings, newFinding(f))
	}
	return r
}

// changes compares two versions key by key.
func changes(old, next *keys.Manifest, now time.Time) []change {
	var all []change
	before := byID(old)
	for _, k := range next.Keys {
		for _, c := range changesOf(before[k.ID()], k) {
			if c.Algorithm == "" {
				c.Algorithm = string(next.Policy.Algorithm)
			}
			all = append(all, c)
		}
	}
	after := byID(next)
	if old == nil {
		return all
	}
	for _, k := range old.Keys {
		if after[k.ID()] == nil {
			all = append(all, newChange(k, "dropped", now, "dropped; it left the JWK Set at %s", k.RemoveAt))
		}
	}
	for _, k := range old.Dropped {
		if !slices.ContainsFunc(next.Dropped, func(kept *keys.Key) bool { return kept.ID() == k.ID() }) {
			all = append(all, newChange(k, "forgotten", now, "forgotten; it left the JWK Set at %s", k.RemoveAt))
		}
	}
	return all
}

func byID(m *keys.Manifest) map[string]*keys.Key {
	result := map[string]*keys.Key{}
	if m != nil {
		for _, k := range m.Keys {
			result[k.ID()] = k
		}
	}
	return result
}

func newChange(k *keys.Key, what string, at time.Time, format string, times ...time.Time) change {
	args := make([]any, len(times))
	for i, t := range times {
		args[i] = formatTime(t)
	}
	c := change{KeyID: k.ID(), What: what, At: at.UTC().Truncate(time.Second), text: fmt.Sprintf(format, args...)}
	if k.Public != nil {
		c.Algorithm = string(k.Public.Algorithm())
	}
	return c
}

// changesOf compares two versions of a key; before is nil for a new one.
func changesOf(before, k *keys.Key) []change {
	switch {
	case before == nil && k.Imported:
		return []change{newChange(k, "imported", k.PublishAt, "imported; published until %s, never signs", k.RemoveAt)}
	case before == nil:
		return []change{newChange(k, "published", k.PublishAt, "published; signs from %s until %s", k.ActivateAt, k.SignUntil)}
	}
	var all []change
	add := func(what string, at time.Time, format string, times ...time.Time) {
		all = append(all, newChange(k, what, at, format, times...))
	}
	if k.Imported && k.RemoveAt.After(before.RemoveAt) {
		add("prolonged", k.RemoveAt, "published longer; until %s", k.RemoveAt)
	}
	if before.RevokedAt.IsZero() && !k.RevokedAt.IsZero() {
		add("revoked", k.RevokedAt, "revoked at %s", k.RevokedAt)
	}
	if k.ActivateAt.Before(before.ActivateAt) {
		add("brought forward", k.ActivateAt, "brought forward; signs from %s", k.ActivateAt)
	}
	switch {
	case k.SignUntil.After(before.SignUntil):
		add("renewed", k.SignUntil, "lease renewed; signs until %s", k.SignUntil)
	case k.SignUntil.Before(before.SignUntil):
		add("retired", k.SignUntil, "retired; signs until %s, stays until %s", k.SignUntil, k.RemoveAt)
	}
	return all
}

// String returns the report for people, with a line feed at the end.
func (r *report) String() string {
	var b strings.Builder
	switch {
	case !r.Changed:
		fmt.Fprintf(&b, "%s: %s; version %d stays\n", r.Manifest, cmp.Or(r.why, "nothing is due"), r.To)
	case r.DryRun:
		fmt.Fprintf(&b, "%s: version %d would follow %d; nothing was written\n", r.Manifest, r.To, r.From)
	case r.From == 0:
		fmt.Fprintf(&b, "%s: wrote version %d\n", r.Manifest, r.To)
	default:
		fmt.Fprintf(&b, "%s: wrote version %d, which follows %d\n", r.Manifest, r.To, r.From)
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "  %s %s: %s\n", cmp.Or(c.KeyID, newKey), c.Algorithm, c.text)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "%s\n", note)
	}
	for _, f := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n    fix: %s\n", f.Message, f.Fix)
	}
	return b.String()
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
