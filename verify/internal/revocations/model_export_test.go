package revocations

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fingerprint returns a text that is the same for two pieces of knowledge if and
// only if they behave alike from here on. What a request's age and its beginning
// say together is one instant.
func (k *Knowledge) Fingerprint() string {
	var text strings.Builder
	fmt.Fprint(&text, k.log, " ", k.seq, k.enabled, k.maxAge, k.pause)
	if k.heard {
		fmt.Fprint(&text, " ", k.begun.Monotonic-k.age, " ", k.begun.Wall.Add(-k.age).Unix())
	}
	var entries []string
	for id, e := range k.set.all {
		entries = append(entries, fmt.Sprint(id, e))
	}
	slices.Sort(entries)
	fmt.Fprint(&text, entries)
	for _, id := range slices.Sorted(maps.Keys(k.keys)) {
		fmt.Fprint(&text, " ", id, k.keys[id])
	}
	return text.String()
}
