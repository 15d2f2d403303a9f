package command

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
)

// A status describes a manifest at an instant, for people and programs.
type status struct {
	Manifest  string      `json:"manifest"`
	Version   int         `json:"version"`
	CreatedAt time.Time   `json:"created_at"`
	Now       time.Time   `json:"now"`
	Current   string      `json:"current,omitempty"`
	Keys      []keyStatus `json:"keys"`
	// Dropped lists removed keys whose tokens may still ask for a new link.
	Dropped []droppedStatus `json:"dropped"`
	// Next lists what happens without further commands, in order.
	Next []event `json:"next"`
	// Wrong lists what the operator should act on.
	Wrong []string `json:"wrong"`

	manifest *keys.Manifest
}

type keyStatus struct {
	KeyID         string    `json:"kid"`
	Algorithm     string    `json:"alg"`
	State         string    `json:"state"`
	Imported      bool      `json:"imported,omitempty"`
	Signer        string    `json:"signer,omitempty"`
	PublishAt     time.Time `json:"publish_at"`
	ActivateAt    time.Time `json:"activate_at,omitzero"`
	SignUntil     time.Time `json:"sign_until,omitzero"`
	PromisedUntil time.Time `json:"promised_until,omitzero"`
	RemoveAt      time.Time `json:"remove_at"`
	RevokedAt     time.Time `json:"revoked_at,omitzero"`
}

type droppedStatus struct {
	KeyID     string    `json:"kid"`
	Algorithm string    `json:"alg"`
	RemoveAt  time.Time `json:"remove_at"`
	KeptUntil time.Time `json:"kept_until"`
}

// An event is a change that the schedule of a key makes.
type event struct {
	At    time.Time `json:"at"`
	KeyID string    `json:"kid"`
	What  string    `json:"what"`
}

func newStatusCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show each key, what happens next and what is wrong",
	}
	p := newPlace(cmd, getenv)
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, name, err := p.read(cmd.Context())
		if err != nil {
			return err
		}
		s := newStatus(name, m, time.Now().UTC().Truncate(time.Second))
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		return s.print(cmd.OutOrStdout())
	}
	return cmd
}

func newStatus(name string, m *keys.Manifest, now time.Time) *status {
	s := &status{
		Manifest: name, Version: m.Version, CreatedAt: m.CreatedAt, Now: now,
		Keys: []keyStatus{}, Dropped: []droppedStatus{}, Next: events(m, now), Wrong: wrong(m, now), manifest: m,
	}
	if k := m.CurrentAt(now); k != nil {
		s.Current = k.ID()
	}
	for _, k := range inOrder(m) {
		s.Keys = append(s.Keys, keyStatus{
			KeyID: k.ID(), Algorithm: string(k.Public.Algorithm()), State: m.StateAt(k, now).String(),
			Imported: k.Imported, Signer: k.Signer,
			PublishAt: k.PublishAt, ActivateAt: k.ActivateAt, SignUntil: k.SignUntil,
			PromisedUntil: k.PromisedUntil, RemoveAt: k.RemoveAt, RevokedAt: k.RevokedAt,
		})
	}
	for _, k := range m.Dropped {
		s.Dropped = append(s.Dropped, droppedStatus{
			KeyID: k.ID(), Algorithm: string(k.Public.Algorithm()), RemoveAt: k.RemoveAt, KeptUntil: k.RemoveAt.Add(keys.RecoveryPeriod),
		})
	}
	return s
}

// inOrder returns the keys in the order in which they sign, imported ones first.
func inOrder(m *keys.Manifest) []*keys.Key {
	return slices.SortedFunc(slices.Values(m.Keys), func(a, b *keys.Key) int {
		return cmp.Or(a.ActivateAt.Compare(b.ActivateAt), a.PublishAt.Compare(b.PublishAt), strings.Compare(a.ID(), b.ID()))
	})
}

// events lists what is still to happen, the next event first.
func events(m *keys.Manifest, now time.Time) []event {
	all, current := []event{}, m.CurrentAt(now)
	for _, k := range inOrder(m) {
		add := func(at time.Time, what string) {
			if at.After(now) {
				all = append(all, event{at, k.ID(), what})
			}
		}
		if !k.RevokedAt.IsZero() {
			add(k.RevokedAt, "is revoked")
			add(k.RemoveAt, "may be dropped")
			continue
		}
		add(k.PublishAt, "is published")
		if !k.Imported {
			add(k.ActivateAt, "starts to sign")
		}
		if k == current {
			add(k.SignUntil, "stops signing, unless its lease is renewed")
		}
		if k == current || !k.Imported && k.ActivateAt.After(now) {
			continue // its lease will be renewed before that
		}
		add(k.RemoveAt, "leaves the JWK Set")
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.At.Compare(b.At) })
	return all
}

