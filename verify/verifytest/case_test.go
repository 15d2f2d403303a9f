package verifytest_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

var update = flag.Bool("update", false, "write testdata")

// IDs are a promise: whoever skips a case by its ID goes on skipping it.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	var got strings.Builder
	count := map[verifytest.Verdict]int{}
	for _, c := range verifytest.Cases() {
		if !id.MatchString(c.ID) || seen[c.ID] {
			t.Errorf("ID %q is not in kebab case, or there twice", c.ID)
		}
		seen[c.ID] = true
		for name, text := range map[string]string{"Title": c.Title, "Why": c.Why, "Source": c.Source} {
			if text == "" || strings.TrimSpace(text) != text || strings.HasSuffix(text, ".") {
				t.Errorf("%s: %s is %q", c.ID, name, text)
			}
		}
		if !regexp.MustCompile(`RFC \d|CVE-\d{4}-\d|CWE-\d|FIPS|Wycheproof|\b20\d\d$`).MatchString(c.Source) {
			t.Errorf("%s: nobody can look up the source %q", c.ID, c.Source)
		}
		count[c.Want]++
		profile := ""
		if c.Profile {
			profile = " profile"
		}
		fmt.Fprintf(&got, "%s %s%s\n", c.Want, c.ID, profile)
	}
	if count[verifytest.Refuse] < 120 || count[verifytest.Accept] < 20 {
		t.Errorf("got %v, want at least 120 to refuse and 20 to accept", count)
	}
	compareGolden(t, "testdata/cases.golden", got.String())
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the catalogue is not the one of %s; if that is meant, run the test with -update", name)
	}
}

// allKeys returns an issuer with a key for each algorithm.
func allKeys(t *testing.T) *verifytest.Issuer {
	t.Helper()
	return verifytest.NewIssuer(t, verifytest.Config{Algorithms: jwk.Algorithms()})
}

// A case shows something only if there is nothing else wrong with it: a token
// with three segments has a good signature or good claims, and an attack on
// the header that leaves the signature alone has both.
func TestCasesHaveOneDefect(t *testing.T) {
	t.Parallel()
	issuer := allKeys(t)
	// These are about what is missing, or in the wrong place.
	neither := map[string]bool{"dots": true, "swapped-segments": true, "detached": true}
	for _, c := range verifytest.Cases() {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			token := c.Token(issuer)
			parts := strings.Split(token, ".")
			if len(parts) != 3 || neither[c.ID] {
				return
			}
			signed, claims := hasSignature(issuer, parts), hasClaims(issuer, parts[1])
			switch {
			case !signed && !claims:
				t.Errorf("neither signature nor claims are good: %s", token)
			case c.Want != verifytest.Refuse && (!claims || !signed):
				t.Errorf("signature good: %t, claims good: %t", signed, claims)
			}
		})
	}
}

// hasSignature tells whether any key of the issuer has signed.
func hasSignature(issuer *verifytest.Issuer, parts []string) bool {
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	for _, key := range issuer.Keys() {
		method := jwt.GetSigningMethod(string(key.Algorithm()))
		if method.Verify(parts[0]+"."+parts[1], signature, key.Public()) == nil {
			return true
		}
	}
	return false
}

// hasClaims tells whether a lenient reader is content.
func hasClaims(issuer *verifytest.Issuer, segment string) bool {
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return false
	}
	var claims jwt.MapClaims
	if json.Unmarshal(text, &claims) != nil {
		return false
	}
	return jwt.NewValidator(jwt.WithIssuer(issuer.URL()), jwt.WithAudience(issuer.Audience()),
		jwt.WithExpirationRequired(), jwt.WithLeeway(30*time.Second)).Validate(claims) == nil
}

// A case that asks for keys the issuer does not have says so.
func TestCaseApplies(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Algorithms: []jwk.Algorithm{jwk.EdDSA}})
	for _, c := range verifytest.Cases() {
		want := true
		for _, a := range c.Algorithms {
			want = want && a == jwk.EdDSA
		}
		if got := c.Applies(issuer); got != want {
			t.Errorf("%s applies: got %t, want %t", c.ID, got, want)
		}
	}
}
