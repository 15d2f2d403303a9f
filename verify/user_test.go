package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
)

func ada() verify.User {
	return verify.User{Name: verifytest.UserName, Email: verifytest.UserEmail, CustomerID: verifytest.CustomerID}
}

// userVerifier returns a verifier of an issuer.
func userVerifier(t testing.TB, issuer *verifytest.Issuer) *verify.Verifier {
	t.Helper()
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// signedIn returns the context of a request with a token, as a middleware makes it.
func signedIn(t testing.TB, v *verify.Verifier, token string) context.Context {
	t.Helper()
	var passed *http.Request
	handler := v.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { passed = r }))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("the middleware answers %d", w.Code)
	}
	return passed.Context()
}

func TestUser(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v := userVerifier(t, issuer)
	member := ada()
	member.MemberID, member.Role = memberID, "billing_manager"
	for name, tc := range map[string]struct {
		claims map[string]any
		want   verify.User
	}{
		"a customer": {nil, ada()},
		"a member":   {map[string]any{"member_id": memberID, "role": "billing_manager"}, member},
	} {
		ctx := signedIn(t, v, issuer.Token(verifytest.TokenSpec{Claims: tc.claims}))
		if got, err := v.User(ctx); got != tc.want || err != nil {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, tc.want)
		}
	}
	for name, ctx := range map[string]context.Context{
		"no session": t.Context(), "a session without a token": verify.NewContext(t.Context(), verify.Session{ID: "x"}),
	} {
		if got, err := v.User(ctx); !errors.Is(err, verify.ErrNoToken) || got != (verify.User{}) {
			t.Errorf("%s: got %+v, %v, want ErrNoToken", name, got, err)
		}
	}
	if got, err := v.User(verify.NewContextWithToken(t.Context(), verify.Session{}, "a.b.c")); !errors.Is(err, verify.ErrMalformed) {
		t.Errorf("a bad token: got %+v, %v, want ErrMalformed", got, err)
	}
}

// An issuer whose address is not known cannot be asked.
func TestUserWithoutAddress(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	v := newVerifier(t, s)
	if _, err := v.User(signedIn(t, v, s.token(t, s.header(), payload()))); !errors.Is(err, verify.ErrNoUsers) {
		t.Errorf("got %v, want ErrNoUsers", err)
	}
}

// An answer serves for a minute, and an error for a second.
func TestUserIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		v := userVerifier(t, issuer)
		defer v.Close()
		ctx := signedIn(t, v, issuer.Token(verifytest.TokenSpec{}))
		other := signedIn(t, v, issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"sid": otherUUID}}))
		check := func(when string, ctx context.Context, status int, wantErr error, requests int) {
			t.Helper()
			issuer.FailUser(status)
			want := ada()
			if wantErr != nil {
				want = verify.User{}
			}
			if got, err := v.User(ctx); got != want || !errors.Is(err, wantErr) {
				t.Errorf("%s: got %+v, %v, want %v", when, got, err, wantErr)
			}
			if got := issuer.UserRequests(); got != requests {
				t.Errorf("%s: the issuer was asked %d times, want %d", when, got, requests)
			}
		}
		check("at first", ctx, 0, nil, 1)
		check("another session", other, 0, nil, 2)
		time.Sleep(59 * time.Second)
		check("within the minute", ctx, 503, nil, 2)
		time.Sleep(2 * time.Second)
		check("after the minute", ctx, 503, verify.ErrUserUnavailable, 3)
		check("immediately after an error", ctx, 0, verify.ErrUserUnavailable, 3)
		time.Sleep(time.Second)
		check("a second after an error", ctx, 0, nil, 4)
		time.Sleep(time.Minute)
		check("the customer is gone", ctx, 401, verify.ErrRevoked, 5)
		time.Sleep(time.Second)
		check("no customers", ctx, 404, verify.ErrNoUsers, 6)
		time.Sleep(time.Second)
		check("in the end", ctx, 0, nil, 7)
	})
}

const otherUUID = "00000000-0000-4000-8000-000000000000"

