package verifytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/wire"
)

// Paths of an issuer's documents.
const (
	jwkSetPath    = "/.well-known/jwks.json"
	discoveryPath = "/.well-known/openid-configuration"
	// Only forged tokens point to these.
	lurePath     = "/uploads/jwks.json"
	lureCertPath = "/uploads/certificate.pem"
)

// A Failure is a way in which an issuer fails to serve its JWK Set.
type Failure int

// The ways to fail. Where a good set can be part of the bad answer, it is, so
// that a test catches a client that uses it.
const (
	// Healthy is no failure.
	Healthy Failure = iota
	// Down refuses connections. A real connection is closed without an
	// answer.
	Down
	// Hang never answers.
	Hang
	// ServerError answers 500, with the good set in the body.
	ServerError
	// Redirect answers 302 to an address that serves the good set.
	Redirect
	// Slow answers with the good set, one byte a second.
	Slow
	// Huge answers with the good set and a member of 1 MiB.
	Huge
	// Truncated answers with the first half of the good set.
	Truncated
	// Ambiguous answers with a set in which another key has the key ID of a
	// good one.
	Ambiguous
	// Garbage answers 200 with an HTML page.
	Garbage
	// Empty answers with an empty set.
	Empty
)

// Fail makes the issuer fail from now on; [Healthy] makes it work again.
func (i *Issuer) Fail(f Failure) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.failure = f
}

// Requests returns the number of requests for the JWK Set, failed ones included.
func (i *Issuer) Requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// Handler serves the JWK Set, with ETag and Cache-Control, the discovery document
// that names it (OpenID Connect Discovery 1.0, Section 3), the feed of revocations,
// and the calls that end the session of a bearer token, say whose it is, exchange a
// code with [APIKey] and ask for a new link. With [Down] and [FeedDown]
// it panics with [http.ErrAbortHandler], as net/http expects.
func (i *Issuer) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := strings.TrimPrefix(path.Clean(r.URL.Path), i.path)
		switch at {
		case jwkSetPath:
			i.serveSet(w, r)
		case discoveryPath:
			i.serveDiscovery(w)
		case wire.RevocationsPath:
			i.serveFeed(w, r)
		case sessionPath:
			if r.Method == http.MethodDelete {
				i.endSession(w, r)
				return
			}
			http.NotFound(w, r)
		case userPath:
			i.serveUser(w, r)
		case wire.ExchangePath, wire.RecoverPath:
			i.servePost(w, r, at)
		case lurePath, lureCertPath:
			i.serveLure(w, at)
		default:
			http.NotFound(w, r)
		}
	})
}

// servePost serves the calls for the links of a portal.
func (i *Issuer) servePost(w http.ResponseWriter, r *http.Request, at string) {
	switch {
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case at == wire.ExchangePath:
		i.serveExchange(w, r)
	default:
		i.serveRecover(w, r)
	}
}

// arrive counts a request and returns its failure.
func (i *Issuer) arrive() Failure {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests++
	return i.failure
}

func (i *Issuer) serveSet(w http.ResponseWriter, r *http.Request) {
	set := i.JWKSet()
	if r.URL.RawQuery == "moved" {
		serveJSON(w, set)
		return
	}
	switch i.arrive() {
	case Healthy:
		w.Header().Set("Content-Type", jwk.MediaType)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(set)))
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(i.maxAge.Seconds())))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(set))
	case Down:
		panic(http.ErrAbortHandler)
	case Hang:
		<-r.Context().Done()
	case ServerError:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(set)
	case Redirect:
		http.Redirect(w, r, i.path+jwkSetPath+"?moved", http.StatusFound)
	case Slow:
		drip(r.Context(), w, set)
	case Huge:
		serveJSON(w, append(set[:len(set)-1], `,"padding":"`+strings.Repeat("a", 1<<20)+`"}`...))
	case Truncated:
		serveJSON(w, set[:len(set)/2])
	case Ambiguous:
		serveJSON(w, i.ambiguous(set))
	case Garbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>Down for maintenance</title>"))
	case Empty:
		serveJSON(w, []byte(`{"keys":[]}`))
	}
}

// ambiguous adds a second key with the ID of the active one to a set.
func (i *Issuer) ambiguous(set []byte) []byte {
	other := i.attacker(jwk.EdDSA).key.WithID(i.KeyID())
	return fmt.Appendf(nil, "%s,%s]}", set[:len(set)-2], other.AppendJSON(nil))
}

// drip writes one byte a second until the client gives up.
func drip(ctx context.Context, w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", jwk.MediaType)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for i := range body {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		_, _ = w.Write(body[i : i+1])
		_ = http.NewResponseController(w).Flush()
	}
}

func serveJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", jwk.MediaType)
	_, _ = w.Write(body)
}

func (i *Issuer) serveDiscovery(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(must(json.Marshal(map[string]any{
		"issuer":                                i.url,
		"jwks_uri":                              i.JWKSetURL(),
		"authorization_endpoint":                i.url + "/authorize",
		"response_types_supported":              []string{"none"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": i.algorithms,
	})))
}

// serveLure answers a verifier that follows a token's "jku" or "x5u".
func (i *Issuer) serveLure(w http.ResponseWriter, at string) {
	var keys []*jwk.Key
	var certificates []byte
	i.mu.Lock()
	i.lured++
	for _, a := range jwk.Algorithms() {
		if s := i.attackers[a]; s != nil {
			keys = append(keys, s.key)
			block := pem.Block{Type: "CERTIFICATE", Bytes: s.certificate()}
			certificates = append(certificates, pem.EncodeToMemory(&block)...)
		}
	}
	i.mu.Unlock()
	if at == lureCertPath {
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(certificates)
		return
	}
	serveJSON(w, must(jwk.NewSet(keys...)).AppendJSON(nil))
}

func (i *Issuer) luredCount() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lured
}

// A transport calls an issuer's handler without a network, in the goroutine of
// the caller.
type transport struct{ issuer *Issuer }

// RoundTrip implements [http.RoundTripper]. It returns when the body is
// complete, which takes a while if the issuer is slow.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if base := must(url.Parse(t.issuer.base())); r.URL.Scheme != base.Scheme || r.URL.Host != base.Host {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{
			Err: "this client reaches no host but the issuer's", Name: r.URL.Host, IsNotFound: true,
		}}
	}
	i := t.issuer
	i.mu.Lock()
	down := i.failure == Down && r.URL.Path == i.path+jwkSetPath
	i.mu.Unlock()
	if down {
		i.arrive()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	served := r.Clone(r.Context())
	if served.Body == nil {
		served.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	if !completes(i.Handler(), recorder, served) {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response := recorder.Result()
	response.Request = r
	return response, nil
}

// completes serves a request, and reports false if the handler closes the
// connection instead.
func completes(handler http.Handler, w http.ResponseWriter, r *http.Request) (ok bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // net/http compares so, too
			panic(p)
		}
	}()
	handler.ServeHTTP(w, r)
	return true
}
