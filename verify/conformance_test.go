package verify_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

// newFor returns a verifier that trusts issuer.
func newFor(t testing.TB, issuer *verifytest.Issuer) *verify.Verifier {
	t.Helper()
	v, err := verify.New(issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestConformance(t *testing.T) {
	t.Parallel()
	v := newFor(t, verifytest.ConformanceIssuer(t))
	verifytest.RunConformance(t, func(ctx context.Context, token string) error {
		_, err := v.Verify(ctx, token)
		return err
	})
}

// Every case, also those of RS256, with each algorithm for the key that signs.
func TestConformanceOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwk.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			issuer := verifytest.NewIssuer(t, verifytest.Config{
				Algorithms: append([]jwk.Algorithm{algorithm}, jwk.Algorithms()...),
			})
			v := newFor(t, issuer)
			verifytest.Conformance{
				Issuer: issuer,
				Verify: func(ctx context.Context, token string) error {
					_, err := v.Verify(ctx, token)
					return err
				},
			}.Run(t)
		})
	}
}

// Nothing that a hostile token says is repeated: not in an error, not in the log.
func TestConformanceLeaksNothing(t *testing.T) {
	t.Parallel()
	issuer, log := verifytest.ConformanceIssuer(t), &logbook{}
	config := issuer.Config()
	config.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	// What the verifier may say: what it expects, and words of its own.
	ours := []string{
		issuer.URL(), issuer.Audience(), wire.ClaimReturnURL, wire.ClaimClientID, wire.ClaimScope, wire.ClaimMemberID, "claims", "seconds",
	}
	for _, key := range issuer.Keys() {
		ours = append(ours, key.ID(), string(key.Algorithm()))
	}
	checked := 0
	for _, attack := range verifytest.Cases() {
		if !attack.Applies(issuer) {
			continue
		}
		token := attack.Token(issuer)
		before := len(log.String())
		_, err := v.Verify(t.Context(), token)
		said := fmt.Sprint(err) + log.String()[before:]
		for _, text := range textsOf(token) {
			if checked++; strings.Contains(said, text) && !slices.Contains(ours, text) {
				t.Errorf("%s: %q of the token is in %q", attack.ID, text, said)
			}
		}
	}
	if checked < 1000 {
		t.Errorf("only %d texts were looked for", checked)
	}
}

// textsOf returns what could be recognized of a token: its segments, and the
// strings in them.
func textsOf(token string) []string {
	var texts []string
	for segment := range strings.SplitSeq(token, ".") {
		decoded, _ := base64.RawURLEncoding.DecodeString(segment) // as far as it goes
		texts = append(append(texts, segment), strings.Split(string(decoded), `"`)...)
	}
	return slices.DeleteFunc(texts, func(text string) bool { return len(text) < 5 })
}

func TestConformanceOfMiddleware(t *testing.T) {
	t.Parallel()
	issuer := verifytest.ConformanceIssuer(t)
	handler := newFor(t, issuer).Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session, ok := verify.FromContext(r.Context()); !ok || session.ID == "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	verifytest.RunConformance(t, func(ctx context.Context, token string) error {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody).WithContext(ctx)
		r.Header["Authorization"] = []string{"Bearer " + token}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
			return nil
		case http.StatusUnauthorized, http.StatusBadRequest:
			return fmt.Errorf("refused with %d", w.Code)
		default:
			t.Errorf("got %d, want 200, 400 or 401", w.Code)
			return verify.ErrKeysUnavailable
		}
	})
}

// FuzzAccepted begins with the whole catalogue. Whatever is accepted has one
// spelling: it encodes to the same bytes again.
func FuzzAccepted(f *testing.F) {
	issuer := verifytest.ConformanceIssuer(f)
	v := newFor(f, issuer)
	for _, c := range verifytest.Cases() {
		if c.Applies(issuer) {
			f.Add(c.Token(issuer))
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		session, err := v.Verify(t.Context(), token)
		if err != nil {
			if session.ID != "" {
				t.Errorf("got a session beside %v", err)
			}
			return
		}
		segments := strings.Split(token, ".")
		for i, segment := range segments {
			octets, err := base64.RawURLEncoding.DecodeString(segment)
			if err != nil {
				t.Fatalf("accepted a segment that is not base64url: %v", err)
			}
			segments[i] = base64.RawURLEncoding.EncodeToString(octets)
		}
		if again := strings.Join(segments, "."); len(segments) != 3 || again != token {
			t.Errorf("accepted %q, which encodes to %q", token, again)
		}
	})
}
