package authz_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

func ExampleServer_Handler() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	defer v.Close()
	server, err := authz.New(authz.Config{Verifier: v})
	if err != nil {
		panic(err)
	}
	question := httptest.NewRequest(http.MethodGet, "/account", http.NoBody)
	question.Header.Set("Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
	answer := httptest.NewRecorder()
	server.Handler().ServeHTTP(answer, question)
	fmt.Println(answer.Code, answer.Header().Get("X-Customer-Id"))
	// Output: 204 992fae2a-2a17-4b7a-8d9e-e287cf90131b
}
