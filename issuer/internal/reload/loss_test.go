package reload_test

import (
	"io"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// words is a configuration of files that are lists of words.
func words() reload.Config[string] {
	list := func(line string) map[string]bool {
		all := map[string]bool{}
		for word := range strings.FieldsSeq(line) {
			all[strings.ToLower(word)] = word == strings.ToLower(word)
		}
		return all
	}
	return reload.Config[string]{
		KeepMost: true,
		Compare: func(old, next string) []reload.Change {
			return []reload.Change{reload.Compare("words", list(old), list(next), func(a, b bool) bool { return a == b })}
		},
	}
}

// A version that takes away more than half is refused, whatever it adds, until
// it is said that it is meant.
func TestLoss(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, first, next string
		change            reload.Change
		refused           string
	}{
		{"more", "a b", "a b c", reload.Change{Of: "words", Before: 2, Added: 1}, ""},
		{"changed", "a b c", "A B c", reload.Change{Of: "words", Before: 3, Changed: 2}, ""},
		{"half", "a b c d", "c d", reload.Change{Of: "words", Before: 4, Removed: 2, Lost: 2}, ""},
		{"more than half", "a b c", "c", reload.Change{Of: "words", Before: 3, Removed: 2, Lost: 2}, "it takes away 2 of 3 words"},
		{"other ones", "a b c", "c d e f", reload.Change{Of: "words", Before: 3, Added: 3, Removed: 2, Lost: 2}, "it takes away 2 of 3 words"},
		{"emptied", "a", "", reload.Change{Of: "words", Before: 1, Removed: 1, Lost: 1}, "it takes away 1 of 1 words"},
		{"empty before", "", "a", reload.Change{Of: "words", Added: 1}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			running(t, words(), func(t *testing.T, x *fixture) {
				write(t, x.path, test.first)
				x.Reload()
				x.becomes(t, test.first)
				write(t, x.path, test.next)
				looks(3)
				event := x.next(t)
				if len(event.Changes) != 1 || event.Changes[0] != test.change {
					t.Errorf("got the changes %+v, want %+v", event.Changes, test.change)
				}
				if test.refused == "" {
					if event.Kind != reload.Replaced || x.Current() != test.next {
						t.Errorf("got the event %v, %v, and %q", event.Kind, event.Err, x.Current())
					}
					return
				}
				if event.Kind != reload.Refused || !strings.Contains(event.Err.Error(), test.refused) || !strings.Contains(event.Err.Error(), "SIGHUP") {
					t.Errorf("got the event %v, %v, want it refused: %s", event.Kind, event.Err, test.refused)
				}
				if err := x.Status().Err; x.Current() != test.first || err == nil {
					t.Errorf("got %q and the status %v, want the old version and the reason", x.Current(), err)
				}
				x.silent(t)
				x.Reload()
				looks(1)
				x.expect(t, reload.Replaced, nil)
				if err := x.Status().Err; x.Current() != test.next || err != nil {
					t.Errorf("got %q and the status %v, want the new version", x.Current(), err)
				}
			})
		})
	}
}

// Reload does not help a version that is refused for another reason, but reports
// it again.
func TestReloadKeepsOtherRefusals(t *testing.T) {
	t.Parallel()
	config := words()
	config.Accept = func(_, next string) error {
		if next == "unsafe" {
			return io.ErrNoProgress
		}
		return nil
	}
	running(t, config, func(t *testing.T, x *fixture) {
		for _, bad := range []struct {
			line string
			err  error
		}{{"broken", errBroken}, {"unsafe", io.ErrNoProgress}} {
			write(t, x.path, bad.line)
			looks(2)
			x.expect(t, reload.Refused, bad.err)
			x.Reload()
			looks(2)
			x.expect(t, reload.Refused, bad.err)
			x.silent(t)
		}
		if got := x.Current(); got != "one" {
			t.Errorf("got %q, want the old version", got)
		}
		write(t, x.path, "one")
		x.Reload()
		looks(1)
		x.expect(t, reload.Restored, nil)
		x.Reload()
		looks(2)
		x.silent(t)
	})
}
