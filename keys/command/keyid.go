package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
)

// Key IDs have 43 characters; people type the first ones.
const (
	shortestID = 6 // the fewest characters that name a key
	shownID    = 8 // the fewest that are shown
)

// newKey names a key of a draft, which has no ID yet.
const newKey = "a new key"

// resolve returns the ID of the only key whose ID begins with text.
func resolve(m *keys.Manifest, text string) (string, error) {
	var found []string
	for _, k := range slices.Concat(m.Keys, m.Dropped) {
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
		return "", fmt.Errorf("no key has the ID %q, or an ID that begins with it (%d characters or more); keys status lists them",
			text, shortestID)
	default:
		return "", fmt.Errorf("the IDs of several keys begin with %q: %s; type more of it", text, strings.Join(found, ", "))
	}
}

// resolveAll resolves each text.
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

// takesKeyIDs annotates the commands whose arguments are key IDs.
const takesKeyIDs = "customersession_takes_key_ids"

// ProtectKeyIDs returns args, which are for root, with every key ID that begins
// with a hyphen moved behind "--", where it is not read as a flag. One key ID
// in 64 begins so.
func ProtectKeyIDs(root *cobra.Command, args []string) []string {
	cmd, rest, err := root.Find(args)
	if _, takes := cmd.Annotations[takesKeyIDs]; err != nil || !takes {
		return args
	}
	words, ids := strings.Fields(cmd.CommandPath())[1:], []string{"--"}
	isValue := false
	for i, arg := range rest {
		switch {
		case arg == "--":
			return slices.Concat(words, ids, rest[i+1:])
		case !isValue && likeKeyID(arg):
			ids = append(ids, arg)
		default:
			words = append(words, arg)
		}
		flag := cmd.Flags().Lookup(strings.TrimPrefix(arg, "--"))
		isValue = !isValue && flag != nil && flag.NoOptDefVal == ""
	}
	return append(words, ids...)
}

// likeKeyID reports whether a word with a hyphen may be a key ID: flags are in
// lower case and without digits.
func likeKeyID(arg string) bool {
	return strings.HasPrefix(arg, "-") && !strings.Contains(arg, "=") && strings.ContainsAny(arg, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
}

// short returns the beginning of a key's ID that no other key shares.
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
