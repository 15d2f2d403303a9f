package issuer_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/wire"
)

// directoryFunc is a customer directory of one function.
type directoryFunc func(context.Context, customers.Query) (*customers.Customer, error)

// Find implements [customers.Directory].
func (find directoryFunc) Find(ctx context.Context, q customers.Query) (*customers.Customer, error) {
	return find(ctx, q)
}

// FindMember implements [customers.Directory]: there are no members.
func (directoryFunc) FindMember(context.Context, customers.Query, *customers.Customer) (*customers.Member, error) {
	return nil, customers.ErrNoMembers
}

// innards is what errors of parts say and clients never see.
const innards = "dial tcp 10.20.30.40:5432: connection refused"

// refuseConnections is a directory that is down.
func refuseConnections(context.Context, customers.Query) (*customers.Customer, error) {
	return nil, fmt.Errorf("%w: %s", customers.ErrUnavailable, innards)
}

// A directorySwitch is a directory whose content changes.
type directorySwitch struct {
	current atomic.Pointer[customers.Directory]
}

func newSwitch(d customers.Directory) *directorySwitch {
	s := &directorySwitch{}
	s.current.Store(&d)
	return s
}

// Find implements [customers.Directory].
func (s *directorySwitch) Find(ctx context.Context, q customers.Query) (*customers.Customer, error) {
	return (*s.current.Load()).Find(ctx, q)
}

// FindMember implements [customers.Directory].
func (s *directorySwitch) FindMember(ctx context.Context, q customers.Query, c *customers.Customer) (*customers.Member, error) {
	return (*s.current.Load()).FindMember(ctx, q, c)
}

// use replaces the content with JSON Lines.
func (s *directorySwitch) use(t testing.TB, lines string) {
	t.Helper()
	file, err := customers.LoadFile(strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	var directory customers.Directory = file
	s.current.Store(&directory)
}

// signerFunc is a signer of one function, as of a device.
type signerFunc func(ctx context.Context, signingInput []byte) ([]byte, error)

// Sign implements [keys.Signer].
func (sign signerFunc) Sign(ctx context.Context, signingInput []byte) ([]byte, error) {
	return sign(ctx, signingInput)
}

// newDeviceRing has keys whose private halves are in a device.
func newDeviceRing(t testing.TB, sign func(ctx context.Context, key keys.Signer, signingInput []byte) ([]byte, error)) *keys.Ring {
	t.Helper()
	manifest := newManifest(t, jwk.ES256)
	original, device := clone(t, manifest), map[string]keys.Signer{}
	for _, key := range manifest.Keys {
		device["device:"+key.ID()] = signerOf(t, original, key)
		key.Private, key.Signer = nil, "device:"+key.ID()
	}
	return ringOf(t, manifest, func(uri string, public *jwk.Key) (keys.Signer, error) {
		key := device[uri]
		if key == nil || uri != "device:"+public.ID() {
			return nil, errors.New("the device has no such key")
		}
		return signerFunc(func(ctx context.Context, signingInput []byte) ([]byte, error) {
			return sign(ctx, key, signingInput)
		}), nil
	})
}

// forge makes a token with the server's own key. Without changes it is good: a
// change replaces a member, or removes it when it is nil.
func (f *fixture) forge(t testing.TB, headerChanges, claimChanges map[string]any) string {
	t.Helper()
	key, err := f.ring.SigningKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return f.sign(t, key.Public, key.Signer, headerChanges, claimChanges)
}

// sign is forge with any key.
func (f *fixture) sign(t testing.TB, public *jwk.Key, signer keys.Signer, headerChanges, claimChanges map[string]any) string {
	t.Helper()
	now := time.Now()
	header := map[string]any{"alg": public.Algorithm(), "kid": public.ID(), "typ": wire.TokenType}
	claims := map[string]any{
		wire.ClaimIssuer: f.base, wire.ClaimAudience: "customer-portal", wire.ClaimCustomerID: customerID,
		wire.ClaimSessionID: uuid.NewString(), wire.ClaimOrganizationID: orgID,
		wire.ClaimIssuedAt: now.Unix(), wire.ClaimExpiresAt: now.Add(time.Hour).Unix(), wire.ClaimScope: wire.Scope,
	}
	input := encodeChanged(t, header, headerChanges) + "." + encodeChanged(t, claims, claimChanges)
	signature, err := signer.Sign(t.Context(), []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encodeChanged(t testing.TB, members, changes map[string]any) string {
	t.Helper()
	maps.Copy(members, changes)
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// badTokens are tokens that nobody may accept, each for one reason.
func (f *fixture) badTokens(t testing.TB) map[string]string {
	t.Helper()
	good := f.forge(t, nil, nil)
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	other := newFixture(t)
	claim := func(name string, value any) string { return f.forge(t, nil, map[string]any{name: value}) }
	now := time.Now()
	return map[string]string{
		"garbage":              "garbage",
		"three empty segments": "..",
		"API key":              f.secret,
		"changed signature":    header + "." + payload + "." + flip(signature),
		"changed claims":       header + "." + flip(payload) + "." + signature,
		"no signature":         header + "." + payload + ".",
		"padded":               good + "=",
		"algorithm none":       f.forge(t, map[string]any{"alg": "none"}, nil),
		"algorithm HS256":      f.forge(t, map[string]any{"alg": "HS256"}, nil),
		"unknown key":          other.forge(t, nil, map[string]any{wire.ClaimIssuer: f.base}),
		"another type":         f.forge(t, map[string]any{"typ": "JWT"}, nil),
		"no type":              f.forge(t, map[string]any{"typ": nil}, nil),
		"a header more":        f.forge(t, map[string]any{"jku": f.base}, nil),
		"another issuer":       claim(wire.ClaimIssuer, f.base+"/"),
		"another audience":     claim(wire.ClaimAudience, "somebody-else"),
		"no organization":      claim(wire.ClaimOrganizationID, nil),
		"expired": f.forge(t, nil, map[string]any{
			wire.ClaimIssuedAt: now.Add(-2 * time.Hour).Unix(), wire.ClaimExpiresAt: now.Add(-time.Hour).Unix(),
		}),
		"from the future": f.forge(t, nil, map[string]any{
			wire.ClaimIssuedAt: now.Add(time.Hour).Unix(), wire.ClaimExpiresAt: now.Add(2 * time.Hour).Unix(),
		}),
		"longer than a session may be": claim(wire.ClaimExpiresAt, now.Add(25*time.Hour).Unix()),
		"too long":                     claim("padding", strings.Repeat("x", wire.MaxTokenLength)),
	}
}

// flip changes the first character of a segment.
func flip(segment string) string {
	if segment[0] == 'A' {
		return "B" + segment[1:]
	}
	return "A" + segment[1:]
}
