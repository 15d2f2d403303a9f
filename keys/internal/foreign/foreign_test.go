package foreign_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/internal/foreign"
	"github.com/customersession/customersession/keys/jwk"
)

// TestParse reads each format that a key comes in, and finds the same key.
func TestParse(t *testing.T) {
	t.Parallel()
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs := must(rsa.GenerateKey(rand.Reader, 2048))
	template := &x509.Certificate{}
	ecJWK := strings.Replace(string(public(ec).AppendJSON(nil)), public(ec).ID(), "old", 1)
	secret := base64.RawURLEncoding.EncodeToString(must(ec.Bytes()))
	withPrivate := strings.Replace(ecJWK, `{`, `{"key_ops":["sign"],"d":"`+secret+`",`, 1)
	for name, tc := range map[string]struct {
		data string
		want []*jwk.Key
		ids  []string
	}{
		"public":          {block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(ed.Public()))), keysOf(ed), nil},
		"public, PKCS #1": {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rs.PublicKey)), keysOf(rs), nil},
		"certificate": {
			block("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec))), keysOf(ec), nil,
		},
		"private, PKCS #8": {block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed))), keysOf(ed), nil},
		"private, SEC 1":   {block("EC PARAMETERS", []byte{6, 0}) + block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec))), keysOf(ec), nil},
		"private, PKCS #1": {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)), keysOf(rs), nil},
		"JWK":              {ecJWK, keysOf(ec), []string{"old"}},
		"private JWK":      {withPrivate, keysOf(ec), []string{"old"}},
		"JWK Set":          {`{"keys":[` + ecJWK + `, ` + string(public(ed).AppendJSON(nil)) + `]}`, keysOf(ec, ed), []string{"old", public(ed).ID()}},
	} {
		found, err := foreign.Parse([]byte(tc.data))
		if err != nil || len(found) != len(tc.want) {
			t.Errorf("%s: got %d keys, %v, want %d", name, len(found), err, len(tc.want))
			continue
		}
		for i, k := range found {
			id := tc.want[i].ID()
			if tc.ids != nil {
				id = tc.ids[i]
			}
			if !k.Equal(tc.want[i]) || k.ID() != id || bytes.Contains(k.AppendJSON(nil), []byte(secret)) {
				t.Errorf("%s: got %s, want key %q", name, k.AppendJSON(nil), id)
			}
		}
	}
	for name, data := range map[string]string{
		"nothing":       "hello",
		"empty set":     `{"keys":[]}`,
		"no set":        `{"keys":1}`,
		"symmetric":     `{"kty":"oct","k":"c2VjcmV0c2VjcmV0"}`,
		"encrypted":     block("ENCRYPTED PRIVATE KEY", []byte("c2VjcmV0c2VjcmV0")),
		"broken":        block("PRIVATE KEY", []byte("c2VjcmV0c2VjcmV0")),
		"one that fits": `{"keys":[` + ecJWK + `,{"kty":"oct","k":"c2VjcmV0c2VjcmV0"}]}`,
	} {
		if found, err := foreign.Parse([]byte(data)); err == nil || found != nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: got %v, %v, want an error without what was read", name, found, err)
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func public(private crypto.Signer) *jwk.Key { return must(jwk.New(private.Public())) }

func keysOf(privates ...crypto.Signer) []*jwk.Key {
	all := make([]*jwk.Key, len(privates))
	for i, private := range privates {
		all[i] = public(private)
	}
	return all
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
