package benchmarks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

// TestContestants shows that nobody is fast because it leaves something out:
// each one returns the holder of a good token and refuses bad ones.
func TestContestants(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		c := newCourse(t, algorithm, 1)
		bad := c.badTokens()
		for _, contestant := range c.all(t, algorithm) {
			if contestant.name == rawName {
				continue
			}
			t.Run(string(algorithm)+"/"+contestant.name, func(t *testing.T) {
				want := holder{verifytest.CustomerID, c.tokens[0].session, verifytest.OrganizationID, returnURL}
				for range 2 {
					got, err := contestant.verify(t.Context(), &c.tokens[0])
					if err != nil || got != want {
						t.Errorf("a good token gives %+v, %v; want %+v", got, err, want)
					}
				}
				for name, text := range bad {
					if got, err := contestant.verify(t.Context(), &token{text: text}); err == nil {
						t.Errorf("%s: accepted, for %+v", name, got)
					}
				}
			})
		}
	}
}

func (c *course) badTokens() map[string]string {
	good := c.tokens[0].text
	cut := strings.LastIndexByte(good, '.')
	with := func(claims map[string]any) string {
		return c.issuer.Token(verifytest.TokenSpec{Claims: claims})
	}
	unsigned := c.issuer.Token(verifytest.TokenSpec{Header: map[string]any{"alg": "none"}})
	bad := map[string]string{
		"another token's signature": good[:cut] + c.issuer.Token(verifytest.TokenSpec{})[cut:],
		"another issuer":            with(map[string]any{"iss": "https://evil.example"}),
		"another audience":          with(map[string]any{"aud": "somebody-else"}),
		"expired":                   c.issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)}),
		"no expiry":                 with(map[string]any{"exp": nil}),
		"alg none":                  unsigned[:strings.LastIndexByte(unsigned, '.')+1],
		"unknown key":               c.issuer.Token(verifytest.TokenSpec{Header: map[string]any{"kid": "other"}}),
	}
	for _, g := range garbage(good) {
		bad[g.name] = g.text
	}
	return bad
}
