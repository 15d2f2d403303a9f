// Package foreign reads the keys of another issuer: JWKs, JWK Sets and PEM.
package foreign

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

// Parse reads the public halves of the keys in data: a JWK, a JWK Set, or PEM
// blocks (public keys, certificates, private keys in PKCS #8 or in the older
// forms). Private parts are ignored. A key has the "kid" that it has in data,
// and its thumbprint without one. The error says which key cannot be read; it
// holds nothing of the key.
func Parse(data []byte) ([]*jwk.Key, error) {
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' {
		return parseJSON(text)
	}
	return parsePEM(data)
}

func parseJSON(data []byte) ([]*jwk.Key, error) {
	list, isSet, err := keysOf(data)
	if err != nil {
		return nil, fmt.Errorf("reading JWK: %w", err)
	}
	if !isSet {
		list = []ijson.Value{data}
	}
	var found []*jwk.Key
	for i, text := range list {
		k, _, err := jwk.ParseForeign(text)
		if err != nil {
			return nil, fmt.Errorf("key number %d: %w", i+1, err)
		}
		found = append(found, k)
	}
	if len(found) == 0 {
		return nil, errors.New("JWK Set holds no key")
	}
	return found, nil
}

// keysOf returns the elements of the member "keys", if there is one.
func keysOf(data []byte) (list []ijson.Value, isSet bool, err error) {
	_, err = ijson.Members(data, ijson.Limits{Depth: 8, Members: 64 * 32}, func(name []byte, v ijson.Value) error {
		if string(name) != "keys" {
			return nil
		}
		isSet = v.Elements(func(e ijson.Value) bool {
			list = append(list, bytes.Clone(e))
			return true
		})
		if !isSet {
			return jwk.ErrNotASet
		}
		return nil
	})
	return list, isSet, err
}

func parsePEM(data []byte) ([]*jwk.Key, error) {
	var found []*jwk.Key
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" {
			continue
		}
		public, err := publicOf(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block number %d, %q: %w", len(found)+1, block.Type, err)
		}
		k, err := jwk.New(public)
		if err != nil {
			return nil, fmt.Errorf("PEM block number %d, %q: %w", len(found)+1, block.Type, err)
		}
		found = append(found, k)
	}
	if len(found) == 0 {
		return nil, errors.New("there is no key: neither a JWK, nor a JWK Set, nor a PEM block")
	}
	return found, nil
}

var errPEM = errors.New("it cannot be read; decrypt it, or export the public key, for example with: openssl pkey -in FILE -pubout")

// publicOf hides the causes of errors about private keys, which might quote
// them.
func publicOf(block *pem.Block) (crypto.PublicKey, error) {
	var private any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, errPEM
	}
	signer, ok := private.(crypto.Signer)
	if err != nil || !ok {
		return nil, errPEM
	}
	return signer.Public(), nil
}
