package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/secret"
	"github.com/customersession/customersession/issuer/internal/webhook"
)

// vector is the example of the Standard Webhooks libraries, signed with this secret.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func event() *webhook.Event {
	return &webhook.Event{ID: vectorID, Body: []byte(vectorBody)}
}

func hookTo(address string) *webhook.Hook {
	return &webhook.Hook{OrganizationID: uuid.New(), URL: address, Secret: vectorSecret}
}

// roundTripper is a network of one function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
}

// The signature is that of the vector of the Standard Webhooks libraries.
func TestSignature(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(vectorTime, 0)))
		sender := webhook.NewSender()
		sender.SetTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
			for name, want := range map[string]string{
				"webhook-id": vectorID, "webhook-timestamp": strconv.Itoa(vectorTime),
				"webhook-signature": vectorSignature, "content-type": "application/json",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			return answer(http.StatusOK), nil
		}))
		if err := sender.Send(t.Context(), hookTo("https://shop.example.com/"), event()); err != nil {
			t.Error(err)
		}
	})
}

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	for text, good := range map[secret.Text]bool{
		vectorSecret: true,
		"whsec_" + secret.Text(strings.Repeat("AAAA", 21)) + "AA==": true,  // 64 bytes
		"whsec_" + secret.Text(strings.Repeat("AAAA", 21)) + "AAA=": false, // 65 bytes
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ=":                    false, // 23 bytes
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_":                    false, // base64url
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZI\no2LaLaSw":                  false,
		"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":                          false, // no prefix
		"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":                     false, // for asymmetric signatures
		"":                                                          false,
	} {
		err := webhook.CheckSecret(text)
		if (err == nil) != good {
			t.Errorf("a secret of %d bytes: got %v, want it good: %v", len(text), err, good)
		}
		if err != nil && text != "" && strings.Contains(err.Error(), text.Reveal()) {
			t.Error("the error repeats the secret")
		}
	}
}

// Receivers are verified by TLS, and get each event until they take it, twice at
// most.
func TestSend(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		statuses []int
		tries    int32
		want     string // the error
	}{
		{"taken", []int{200}, 1, ""},
		{"accepted", []int{202}, 1, ""},
		{"without content", []int{204}, 1, ""},
		{"500 then 200", []int{500, 200}, 2, ""},
		{"503 then 500", []int{503, 500}, 2, "it answers with status 500"},
		{"not found", []int{404, 404}, 2, "it answers with status 404"},
		{"redirect", []int{307, 302}, 2, "it redirects (status 302), which is not followed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/hook" {
					t.Errorf("a redirect to %s was followed", r.URL)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.statuses[tries.Add(1)-1])
			}))
			defer server.Close()
			sender := webhook.NewSender()
			trust(sender, server)
			err := sender.Send(t.Context(), hookTo(server.URL+"/hook"), event())
			if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && !strings.HasPrefix(got, test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if got := tries.Load(); got != test.tries {
				t.Errorf("%d tries, want %d", got, test.tries)
			}
		})
	}
}

// trust lets a sender trust the certificate of a server.
func trust(sender *webhook.Sender, server *httptest.Server) {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	sender.Transport().TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// An error says why, without the URL, which may hold a secret.
func TestSendErrors(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	untrusted := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the event was sent in spite of the certificate") }))
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	for name, test := range map[string]struct{ address, want string }{
		"nobody listens":        {closed.URL, "connection refused"},
		"untrusted certificate": {untrusted.URL, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := webhook.NewSender().Send(t.Context(), hookTo(test.address+"/hook/s3cret?key=s3cret"), event())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q without the URL", err, test.want)
			}
		})
	}
}

// A receiver that hangs takes two tries of 5 seconds, whether it hangs before or in
// the middle of its answer.
func TestSendInTime(t *testing.T) {
	t.Parallel()
	hang := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	synctest.Test(t, func(t *testing.T) {
		sender, tries := webhook.NewSender(), 0
		sender.SetTransport(roundTripper(func(r *http.Request) (*http.Response, error) { tries++; return hang(r) }))
		start := time.Now()
		err := sender.Send(t.Context(), hookTo("https://shop.example.com/"), event())
		if took := time.Since(start); err == nil || tries != 2 || took < 10*time.Second || took > 10500*time.Millisecond {
			t.Errorf("%d tries in %s, error %v; want 2 in 10 s, and that it does not answer", tries, took, err)
		}
		// A caller who gives up ends it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := sender.Send(ctx, hookTo("https://shop.example.com/"), event()); err == nil || time.Since(start) != time.Second {
			t.Errorf("got %v after %s, want an error after a second", err, time.Since(start))
		}
	})
}

// Each try has a timestamp of its own.
func TestSendTimestamps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender := webhook.NewSender()
		var sent []string
		sender.SetTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r.Header.Get("webhook-timestamp"))
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}))
		_ = sender.Send(t.Context(), hookTo("https://shop.example.com/"), event())
		if len(sent) != 2 || sent[0] == sent[1] {
			t.Errorf("the timestamps are %q, want two", sent)
		}
	})
}

// Four events of an organization are on their way at once; a fifth is not sent. Other
// organizations do not notice.
func TestSendAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender, release := webhook.NewSender(), make(chan struct{})
		sender.SetTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/slow" {
				<-release
			}
			return answer(http.StatusOK), nil
		}))
		slow, other := hookTo("https://shop.example.com/slow"), hookTo("https://other.example.com/")
		var sending sync.WaitGroup
		for range 4 {
			sending.Go(func() {
				if err := sender.Send(t.Context(), slow, event()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if err := sender.Send(t.Context(), slow, event()); !errors.Is(err, webhook.ErrBusy) {
			t.Errorf("a fifth event: got %v, want %v", err, webhook.ErrBusy)
		}
		if err := sender.Send(t.Context(), other, event()); err != nil {
			t.Errorf("another organization: %v", err)
		}
		close(release)
		sending.Wait()
		if err := sender.Send(t.Context(), slow, event()); err != nil {
			t.Errorf("after the others: %v", err)
		}
	})
}