// What is remembered of a user ends with the session: when it expires, and when it is
// ended.
func TestUserEndsWithSession(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(*verifytest.Issuer)
		want error
	}{
		"expired":          {func(*verifytest.Issuer) { time.Sleep(31 * time.Second) }, verify.ErrExpired},
		"session revoked":  {func(i *verifytest.Issuer) { i.RevokeSession(verifytest.SessionID) }, verify.ErrRevoked},
		"customer revoked": {func(i *verifytest.Issuer) { i.RevokeCustomer(verifytest.CustomerID) }, verify.ErrRevoked},
		"member revoked":   {func(i *verifytest.Issuer) { i.RevokeMember(memberID) }, verify.ErrRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := verifytest.NewIssuer(t, verifytest.Config{})
				v := userVerifier(t, issuer)
				defer v.Close()
				token := issuer.Token(verifytest.TokenSpec{Lifetime: 10 * time.Second, Claims: map[string]any{"member_id": memberID, "role": "owner"}})
				ctx := signedIn(t, v, token)
				if _, err := v.User(ctx); err != nil {
					t.Fatal(err)
				}
				tc.end(issuer)
				time.Sleep(10 * time.Second)
				if got, err := v.User(ctx); !errors.Is(err, tc.want) || got != (verify.User{}) {
					t.Errorf("got %+v, %v, want %v", got, err, tc.want)
				}
			})
		})
	}
}

// Callers at the same time share one request, which goes on when the first of them
// has left. Each waits no longer than it wants to.
func TestUserSharesRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		requests := &userTransport{answers: issuer.Client().Transport, wait: time.Second}
		v := verifierThrough(t, issuer, requests)
		defer v.Close()
		ctx := signedIn(t, v, issuer.Token(verifytest.TokenSpec{}))
		left, leave := context.WithTimeout(ctx, time.Millisecond)
		defer leave()
		if _, err := v.User(left); !errors.Is(err, verify.ErrUserUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller who left: got %v, want ErrUserUnavailable", err)
		}
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if got, err := v.User(ctx); got != ada() || err != nil {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
		callers.Wait()
		if requests.count != 1 {
			t.Errorf("51 callers made %d requests, want 1", requests.count)
		}
	})
}

// A userTransport passes requests on, and stands in the way of those about users.
type userTransport struct {
	answers http.RoundTripper
	wait    time.Duration
	respond func(r *http.Request) (*http.Response, error)

	mu           sync.Mutex
	count        int
	under, worst int // requests under way
}

