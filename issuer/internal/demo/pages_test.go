package demo_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestTexts compares the languages: what one can say, the other one can, about the
// same things.
func TestTexts(t *testing.T) {
	t.Parallel()
	verbs := regexp.MustCompile(`%.`)
	english, german := texts(t, "en"), texts(t, "de")
	for key, text := range english {
		other, ok := german[key]
		switch {
		case !ok:
			t.Errorf("%s has no German", key)
		case !slices.Equal(verbs.FindAllString(text, -1), verbs.FindAllString(other, -1)):
			t.Errorf("%s: %q and %q are about different things", key, text, other)
		}
	}
	for key := range german {
		if english[key] == "" {
			t.Errorf("%s has no English", key)
		}
	}
}

func texts(t *testing.T, language string) map[string]string {
	t.Helper()
	file, err := os.ReadFile("site/" + language + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var texts map[string]string
	if err := json.Unmarshal(file, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}
