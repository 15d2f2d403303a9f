package pkcs11

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/customersession/customersession/keys/jwk"
)

var errNoPublicKey = errors.New("the token holds no public key with the ID of the private key; write it to the token")

// publicKey reads the public key with the ID of the private key.
func (c *connection) publicKey(session, private uint) (*jwk.Key, error) {
	values, err := c.library().Read(session, private, attributeID, attributeKeyType)
	if err != nil {
		return nil, err
	}
	id, kind := values[0], values[1]
	if len(id) == 0 {
		return nil, errNoPublicKey
	}
	found, err := c.library().Find(session, []attribute{
		{attributeClass, uint(classPublicKey)},
		{attributeID, id},
	}, 2)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, errNoPublicKey
	case len(found) > 1:
		return nil, fmt.Errorf("several public keys have the ID of the private key, id=%s; give each pair its own ID", percentEncoded(id))
	}
	key, err := c.readPublic(session, found[0], number(kind))
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	return key, nil
}

func (c *connection) readPublic(session, object, kind uint) (*jwk.Key, error) {
	switch kind {
	case keyTypeRSA:
		values, err := c.library().Read(session, object, attributeModulus, attributePublicExponent)
		if err != nil {
			return nil, err
		}
		exponent := new(big.Int).SetBytes(values[1])
		if exponent.BitLen() > 31 {
			return nil, jwk.ErrRSA
		}
		return jwk.New(&rsa.PublicKey{N: new(big.Int).SetBytes(values[0]), E: int(exponent.Int64())})
	case keyTypeEC, keyTypeECEdwards:
		values, err := c.library().Read(session, object, attributeECPoint)
		if err != nil {
			return nil, err
		}
		return pointKey(kind, values[0])
	default:
		return nil, jwk.ErrUnsupported
	}
}

// pointKey reads a CKA_EC_POINT, which should be an OCTET STRING that holds the
// point, and is the point itself with some devices. Its length shows which curve
// it is on.
func pointKey(kind uint, point []byte) (*jwk.Key, error) {
	size := 65
	if kind == keyTypeECEdwards {
		size = ed25519.PublicKeySize
	}
	if len(point) == size+2 && point[0] == 0x04 && int(point[1]) == size {
		point = point[2:]
	}
	if len(point) != size {
		return nil, jwk.ErrUnsupported
	}
	if kind == keyTypeECEdwards {
		return jwk.New(ed25519.PublicKey(point))
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, jwk.ErrUnsupported
	}
	return jwk.New(key)
}

// number reads a CK_ULONG in the size and byte order of this machine. An empty
// value is not zero, which is the type of RSA keys.
func number(value []byte) uint {
	switch len(value) {
	case 8:
		return uint(binary.NativeEndian.Uint64(value))
	case 4:
		return uint(binary.NativeEndian.Uint32(value))
	default:
		return ^uint(0)
	}
}
