package jwk

import (
	"crypto/ed25519"
	"math/big"
)

// field returns the prime 2^255 - 19, modulo which the coordinates of Ed25519
// are computed (RFC 8032, Section 5.1).
func field() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	return p.Sub(p, big.NewInt(19))
}

// checkEd25519 refuses encodings that RFC 8032, Section 5.1.3 does not decode,
// and the eight points of small order: with such a key one signature verifies
// for every message. crypto/ed25519 checks the encoding only while verifying,
// and the order never.
func checkEd25519(public ed25519.PublicKey) error {
	if len(public) != ed25519.PublicKeySize {
		return ErrPoint
	}
	bigEndian := make([]byte, len(public))
	for i, b := range public {
		bigEndian[len(public)-1-i] = b
	}
	sign := bigEndian[0] >> 7
	bigEndian[0] &= 0x7f
	y, p, one := new(big.Int).SetBytes(bigEndian), field(), big.NewInt(1)
	if y.Cmp(p) >= 0 {
		return ErrPoint
	}
	// x² = u/v with u = y² - 1 and v = dy² + 1; v is never 0.
	y2 := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(y2, one)
	v := new(big.Int).Mul(y2, edwardsD(p))
	v.Add(v, one)
	// u/v is a square exactly when uv is.
	uv := new(big.Int).Mul(u, v)
	switch big.Jacobi(uv.Mod(uv, p), p) {
	case -1:
		return ErrPoint
	case 0: // x is 0: the points of order 1 and 2
		if sign == 1 {
			return ErrPoint // "-0" is not decoded
		}
		return ErrSmallOrder
	}
	if hasOrder4Or8(y2, p) {
		return ErrSmallOrder
	}
	return nil
}

// edwardsD returns the curve constant d = -121665/121666.
func edwardsD(p *big.Int) *big.Int {
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665))
	return d.Mod(d, p)
}

// hasOrder4Or8 reports whether a point on the curve with x other than 0 has
// order 4 (y = 0) or 8 (twice the point has y = 0). On -x² + y² = 1 + dx²y²,
// doubling gives y = 0 exactly if x² = -y², and substituting that into the
// equation of the curve gives dy⁴ + 2y² - 1 = 0.
func hasOrder4Or8(y2, p *big.Int) bool {
	if y2.Sign() == 0 {
		return true
	}
	f := new(big.Int).Mul(y2, y2)
	f.Mul(f, edwardsD(p))
	f.Add(f, new(big.Int).Lsh(y2, 1))
	f.Sub(f, big.NewInt(1))
	return f.Mod(f, p).Sign() == 0
}