// RoundTrip implements [http.RoundTripper].
func (u *userTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/user") {
		return u.answers.RoundTrip(r)
	}
	u.mu.Lock()
	u.count++
	u.under++
	u.worst = max(u.worst, u.under)
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.under--
	}()
	select {
	case <-time.After(u.wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if u.respond != nil {
		return u.respond(r)
	}
	return u.answers.RoundTrip(r)
}

func verifierThrough(t testing.TB, issuer *verifytest.Issuer, transport http.RoundTripper) *verify.Verifier {
	t.Helper()
	config := issuer.Config()
	config.HTTPClient = &http.Client{Transport: transport}
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// What is remembered is bounded, and so are the requests at one time.
func TestUserIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size, more = 100, 150
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		requests := &userTransport{answers: issuer.Client().Transport, wait: time.Millisecond, respond: func(*http.Request) (*http.Response, error) {
			return userAnswer(http.StatusOK, `{"customer_id":"`+verifytest.CustomerID+`"}`), nil
		}}
		config := issuer.Config()
		config.CacheSize, config.HTTPClient = size, &http.Client{Transport: requests}
		v, err := verify.New(config)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		var contexts []context.Context
		for i := range more {
			sid := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
			contexts = append(contexts, signedIn(t, v, issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"sid": sid}})))
		}
		var callers sync.WaitGroup
		for _, ctx := range contexts {
			synctest.Wait() // so that they come in this order
			callers.Go(func() {
				if _, err := v.User(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if requests.count != more || requests.worst > 64 {
			t.Errorf("got %d requests, %d at one time, want %d and at most 64", requests.count, requests.worst, more)
		}
		for i, ctx := range contexts[more-size:] {
			if _, err := v.User(ctx); err != nil || requests.count != more {
				t.Fatalf("the last %d: %v after %d requests, want them remembered", size-i, err, requests.count-more)
			}
		}
		for i, ctx := range contexts[:more-size] {
			if _, err := v.User(ctx); err != nil || requests.count != more+i+1 {
				t.Fatalf("number %d: %v after %d requests, want it forgotten", i, err, requests.count-more)
			}
		}
	})
}

func userAnswer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Location": {verifytest.DefaultIssuer + "/elsewhere"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// An answer that is not one, or about somebody else, is no user, and no error has
// anything of it. No redirect is followed: the token is for the issuer alone.
func TestUserRefusesAnswers(t *testing.T) {
	t.Parallel()
	const ours = `"customer_id":"` + verifytest.CustomerID + `"`
	for name, tc := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"a redirect":               {http.StatusTemporaryRedirect, "", verify.ErrUserUnavailable},
		"too many requests":        {http.StatusTooManyRequests, "", verify.ErrUserUnavailable},
		"an error":                 {http.StatusInternalServerError, "SECRET", verify.ErrUserUnavailable},
		"no content":               {http.StatusNoContent, "", verify.ErrUserUnavailable},
		"a page":                   {http.StatusOK, "<html>SECRET", verify.ErrUserUnavailable},
		"a list":                   {http.StatusOK, `["SECRET"]`, verify.ErrUserUnavailable},
		"too large":                {http.StatusOK, `{"name":"` + strings.Repeat("SECRET", 4000) + `",` + ours + `}`, verify.ErrUserUnavailable},
		"a name twice":             {http.StatusOK, `{"name":"SECRET","name":"x",` + ours + `}`, verify.ErrUserUnavailable},
		"a number for a name":      {http.StatusOK, `{"name":1,` + ours + `}`, verify.ErrUserUnavailable},
		"another customer":         {http.StatusOK, `{"name":"SECRET","customer_id":"` + otherUUID + `"}`, verify.ErrUserUnavailable},
		"nobody":                   {http.StatusOK, `{"name":"SECRET"}`, verify.ErrUserUnavailable},
		"a member of the customer": {http.StatusOK, `{"name":"SECRET",` + ours + `,"member_id":"` + memberID + `","role":"owner"}`, verify.ErrUserUnavailable},
		"a role alone":             {http.StatusOK, `{"name":"SECRET",` + ours + `,"role":"owner"}`, verify.ErrUserUnavailable},
		"a refusal":                {http.StatusUnauthorized, "SECRET", verify.ErrRevoked},
		"not found":                {http.StatusNotFound, "SECRET", verify.ErrNoUsers},
		"no name":                  {http.StatusOK, `{"name":null,"email":null,"unknown":{"a":[1]},` + ours + `,"member_id":null,"role":null}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			issuer := verifytest.NewIssuer(t, verifytest.Config{})
			requests := &userTransport{answers: issuer.Client().Transport, respond: func(*http.Request) (*http.Response, error) {
				return userAnswer(tc.status, tc.body), nil
			}}
			config := issuer.Config()
			config.HTTPClient = &http.Client{Transport: requests}
			config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			v, err := verify.New(config)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			got, err := v.User(signedIn(t, v, issuer.Token(verifytest.TokenSpec{})))
			if !errors.Is(err, tc.want) || requests.count != 1 {
				t.Errorf("got %v after %d requests, want %v", err, requests.count, tc.want)
			}
			if tc.want != nil && (got != (verify.User{}) || strings.Contains(err.Error(), "SECRET")) {
				t.Errorf("got %+v and the error %q", got, err)
			}
			if strings.Contains(log.String(), "SECRET") || strings.Contains(log.String(), "eyJ") {
				t.Errorf("the log has what was sent or received: %s", log.String())
			}
		})
	}
}

// An issuer that is away or hangs costs a page 2 seconds at most, and Close none.
func TestUserOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		requests := &userTransport{answers: issuer.Client().Transport, wait: time.Hour}
		v := verifierThrough(t, issuer, requests)
		ctx := signedIn(t, v, issuer.Token(verifytest.TokenSpec{}))
		begun := time.Now()
		if _, err := v.User(ctx); !errors.Is(err, verify.ErrUserUnavailable) || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("got %v, want ErrUserUnavailable for a time-out", err)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("it took %v, want 2s", took)
		}
		time.Sleep(time.Second)
		begun = time.Now()
		waiting := make(chan error)
		go func() {
			_, err := v.User(ctx)
			waiting <- err
		}()
		synctest.Wait()
		v.Close() // the bubble fails if a goroutine is left
		if err := <-waiting; !errors.Is(err, verify.ErrUserUnavailable) || time.Since(begun) != 0 {
			t.Errorf("got %v after %v, want ErrUserUnavailable immediately", err, time.Since(begun))
		}
	})
}
