package verify_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

// The examples trust an issuer in memory. A service says who its issuer is:
//
//	verify.New(verify.Config{Issuer: "https://sessions.example.com", Audience: "customer-portal"})
func exampleVerifier() (*verify.Verifier, *verifytest.Issuer) {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		panic(err)
	}
	return v, issuer
}

// get asks a handler for a page, and prints what it says.
func get(handler http.Handler, target string, headers ...string) *http.Response {
	request := httptest.NewRequest(http.MethodGet, target, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	fmt.Println(strings.TrimSpace(fmt.Sprint(answer.Code, " ", answer.Body)))
	return answer.Result()
}

func ExampleNew() {
	_, err := verify.New(verify.Config{Issuer: "http://sessions.example.com"})
	fmt.Println(err)
	// Output:
	// verify: config has no Audience
	// JWKSetURL "http://sessions.example.com/.well-known/jwks.json" is not https; http is for loopback addresses only
}

func ExampleVerifier_Verify() {
	v, issuer := exampleVerifier()
	defer v.Close()

	session, err := v.Verify(context.Background(), issuer.Token(verifytest.TokenSpec{}))
	fmt.Println(session.CustomerID, session.HasScope(wire.Scope), err)

	_, err = v.Verify(context.Background(), issuer.Token(verifytest.TokenSpec{
		IssuedAt: time.Now().Add(-24 * time.Hour),
	}))
	fmt.Println(err)
	fmt.Println(errors.Is(err, verify.ErrExpired), errors.Is(err, jwt.ErrTokenExpired))
	// Output:
	// 992fae2a-2a17-4b7a-8d9e-e287cf90131b true <nil>
	// verify: token has expired
	// true true
}

func ExampleVerifier_Middleware() {
	v, issuer := exampleVerifier()
	defer v.Close()

	account := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		fmt.Fprint(w, "customer ", session.CustomerID)
	}))
	get(account, "/account", "Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
	get(account, "/account", "Authorization", "Bearer of bad news")
	refused := get(account, "/account")
	defer refused.Body.Close()
	fmt.Println(refused.Header.Get("WWW-Authenticate"))
	// Output:
	// 200 customer 992fae2a-2a17-4b7a-8d9e-e287cf90131b
	// 400 {"error":"invalid_request","error_description":"The credentials cannot be read"}
	// 401 {"error":"unauthorized","error_description":"A bearer token is required"}
	// Bearer realm="customersession"
}

// A page for everybody, which greets those who are signed in.
func ExampleVerifier_NewMiddleware_optional() {
	v, issuer := exampleVerifier()
	defer v.Close()

	optional := v.NewMiddleware(verify.MiddlewareConfig{Optional: true})
	page := optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session, ok := verify.FromContext(r.Context()); ok {
			fmt.Fprint(w, "hello ", session.CustomerID)
			return
		}
		fmt.Fprint(w, "hello, whoever you are")
	}))
	get(page, "/")
	get(page, "/", "Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
	get(page, "/", "Authorization", "Bearer expired.or.forged")
	// Output:
	// 200 hello, whoever you are
	// 200 hello 992fae2a-2a17-4b7a-8d9e-e287cf90131b
	// 401 {"error":"invalid_token","error_description":"The token is not valid here"}
}

// An endpoint that wants a scope, and says so in its own words.
func ExampleVerifier_NewMiddleware_scopes() {
	v, issuer := exampleVerifier()
	defer v.Close()

	admin := v.NewMiddleware(verify.MiddlewareConfig{
		Scopes: []string{"admin"},
		OnError: func(w http.ResponseWriter, _ *http.Request, err error) {
			fmt.Fprint(w, "sorry: ", err) // the status is 403 all the same
		},
	})(http.NotFoundHandler())
	get(admin, "/admin", "Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
	// Output:
	// 403 sorry: verify: session lacks a scope
}

// A portal: the landing route signs in, every page accepts the cookie.
func ExampleVerifier_NewSignIn() {
	v, issuer := exampleVerifier()
	defer v.Close()

	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		fmt.Fprint(w, "orders of ", session.CustomerID)
	})
	signedIn := v.NewMiddleware(verify.MiddlewareConfig{Cookie: true})
	mux := http.NewServeMux()
	mux.Handle("/portal", v.NewSignIn(verify.SignInConfig{
		Next: signedIn(page),
		Page: func(w http.ResponseWriter, _ *http.Request, page verify.SignInPage) {
			fmt.Fprint(w, page.Title) // and a form with page.Fields and page.Button
		},
	}))
	mux.Handle("/sign-out", v.SignOut("/"))

	open := []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"} // as a browser says
	arrived := get(mux, "/portal?tab=orders&customer_session_token="+issuer.Token(verifytest.TokenSpec{}), open...)
	defer arrived.Body.Close()
	fmt.Println("to", arrived.Header.Get("Location"))
	cookie := arrived.Cookies()[0]
	get(mux, "/portal?tab=orders", "Cookie", cookie.Name+"="+cookie.Value)

	old := issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
	get(mux, "/portal?customer_session_token="+old, open...)
	// Output:
	// 303
	// to ?tab=orders
	// 200 orders of 992fae2a-2a17-4b7a-8d9e-e287cf90131b
	// 401 This link has expired
}

