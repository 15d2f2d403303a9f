package command

import (
	"fmt"
	"strings"

	"github.com/customersession/customersession/keys"
)

// Key IDs have 43 characters; people type the first ones.
const (
	shortestID = 6 // that is taken
	shownID    = 8 // that is shown
)

// newKey names a key of a draft, which has no ID yet.
const newKey = "a new key"

// resolve returns the ID of the key that text begins, when it is only one.
func resolve(m *keys.Manifest, text string) (string, error) {
	var found []string
	for _, k := range m.Keys {
		if k.ID() == text {
			return text, nil
		}
		if len(text) >= shortestID && strings.HasPrefix(k.ID(), text) {
			found = append(found, k.ID())
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("no key has the ID %q, or one of which that is the beginning, of at least %d characters; keys status lists them",
			text, shortestID)
	default:
		return "", fmt.Errorf("%q begins the IDs of several keys: %s; type more of it", text, strings.Join(found, ", "))
	}
}

// resolveAll is resolve for several.
func resolveAll(m *keys.Manifest, texts []string) ([]string, error) {
	ids := make([]string, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = resolve(m, text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// short returns how the key's ID is shown: as much of it as tells it from the
// others.
func short(m *keys.Manifest, id string) string {
	if id == "" {
		return newKey
	}
	n := min(shownID, len(id))
	for _, k := range m.Keys {
		for other := k.ID(); other != id && n < len(id) && strings.HasPrefix(other, id[:n]); {
			n++
		}
	}
	return id[:n]
}
