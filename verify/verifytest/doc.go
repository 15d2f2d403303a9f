// Package verifytest provides an in-memory issuer, for tests of services that
// verify customer sessions, and a catalogue of attacks to test any JWT verifier
// with.
//
// # Testing a service
//
// [NewIssuer] makes an issuer with fresh keys. [Issuer.Config] configures a
// verifier for it, and [Issuer.Token] makes a token, good or bad:
//
//	func TestAccount(t *testing.T) {
//		issuer := verifytest.NewIssuer(t, verifytest.Config{})
//		v, err := verify.New(issuer.Config())
//		if err != nil {
//			t.Fatal(err)
//		}
//		t.Cleanup(v.Close)
//		handler := v.Middleware(account)
//		request := httptest.NewRequest(http.MethodGet, "/account", http.NoBody)
//		request.Header.Set("Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
//		…
//		expired := issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
//
// No network is involved: the verifier's HTTP client calls the issuer's handler
// directly. This also works in a testing/synctest bubble, where hours of key
// rotation and outage pass in no time. For a service in another process, set
// [Config.Loopback] and pass it [Issuer.URL].
//
// A portal whose links hold codes gets one from [Issuer.Code]. The issuer exchanges
// it with [APIKey], and counts the requests for a new link:
//
//	keyFile := filepath.Join(t.TempDir(), "key")
//	if err := os.WriteFile(keyFile, []byte(verifytest.APIKey), 0o600); err != nil {
//		t.Fatal(err)
//	}
//	handler := v.NewSignIn(verify.SignInConfig{Next: account, Exchange: verify.Exchange{APIKeyFile: keyFile}})
//	target := "/portal?customer_session_code=" + issuer.Code(verifytest.TokenSpec{})
//
// # Rotation and outages
//
// [Issuer.Publish], [Issuer.Activate] and [Issuer.Remove] move keys through
// their life. [Issuer.Fail] makes the issuer fail; see [Failure] for the ways.
//
// # Sessions that end
//
// The issuer serves a feed of revocations. [Issuer.RevokeSession] and the like end
// sessions; a verifier hears of it within about a second, the pause of the feed, or
// at once with [verify.Verifier.Refresh]. [Issuer.FailFeed] makes the feed fail while
// the JWK Set is served, and [FeedFailure] lists the ways. A new verifier then answers
// 503; one that has heard from the feed does so after [Config.MaxRevocationAge].
//
// # Conformance
//
// [RunConformance] runs a verifier on every case of [Cases] and fails the test
// for each wrong verdict. The attacks are real: a case differs from a good token
// in one point only, the keys that it points to can be fetched, and its
// signature is the best that an attacker can make. Some cases are good tokens,
// so a verifier cannot pass by refusing everything.
//
//	func TestConformance(t *testing.T) {
//		v, err := verify.New(verifytest.ConformanceIssuer(t).Config())
//		if err != nil {
//			t.Fatal(err)
//		}
//		t.Cleanup(v.Close)
//		verifytest.RunConformance(t, func(ctx context.Context, token string) error {
//			_, err := v.Verify(ctx, token)
//			return err
//		})
//	}
//
// [Conformance.RunRevocations] does the same with what a feed of revocations can do
// to a verifier that follows it.
//
// To test another verifier, such as a gateway, use [Conformance]: it takes any
// [Issuer] and can skip the cases that depend on rules of customer sessions
// rather than of JWTs.
package verifytest
