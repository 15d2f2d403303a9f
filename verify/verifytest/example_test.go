package verifytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

// Test a service with an in-memory issuer. In a test, pass t to NewIssuer.
func Example() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	account := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		fmt.Fprintln(w, "customer", session.CustomerID)
	}))
	for _, token := range []string{
		issuer.Token(verifytest.TokenSpec{}),
		issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"aud": "somebody-else"}}),
	} {
		request := httptest.NewRequest(http.MethodGet, "/account", http.NoBody)
		request.Header.Set("Authorization", "Bearer "+token)
		answer := httptest.NewRecorder()
		account.ServeHTTP(answer, request)
		fmt.Print(answer.Code, " ", answer.Body)
	}
	// Output:
	// 200 customer 992fae2a-2a17-4b7a-8d9e-e287cf90131b
	// 401 {"error":"invalid_token","error_description":"The token is not valid here"}
}

func ExampleIssuer_Token() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	yesterday := time.Now().Add(-24 * time.Hour)
	_, err = v.Verify(context.Background(), issuer.Token(verifytest.TokenSpec{IssuedAt: yesterday}))
	fmt.Println(err)
	_, err = v.Verify(context.Background(), issuer.Token(verifytest.TokenSpec{
		Header: map[string]any{"typ": "at+jwt"},
	}))
	fmt.Println(err)
	// Output:
	// verify: token has expired
	// verify: token is of another type
}

// A key is published before it signs, and stays published after it stops.
func ExampleIssuer_Activate() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	old, next := issuer.KeyID(), issuer.Publish(jwk.EdDSA)
	fmt.Println(len(issuer.Keys()), issuer.KeyID() == old)
	issuer.Activate(next)
	fmt.Println(len(issuer.Keys()), issuer.KeyID() == next)
	issuer.Remove(old)
	fmt.Println(len(issuer.Keys()))
	// Output:
	// 2 true
	// 2 true
	// 1
}

// Test what a service does while the issuer is down: it answers 503, not 401.
func ExampleIssuer_Fail() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	issuer.Fail(verifytest.Down)
	v, err := verify.New(issuer.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	_, err = v.Verify(context.Background(), issuer.Token(verifytest.TokenSpec{}))
	fmt.Println(errors.Is(err, verify.ErrKeysUnavailable), issuer.Requests())
	// Output:
	// true 1
}

// Test what a service does when a session has ended, and when that cannot be known.
func ExampleIssuer_RevokeSession() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	start := func() *verify.Verifier {
		v, err := verify.New(issuer.Config())
		if err != nil {
			panic(err)
		}
		return v
	}
	visit := func(v *verify.Verifier) {
		request := httptest.NewRequest(http.MethodGet, "/account", http.NoBody)
		request.Header.Set("Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
		answer := httptest.NewRecorder()
		account := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		v.Middleware(account).ServeHTTP(answer, request)
		fmt.Println(answer.Code)
	}

	v := start()
	defer v.Close()
	visit(v)
	issuer.RevokeSession(verifytest.SessionID)
	_ = v.Refresh(context.Background()) // or wait for a second
	visit(v)

	issuer.FailFeed(verifytest.FeedDown)
	restarted := start()
	defer restarted.Close()
	visit(restarted)
	// Output:
	// 200
	// 401
	// 503
}

// Outside a test, Check runs one case at a time.
func ExampleConformance_Check() {
	issuer := verifytest.ConformanceIssuer(nil)
	acceptsEverything := verifytest.Conformance{
		Issuer: issuer,
		Verify: func(context.Context, string) error { return nil },
	}
	for _, c := range verifytest.Cases() {
		if !c.Applies(issuer) {
			continue
		}
		if err := acceptsEverything.Check(context.Background(), c); err != nil {
			fmt.Printf("%s (%s): %v\n", c.ID, c.Source, err)
			break
		}
	}
	// Output:
	// none (RFC 8725, Section 2.1; CVE-2018-1000531): accepted, but anybody can write it
}
