package echoverify_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/echoverify"
	"github.com/customersession/customersession/verify/verifytest"
)

func newVerifier(t *testing.T, issuer *verifytest.Issuer) *verify.Verifier {
	t.Helper()
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// newApp returns an Echo application behind middleware, whose error handler
// would let everything pass.
func newApp(middleware echo.MiddlewareFunc) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = func(_ error, c echo.Context) { _ = c.String(http.StatusOK, "never mind") }
	e.Use(middleware)
	e.GET("/account", func(c echo.Context) error {
		session, ok := echoverify.FromContext(c)
		if !ok {
			return c.String(http.StatusOK, "nobody")
		}
		return c.String(http.StatusOK, session.CustomerID)
	})
	return e
}

func do(ctx context.Context, e *echo.Echo, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/account", http.NoBody).WithContext(ctx)
	if headers != nil {
		r.Header["Authorization"] = headers
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestNew(t *testing.T) {
	t.Parallel()
	issuer, down := verifytest.NewIssuer(t, verifytest.Config{}), verifytest.NewIssuer(t, verifytest.Config{})
	down.Fail(verifytest.Down)
	e := newApp(echoverify.New(newVerifier(t, issuer)))
	good := "Bearer " + issuer.Token(verifytest.TokenSpec{})
	for _, tc := range []struct {
		name      string
		app       *echo.Echo
		headers   []string
		status    int
		challenge string
	}{
		{"good", e, []string{good}, 200, ""},
		{"none", e, nil, 401, `realm="customersession"`},
		{"bad token", e, []string{"Bearer x"}, 401, `error="invalid_token"`},
		{"two headers", e, []string{good, good}, 400, `error="invalid_request"`},
		{"keys unavailable", newApp(echoverify.New(newVerifier(t, down))), []string{good}, 503, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := do(t.Context(), tc.app, tc.headers...)
			if w.Code != tc.status || !strings.Contains(w.Header().Get("WWW-Authenticate"), tc.challenge) {
				t.Errorf("got %d, %v, want %d", w.Code, w.Header(), tc.status)
			}
			if seen := w.Body.String() == verifytest.CustomerID; seen != (tc.status == 200) {
				t.Errorf("got %q", w.Body)
			}
			if tc.status == 503 && w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

func TestNewWithConfig(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v := newVerifier(t, issuer)
	optional := newApp(echoverify.NewWithConfig(v, verify.MiddlewareConfig{Optional: true}))
	scoped := newApp(echoverify.NewWithConfig(v, verify.MiddlewareConfig{Scopes: []string{"admin"}}))
	good := "Bearer " + issuer.Token(verifytest.TokenSpec{})
	if w := do(t.Context(), optional); w.Code != 200 || w.Body.String() != "nobody" {
		t.Errorf("without a token: got %d, %s", w.Code, w.Body)
	}
	if w := do(t.Context(), optional, "Bearer x"); w.Code != http.StatusUnauthorized {
		t.Errorf("with a bad token: got %d", w.Code)
	}
	if w := do(t.Context(), scoped, good); w.Code != http.StatusForbidden {
		t.Errorf("without the scope: got %d", w.Code)
	}
}

// What Echo logs about a refused request is what was answered, and an error of
// a handler behind the middleware still reaches the error handler.
func TestEchoSeesTheOutcome(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	e := echo.New()
	var status int
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			if err != nil {
				c.Error(err)
			}
			status = c.Response().Status
			return nil
		}
	}, echoverify.New(newVerifier(t, issuer)))
	e.GET("/account", func(echo.Context) error { return echo.NewHTTPError(http.StatusTeapot) })
	if do(t.Context(), e, "Bearer x"); status != http.StatusUnauthorized {
		t.Errorf("a logger saw %d, want 401", status)
	}
	if w := do(t.Context(), e, "Bearer "+issuer.Token(verifytest.TokenSpec{})); w.Code != http.StatusTeapot || status != w.Code {
		t.Errorf("a handler's error: got %d, and a logger saw %d", w.Code, status)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	e := newApp(echoverify.New(newVerifier(t, verifytest.ConformanceIssuer(t))))
	verifytest.RunConformance(t, func(ctx context.Context, token string) error {
		w := do(ctx, e, "Bearer "+token)
		switch {
		case w.Code == http.StatusOK && w.Body.String() == verifytest.CustomerID:
			return nil
		case w.Code == http.StatusUnauthorized || w.Code == http.StatusBadRequest:
			return fmt.Errorf("refused with %d", w.Code)
		default:
			t.Errorf("got %d, %s", w.Code, w.Body)
			return verify.ErrKeysUnavailable
		}
	})
}

func Example() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	e := echo.New()
	e.Use(echoverify.New(v))
	e.GET("/account", func(c echo.Context) error {
		session, _ := echoverify.FromContext(c)
		return c.String(http.StatusOK, "customer "+session.CustomerID)
	})

	request := httptest.NewRequest(http.MethodGet, "/account", http.NoBody)
	request.Header.Set("Authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Body)
	// Output: 200 customer 992fae2a-2a17-4b7a-8d9e-e287cf90131b
}
