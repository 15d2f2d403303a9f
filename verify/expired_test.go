package verify_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

// The error for a token that has expired names its session, whether the token was
// known or not, and shows nothing of it.
func TestExpiredError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		c := newConsumer(t, issuer, nil)
		known, unseen := issuer.Token(verifytest.TokenSpec{}), issuer.Token(verifytest.TokenSpec{Lifetime: 59 * time.Minute})
		c.check(t, "before", known, nil)
		time.Sleep(time.Hour + time.Minute)
		for name, token := range map[string]string{"known": known, "unseen": unseen} {
			_, err := c.Verify(t.Context(), token)
			expired, ok := errors.AsType[*verify.ExpiredError](err)
			if !ok || !errors.Is(err, verify.ErrExpired) || !errors.Is(err, jwt.ErrTokenExpired) {
				t.Fatalf("%s: got %v", name, err)
			}
			if s := expired.Session; s.ID != verifytest.SessionID || s.ReturnURL != verifytest.ReturnURL || s.KeyID == "" || s.ExpiresAt.IsZero() {
				t.Errorf("%s: got %+v", name, s)
			}
			if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, verifytest.SessionID) {
				t.Errorf("%s: the error shows the session: %s", name, text)
			}
		}
	})
}

// A token that is wrong otherwise, too, has no session.
func TestExpiredErrorIsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	now := time.Now().Unix()
	date := func(seconds int64) string { return strconv.FormatInt(seconds, 10) }
	expired := func(oldnew ...string) string {
		return strings.NewReplacer(oldnew...).Replace(fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":%q,"sid":%q,"org":%q,"iat":%d,"exp":%d}`,
			testIssuer, testAudience, customerID, sessionID, orgID, now-7200, now-3600))
	}
	for name, p := range map[string]string{
		"issuer":       expired(testIssuer, "https://other.example.com"),
		"audience":     expired(testAudience, "admin"),
		"not before":   expired(`{`, fmt.Sprintf(`{"nbf":%d,`, now+600)),
		"lifetime":     expired(date(now-7200), date(now-3600-86401)),
		"ends earlier": expired(date(now-7200), date(now-3599)),
	} {
		_, err := v.Verify(t.Context(), s.token(t, s.header(), p))
		if _, ok := errors.AsType[*verify.ExpiredError](err); ok || err == nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := v.Verify(t.Context(), s.token(t, s.header(), expired())+"A"); errors.Is(err, verify.ErrExpired) {
		t.Errorf("bad signature: got %v", err)
	}
}

// A verifier accepts one type of token.
func TestTokenType(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	sessions := newVerifier(t, s)
	codes, err := verify.New(verify.Config{Issuer: testIssuer, Audience: testIssuer, KeySource: s, TokenType: wire.CodeType})
	if err != nil {
		t.Fatal(err)
	}
	token := s.token(t, s.header(), payload())
	code := s.token(t, strings.Replace(s.header(), wire.TokenType, wire.CodeType, 1), payload(testAudience, testIssuer))
	disguised := s.token(t, s.header(), payload(testAudience, testIssuer))
	for _, tc := range []struct {
		name  string
		v     *verify.Verifier
		token string
		want  error
	}{
		{"token as a session", sessions, token, nil},
		{"code as a code", codes, code, nil},
		{"code as a session", sessions, code, verify.ErrType},
		{"token as a code", codes, token, verify.ErrType},
		{"claims of a code", sessions, disguised, verify.ErrAudience},
	} {
		if _, err := tc.v.Verify(t.Context(), tc.token); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}