// wrong lists what the operator should act on.
func wrong(m *keys.Manifest, now time.Time) []string {
	all := []string{}
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if ahead := m.CreatedAt.Sub(now); ahead > m.Policy.Skew {
		add("it was made in the future, %s from now: the clock is wrong here, or was wrong there. Set it right before anything else", span(ahead))
	}
	if ended, lost := lapsed(m, now); lost != nil {
		add("signing ended %s ago, at %s, because no lease was renewed. If that cannot be, the clock is wrong here: set it right before anything else. "+
			"If it can, run keys rotate --clock-checked", span(now.Sub(ended)), formatTime(ended))
	}
	if m.CurrentAt(now) == nil {
		add("no key signs: creating sessions answers 503. Run keys rotate, and see when the next key may sign")
	} else if ends := m.SignsUntil(now); ends.Before(now.Add(m.Policy.Lease / 2)) {
		add("signing ends in %s, at %s: a lease was not renewed in time. Run keys rotate, and see why it does not run daily",
			span(ends.Sub(now)), formatTime(ends))
	}
	if !standby(m, now) {
		add("there is no next key: if the current one were revoked, nothing could sign. Run keys rotate, or keys add for a key in a device")
	}
	draft := m.Draft()
	next, err := keys.Rotate(draft, now)
	switch {
	case err != nil:
		add("keys rotate would fail: %v", err)
	case next != draft && len(all) == 0:
		for _, c := range changes(m, next, now) {
			name := newKey
			if c.KeyID != "" {
				name = "key " + short(next, c.KeyID)
			}
			add("keys rotate is due: %s would be %s", name, c.What)
		}
	}
	return all
}

// standby reports whether there is a next key.
func standby(m *keys.Manifest, now time.Time) bool {
	return slices.ContainsFunc(m.Keys, func(k *keys.Key) bool {
		state := m.StateAt(k, now)
		return (state == keys.Next || state == keys.Scheduled) && !k.Imported
	})
}

func (s *status) print(w io.Writer) error {
	var b strings.Builder
	made := span(s.Now.Sub(s.CreatedAt)) + " ago"
	if s.CreatedAt.After(s.Now) {
		made = "in the future"
	}
	fmt.Fprintf(&b, "%s, version %d, made %s\nnow     %s\n", s.Manifest, s.Version, made, formatTime(s.Now))
	if s.Current == "" {
		b.WriteString("signs   nothing\n\n")
	} else {
		fmt.Fprintf(&b, "signs   %s\nlasts   until %s, unless the keys are rotated\n\n",
			s.Current, formatTime(s.manifest.SignsUntil(s.Now)))
	}
	s.printTable(&b)
	for _, k := range s.Dropped {
		fmt.Fprintf(&b, "%s was removed %s; its tokens may ask for a new link until %s\n", short(s.manifest, k.KeyID), minute(k.RemoveAt), minute(k.KeptUntil))
	}
	b.WriteString("\n" + timeline(s.manifest, s.Now) + "\n")
	s.printNext(&b)
	if len(s.Wrong) == 0 {
		b.WriteString("Nothing is wrong.\n")
	} else {
		b.WriteString("Wrong:\n")
	}
	for _, line := range s.Wrong {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *status) printTable(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tALG\tSTATE\tPUBLISHED\tSIGNS FROM\tSIGNS UNTIL\tREMOVED")
	for _, k := range s.Keys {
		state := k.State
		switch {
		case k.Imported:
			state += ", imported"
		case k.Signer != "":
			state += ", in a device"
		}
		removed := k.RemoveAt
		if !k.RevokedAt.IsZero() {
			removed = k.RevokedAt
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", short(s.manifest, k.KeyID), k.Algorithm, state,
			minute(k.PublishAt), minute(k.ActivateAt), minute(k.SignUntil), minute(removed))
	}
	_ = t.Flush() // a strings.Builder never fails
}

func (s *status) printNext(b *strings.Builder) {
	if len(s.Next) == 0 {
		return
	}
	b.WriteString("What happens next:\n")
	for _, e := range s.Next {
		fmt.Fprintf(b, "  in %-10s  %s  %s %s\n", span(e.At.Sub(s.Now)), formatTime(e.At), short(s.manifest, e.KeyID), e.What)
	}
	b.WriteString("\n")
}

// minute writes a time for a column, in UTC.
func minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// span writes a duration in its two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Round(time.Second); {
	case d < 0:
		return "-" + span(-d)
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}