// A page that shows who is signed in. It goes on without a name when the issuer is
// away.
func ExampleVerifier_User() {
	v, issuer := exampleVerifier()
	defer v.Close()

	page := v.NewMiddleware(verify.MiddlewareConfig{Cookie: true})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := v.User(r.Context())
		if errors.Is(err, verify.ErrRevoked) {
			http.Error(w, "Your session has ended.", http.StatusUnauthorized)
			return
		}
		name := cmp.Or(user.Name, user.Email, "you are signed in") // the zero User after any other error
		fmt.Fprint(w, "Hello, ", html.EscapeString(name))
	}))
	cookie := func(session string) string {
		return wire.CookieName + "=" + issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"sid": session}})
	}
	get(page, "/", "Cookie", cookie("3f6c1a7e-0b52-4d4e-9a53-6f0d3a1f8b11"))
	issuer.FailUser(http.StatusServiceUnavailable)
	get(page, "/", "Cookie", cookie("a8f5f167-0f44-4a5b-9d5e-9c7d5a1f3b22")) // another session: its user is not remembered
	issuer.FailUser(http.StatusUnauthorized)
	get(page, "/", "Cookie", cookie("b6d767d2-f8ed-4d21-a44b-0e5886680cb9"))
	// Output:
	// 200 Hello, Ada Lovelace
	// 200 Hello, you are signed in
	// 401 Your session has ended.
}

// One template for all pages of sign-in. For another language, choose the words by
// State.
func ExampleSignInPage() {
	v, issuer := exampleVerifier()
	defer v.Close()

	look := template.Must(template.New("").Parse(`<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{if .Button}}<form method="post">{{range $name, $value := .Fields}}
<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}
<button>{{.Button}}</button></form>{{end}}
{{with .SupportURL}}<a href="{{.}}">Get help</a>{{end}}
{{with .Session.ReturnURL}}<a href="{{.}}">Back to the shop</a>{{end}}`))
	signIn := v.NewSignIn(verify.SignInConfig{
		Next: http.NotFoundHandler(),
		Page: func(w http.ResponseWriter, _ *http.Request, page verify.SignInPage) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_ = look.Execute(w, page) // fails when the client is gone
		},
	})
	old := issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)})
	get(signIn, "/portal?customer_session_token="+old)
	// Output:
	// 401 <h1>This link has expired</h1>
	// <p>Links work for a limited time.</p>
	// <form method="post">
	// <input type="hidden" name="recover" value="true">
	// <button>Send me a new link</button></form>
	//
	// <a href="https://shop.example.com/">Back to the shop</a>
}

func ExampleVerifier_SignOut() {
	v, _ := exampleVerifier()
	defer v.Close()

	request := httptest.NewRequest(http.MethodPost, "/sign-out", http.NoBody)
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	answer := httptest.NewRecorder()
	v.SignOut("/goodbye").ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Header().Get("Location"))
	// Output:
	// 303 /goodbye
}

// Server-sent events that end with the session: here, when the issuer withdraws
// its key. A WebSocket or any other stream does the same.
func ExampleVerifier_SessionContext() {
	v, issuer := exampleVerifier()
	defer v.Close()

	events := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		ctx, cancel := v.SessionContext(r.Context(), session)
		defer cancel()
		w.Header().Set("Content-Type", "text/event-stream")
		for news := range newsFor(ctx, session.CustomerID) {
			fmt.Fprintf(w, "data: %s\n\n", news)
			_ = http.NewResponseController(w).Flush() // fails when the client is gone
		}
		// For your log: the client reads the end of the stream and asks again.
		fmt.Println("ended:", context.Cause(ctx))
	}))
	server := httptest.NewServer(events)
	defer server.Close()

	request := httptest.NewRequest(http.MethodGet, server.URL, http.NoBody)
	request.Header.Set("Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Scan()
	fmt.Println(lines.Text())

	leaked := issuer.KeyID()
	issuer.Activate(issuer.Publish(jwk.ES256))
	issuer.Remove(leaked)
	if err := v.Refresh(context.Background()); err != nil { // or wait until it is due
		panic(err)
	}
	for lines.Scan() { // to the end of the stream
		continue
	}
	// Output:
	// data: welcome, 992fae2a-2a17-4b7a-8d9e-e287cf90131b
	// ended: verify: key is unknown
}

// newsFor returns the news for a customer, until ctx is done.
func newsFor(ctx context.Context, customerID string) <-chan string {
	news := make(chan string, 1)
	news <- "welcome, " + customerID
	context.AfterFunc(ctx, func() { close(news) })
	return news
}

func ExampleBearerToken() {
	for _, header := range []string{"Bearer abc", "bearer abc", "Basic abc", "Bearer", "Bearer a b"} {
		token, err := verify.BearerToken(http.Header{"Authorization": {header}})
		fmt.Printf("%q %v\n", token, err)
	}
	// Output:
	// "abc" <nil>
	// "abc" <nil>
	// "" verify: request has no bearer token
	// "" verify: credentials are ambiguous or malformed
	// "" verify: credentials are ambiguous or malformed
}

func ExampleVerifier_Health() {
	v, issuer := exampleVerifier()
	defer v.Close()

	fmt.Println("before the first token:", v.Health().State)
	if err := v.Ready(context.Background()); err != nil {
		fmt.Println(err)
	}
	health := v.Health()
	fmt.Println("after:", health.State, len(health.KeyIDs), health.LastError == "")

	issuer.Fail(verifytest.ServerError)
	err := v.Refresh(context.Background())
	fmt.Println("in an outage:", v.Health().State, v.Health().LastError, err != nil)
	// Output:
	// before the first token: unavailable
	// after: fresh 1 true
	// in an outage: fresh status true
}
