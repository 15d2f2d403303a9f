// Package verifytest is an issuer of customer sessions in memory, for tests of
// services that verify them, and a catalogue of attacks that any verifier of
// JSON Web Tokens can be measured with.
//
// # Testing a service
//
// [NewIssuer] makes an issuer with fresh keys. Its [Issuer.Config] is all that
// a verifier needs, and [Issuer.Token] makes a token, good or bad:
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
// directly. That also works in a bubble of testing/synctest, where hours of
// key rotation and outage pass in no time. A service in another process is
// given [Issuer.URL] of an issuer with [Config.Loopback].
//
// # Rotation and outages
//
// [Issuer.Publish], [Issuer.Activate] and [Issuer.Remove] move keys through
// their life. [Issuer.Fail] breaks the issuer in one of the ways that issuers
// break: see [Failure].
//
// # Conformance
//
// [RunConformance] shows every case of [Cases] to a verifier and fails the test
// for each one that it judges wrongly. The attacks are meant to succeed: a case
// differs from a good token in one point only, keys that it points to can be
// fetched, and signatures are the best that an attacker can make. Good tokens
// are among the cases, so that a verifier cannot pass by refusing everything.
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
// A gateway that is not ours is measured with [Conformance], which takes an
// issuer of one's own and can leave out the cases that rest on rules of
// customer sessions rather than of JWTs.
package verifytest
