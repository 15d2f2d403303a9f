package verifytest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

// A reply is what a request to the feed gets.
type reply struct {
	status int
	header http.Header
	packed int // the length of the body on the way
	body   []byte
}

// ask asks the feed of an issuer, and returns its answer and its nonce.
func ask(t *testing.T, issuer *verifytest.Issuer, query string) (answer wire.Revocations, nonce string, err error) {
	t.Helper()
	got, err := askRaw(t, issuer, query)
	if err != nil {
		return wire.Revocations{}, "", err
	}
	if got.status != http.StatusOK {
		return wire.Revocations{}, "", fmt.Errorf("status %d", got.status)
	}
	if got.header.Get("Content-Type") == "application/json" && got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", got.header)
	}
	err = json.Unmarshal(got.body, &answer)
	return answer, got.header.Get(wire.RevocationsNonce), err
}

func askRaw(t *testing.T, issuer *verifytest.Issuer, query string) (reply, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer.URL()+wire.RevocationsPath+"?"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "gzip")
	response, err := issuer.Client().Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	got := reply{status: response.StatusCode, header: response.Header, packed: len(body), body: body}
	if err == nil && response.Header.Get("Content-Encoding") == "gzip" {
		z, gzipErr := gzip.NewReader(bytes.NewReader(body))
		if gzipErr != nil {
			t.Fatal(gzipErr)
		}
		got.body, err = io.ReadAll(z)
	}
	return got, err
}

// The feed is complete at first, then has what is new, and waits for it.
func TestFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{MaxRevocationAge: time.Minute})
		issuer.RevokeSession(verifytest.SessionID)
		issuer.RevokeCustomer(verifytest.CustomerID)
		all, nonce, err := ask(t, issuer, "after=0&nonce=n1")
		if err != nil || nonce != "n1" || !all.Enabled || all.Issuer != issuer.URL() || all.Seq != 2 || all.After != 0 || all.MaxAge != 60 || len(all.Revoked) != 2 {
			t.Fatalf("got %+v, %q, %v", all, nonce, err)
		}
		if got := all.Revoked[0]; got.Scope != "session" || got.IssuedBefore != 0 ||
			got.ID != wire.NewRevocationID("session", verifytest.OrganizationID, verifytest.SessionID) {
			t.Errorf("got %+v", got)
		}
		if got := all.Revoked[1]; got.Scope != "customer" || got.IssuedBefore <= time.Now().Add(time.Second).Unix() {
			t.Errorf("got %+v", got)
		}
		known := fmt.Sprintf("after=2&log=%s&nonce=n2", all.Log)
		start := time.Now()
		quiet, _, err := ask(t, issuer, known+"&wait=25")
		if err != nil || quiet.After != 2 || len(quiet.Revoked) != 0 || time.Since(start) != 25*time.Second {
			t.Errorf("without news: got %+v, %v after %v", quiet, err, time.Since(start))
		}
		for name, end := range map[string]func(){
			"an API key":   func() { issuer.RevokeAPIKey("shop") },
			"another log":  issuer.ReplaceLog,
			"switched off": func() { issuer.EnableRevocations(false) },
			"a key":        func() { issuer.EnableRevocations(true); issuer.RevokeKey("kid") },
		} {
			start := time.Now()
			time.AfterFunc(3*time.Second, end)
			if _, _, err := ask(t, issuer, known+"&wait=25"); err != nil || time.Since(start) > 3*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
		}
	})
}

// Each failure is what its name says.
func TestFeedFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := verifytest.NewIssuer(t, verifytest.Config{})
		issuer.RevokeSession(verifytest.SessionID)
		issuer.RevokeAPIKey("shop")
		first, _, err := ask(t, issuer, "after=0&nonce=old")
		if err != nil {
			t.Fatal(err)
		}
		query := "after=1&nonce=new&log=" + first.Log
		for _, tc := range []struct {
			failure verifytest.FeedFailure
			bad     func(a wire.Revocations, nonce string, err error) bool
		}{
			{verifytest.FeedDown, func(_ wire.Revocations, _ string, err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
			{verifytest.FeedUnavailable, func(_ wire.Revocations, _ string, err error) bool { return err.Error() == "status 503" }},
			{verifytest.FeedNotFound, func(_ wire.Revocations, _ string, err error) bool { return err.Error() == "status 404" }},
			{verifytest.FeedCached, func(a wire.Revocations, nonce string, _ error) bool { return nonce == "old" && a.Seq == 2 }},
			{verifytest.FeedGap, func(a wire.Revocations, _ string, _ error) bool { return a.After == 2 }},
			{verifytest.FeedLowerSeq, func(a wire.Revocations, _ string, _ error) bool { return a.Seq == 1 && len(a.Revoked) == 0 }},
			{verifytest.FeedOtherLog, func(a wire.Revocations, _ string, _ error) bool { return a.Log != first.Log && a.After == 1 }},
			{verifytest.FeedOtherIssuer, func(a wire.Revocations, _ string, _ error) bool { return a.Issuer != issuer.URL() }},
			{verifytest.FeedMillion, func(a wire.Revocations, _ string, _ error) bool { return len(a.Revoked) > 1_000_000 }},
			{verifytest.FeedTruncated, func(_ wire.Revocations, _ string, err error) bool { return err != nil }},
			{verifytest.FeedGarbage, func(_ wire.Revocations, _ string, err error) bool { return err != nil }},
			{verifytest.FeedHealthy, func(a wire.Revocations, nonce string, err error) bool {
				return err == nil && nonce == "new" && a.After == 1 && a.Seq == 2 && len(a.Revoked) == 1
			}},
		} {
			issuer.FailFeed(tc.failure)
			if a, nonce, err := ask(t, issuer, query); !tc.bad(a, nonce, err) {
				t.Errorf("failure %d: nonce %q, error %v, after %d, seq %d", tc.failure, nonce, err, a.After, a.Seq)
			}
		}
		issuer.FailFeed(verifytest.FeedBomb)
		if got, err := askRaw(t, issuer, query); err != nil || len(got.body) < 17<<20 || got.packed > 100<<10 {
			t.Errorf("the bomb: %d bytes of %d, %v", got.packed, len(got.body), err)
		}
		issuer.FailFeed(verifytest.FeedCutOff)
		start := time.Now()
		if _, _, err := ask(t, issuer, "after=2&nonce=new&wait=25&log="+first.Log); !errors.Is(err, syscall.ECONNRESET) || time.Since(start) != 10*time.Second {
			t.Errorf("cut off: %v after %v", err, time.Since(start))
		}
		issuer.FailFeed(verifytest.FeedBuffered)
		start = time.Now()
		if _, _, err := ask(t, issuer, query); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("buffered: %v after %v", err, time.Since(start))
		}
	})
}

// The portal's call ends the session of its token once.
func TestEndSession(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	token := issuer.Token(verifytest.TokenSpec{})
	for _, tc := range []struct {
		token string
		want  int
	}{
		{"x", http.StatusUnauthorized},
		{token, http.StatusNoContent},
		{token, http.StatusUnauthorized},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, issuer.URL()+"/v1/customer-portal/customer-session", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+tc.token)
		response, err := issuer.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != tc.want {
			t.Errorf("got %d, want %d", response.StatusCode, tc.want)
		}
	}
	if all, _, err := ask(t, issuer, "after=0&nonce=n"); err != nil || len(all.Revoked) != 1 {
		t.Errorf("the feed has %+v, %v", all.Revoked, err)
	}
}
