package reload

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is a kind of [Event].
type Kind uint8

// The kinds of events.
const (
	// Replaced: a new version is in use.
	Replaced Kind = iota + 1
	// Refused: the file cannot be used, for the reason in Err. The version in
	// use stays. Each bad version is reported once, however long it is there.
	Refused
	// Restored: after a refusal the file holds the version in use again.
	Restored
)

// String returns the kind as a lower-case word, fit for a metric's label.
func (k Kind) String() string {
	switch k {
	case Replaced:
		return "replaced"
	case Refused:
		return "refused"
	case Restored:
		return "restored"
	default:
		return "unknown"
	}
}

// Change counts what differs between two versions of a file, for one sort of
// thing in it.
type Change struct {
	// Of names the sort, such as "customers".
	Of string
	// Before is how many the earlier version has.
	Before int
	// Added, Changed and Removed are the differences. Things are the same if
	// their names are, whatever else changed.
	Added, Changed, Removed int
	// Lost is how many of the removed ones nothing takes the place of.
	Lost int
}

// Compare returns the difference between two versions of named things. All that
// are removed are lost.
func Compare[K comparable, V any](of string, old, next map[K]V, same func(old, next V) bool) Change {
	change := Change{Of: of, Before: len(old)}
	for name, was := range old {
		switch is, kept := next[name]; {
		case !kept:
			change.Removed++
		case !same(was, is):
			change.Changed++
		}
	}
	change.Lost, change.Added = change.Removed, len(next)-(len(old)-change.Removed)
	return change
}

// Words turns the name of a sort, as logs have it, into words.
func Words(of string) string { return strings.NewReplacer("_", " ", "api", "API").Replace(of) }

// loss returns an error for each sort of which changes take away most.
func loss(changes []Change) error {
	var losses []error
	for _, c := range changes {
		if 2*c.Lost > c.Before {
			losses = append(losses, fmt.Errorf("it takes away %d of %d %s: if that is meant, send SIGHUP or restart", c.Lost, c.Before, Words(c.Of)))
		}
	}
	return errors.Join(losses...)
}

// Event is a change of a file, for logs and metrics.
type Event struct {
	Kind Kind
	// Path is the path in the configuration.
	Path string
	// Err is the reason for a refusal, nil otherwise.
	Err error
	// Changes counts the differences from the version that is, or was, in use.
	// It is nil if the version could not be loaded.
	Changes []Change
}

// Status is the present state of a file.
type Status struct {
	// LoadedAt is when the version in use was loaded.
	LoadedAt time.Time
	// Err is why the file, as it is now, cannot be used. It is nil while the
	// file holds the version in use.
	Err error
}
