package scaling_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/customersession/customersession/keys"
)

// epoch is when the key set of the simulation is made, and where the clock of
// a bubble of testing/synctest begins.
func epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// An interval is from, and before until.
type interval struct{ from, until time.Time }

func (i interval) contains(t time.Time) bool { return !t.Before(i.from) && t.Before(i.until) }

// An issuer is what consumers meet at each instant: the JWK Set of package
// keys, under the manifests that package keys made, or nobody.
type issuer struct {
	manifests []*keys.Manifest // the oldest first
	rings     []*keys.Ring
	down      interval
	// documents are what it publishes, one after the other.
	documents []document
}

// A document is a JWK Set for as long as it stays the same.
type document struct {
	interval
	manifest *keys.Manifest
	keys     map[string]bool
	// full and unchanged are the bytes of an answer with the set and of one
	// that says that there is no other set, with the headers.
	full, unchanged int
	etag            string
}

// newIssuer makes an issuer whose manifests take effect when they are made.
func newIssuer(t testing.TB, end time.Time, manifests ...*keys.Manifest) *issuer {
	t.Helper()
	s := &issuer{manifests: manifests}
	for _, m := range manifests {
		ring, err := keys.NewRing(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.rings = append(s.rings, ring)
	}
	for n, m := range manifests {
		until := end
		if n+1 < len(manifests) {
			until = manifests[n+1].CreatedAt
		}
		for from := m.CreatedAt; from.Before(until); {
			next := until
			for _, k := range m.Keys {
				for _, event := range []time.Time{k.PublishAt, k.ActivateAt, k.SignUntil, k.RemoveAt, k.RevokedAt} {
					if event.After(from) && event.Before(next) {
						next = event
					}
				}
			}
			s.documents = append(s.documents, newDocument(s.rings[n], interval{from, next}))
			from = next
		}
	}
	return s
}

func newDocument(ring *keys.Ring, when interval) document {
	m := ring.Manifest()
	body := m.PublishedAt(when.from).AppendJSON(nil)
	sum := sha256.Sum256(body)
	d := document{interval: when, manifest: m, keys: map[string]bool{}, etag: fmt.Sprintf("%q", hex.EncodeToString(sum[:16]))}
	for _, k := range m.Keys {
		if m.PublishedKey(k.ID(), when.from) != nil {
			d.keys[k.ID()] = true
		}
	}
	header := http.Header{
		"Access-Control-Allow-Origin": {"*"}, "X-Content-Type-Options": {"nosniff"}, "Etag": {d.etag},
		"Cache-Control": {"public, max-age=3600, must-revalidate"},
	}
	d.unchanged = wireSize(http.StatusNotModified, header, 0)
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Content-Length", "1000")
	header.Set("Accept-Ranges", "bytes")
	d.full = wireSize(http.StatusOK, header, len(body))
	return d
}

// wireSize is the length of an answer over HTTP/1.1, without TLS and what
// proxies add.
func wireSize(status int, header http.Header, body int) int {
	var counter sizeWriter
	_ = header.Write(&counter) // it does not fail
	return len("HTTP/1.1 200 \r\n") + len(http.StatusText(status)) +
		len("Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n") + int(counter) + len("\r\n") + body
}

type sizeWriter int

func (w *sizeWriter) Write(p []byte) (int, error) {
	*w += sizeWriter(len(p))
	return len(p), nil
}

// document returns what is published at an instant.
func (s *issuer) document(t time.Time) *document {
	n, _ := slices.BinarySearchFunc(s.documents, t, func(d document, t time.Time) int {
		if !t.Before(d.until) {
			return -1
		}
		return 1
	})
	return &s.documents[n]
}

// RoundTrip implements [http.RoundTripper] with the real handler, for the real
// verifiers. It takes no time.
func (s *issuer) RoundTrip(request *http.Request) (*http.Response, error) {
	now := time.Now()
	if s.down.contains(now) {
		return nil, io.ErrUnexpectedEOF
	}
	recorder := httptest.NewRecorder()
	keys.NewHandler(func() *keys.Ring { return s.ring(now) }).ServeHTTP(recorder, request)
	return recorder.Result(), nil
}

func (s *issuer) ring(t time.Time) *keys.Ring {
	for n, m := range slices.Backward(s.manifests) {
		if !t.Before(m.CreatedAt) {
			return s.rings[n]
		}
	}
	return nil
}

// rotated returns what a daily job makes of a new key set of the default
// policy in so many days.
func rotated(t testing.TB, days int) []*keys.Manifest {
	t.Helper()
	m, err := keys.Init(keys.DefaultPolicy(), epoch(), true)
	if err != nil {
		t.Fatal(err)
	}
	manifests := []*keys.Manifest{m}
	for d := range days {
		// Two hours past midnight, as the runbook says.
		at := epoch().Add(time.Duration(d)*24*time.Hour + 2*time.Hour)
		next, err := keys.Rotate(m, at)
		if err != nil {
			t.Fatal(err)
		}
		if next != m {
			manifests = append(manifests, next)
			m = next
		}
	}
	return manifests
}
