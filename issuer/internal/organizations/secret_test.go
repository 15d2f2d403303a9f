package organizations_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// wellFormed is a secret made by hand: its random part is the number 1, and
// 0xf4e6619, the CRC-32 of that part, is 0hnupX in base 62.
const wellFormed = "csk_" + "0000000000000000000000000000000000000000001" + "0hnupX"

func TestGenerateSecret(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^csk_[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for range 1000 {
		secret := organizations.GenerateSecret().Reveal()
		if !form.MatchString(secret) {
			t.Fatalf("a secret has the wrong form: %d characters", len(secret))
		}
		if !organizations.WellFormed(secret) {
			t.Fatal("a generated secret is not well formed")
		}
		if seen[secret] {
			t.Fatal("a secret came twice")
		}
		seen[secret] = true
	}
}

func TestWellFormed(t *testing.T) {
	t.Parallel()
	if !organizations.WellFormed(wellFormed) {
		t.Error("the secret made by hand is refused")
	}
	tests := []struct{ name, text string }{
		{"empty", ""},
		{"prefix alone", "csk_"},
		{"other prefix", "pol_" + wellFormed[4:]},
		{"upper-case prefix", "CSK_" + wellFormed[4:]},
		{"too short", wellFormed[:len(wellFormed)-1]},
		{"too long", wellFormed + "0"},
		{"space behind", wellFormed + " "},
		{"space before", " " + wellFormed[:len(wellFormed)-1]},
		{"character outside the alphabet", strings.Replace(wellFormed, "1", "-", 1)},
		{"wrong checksum", wellFormed[:len(wellFormed)-1] + "m"},
		{"case of the checksum", wellFormed[:len(wellFormed)-6] + "0HNUPx"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if organizations.WellFormed(test.text) {
				t.Errorf("%q is accepted", test.text)
			}
		})
	}
}

// A single wrong character, as after a careless copy, is always noticed.
func TestWellFormedNoticesEachCharacter(t *testing.T) {
	t.Parallel()
	secret := organizations.GenerateSecret().Reveal()
	for i := range secret {
		changed := []byte(secret)
		changed[i] = '0'
		if secret[i] == '0' {
			changed[i] = 'z'
		}
		if organizations.WellFormed(string(changed)) {
			t.Errorf("character %d was changed without notice", i)
		}
	}
}

func TestHashSecret(t *testing.T) {
	t.Parallel()
	// FIPS 180-2, Appendix B.1.
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := organizations.HashSecret("abc"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSecretHidesItself(t *testing.T) {
	t.Parallel()
	key := organizations.GenerateSecret()
	holder := struct{ Key secret.Text }{key}
	prints := map[string]string{}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d", "%60s", "%t"} {
		prints[verb] = fmt.Sprintf(verb, key)
		prints["holder "+verb] = fmt.Sprintf(verb, holder)
		prints["pointer "+verb] = fmt.Sprintf(verb, &key)
	}
	prints["Print"] = fmt.Sprint(key)
	prints["String"] = key.String()
	prints["error"] = fmt.Errorf("key %v", key).Error()
	for name, value := range map[string]any{
		"JSON": key, "JSON holder": holder,
	} {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		prints[name] = string(data)
	}
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{
		slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil),
	} {
		slog.New(handler).Info("made", "secret", key, "holder", holder)
	}
	prints["slog"] = logged.String()

	body := strings.TrimPrefix(key.Reveal(), "csk_")
	hexadecimal := fmt.Sprintf("%x", body)
	for name, text := range prints {
		if strings.Contains(text, body) || strings.Contains(strings.ToLower(text), hexadecimal) {
			t.Errorf("%s shows the secret", name)
		}
	}
	if !strings.HasPrefix(key.Reveal(), "csk_") {
		t.Error("Reveal does not return the secret")
	}
}
