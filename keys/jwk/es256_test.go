package jwk_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
)

// rs returns R‖S.
func rs(r, s *big.Int) []byte {
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature
}

func TestLowS(t *testing.T) {
	t.Parallel()
	one, n := big.NewInt(1), elliptic.P256().Params().N
	half := new(big.Int).Rsh(n, 1)
	above := new(big.Int).Add(half, one)
	last := new(big.Int).Sub(n, one)
	largest := new(big.Int).SetBytes(bytes.Repeat([]byte{0xff}, 32))
	for name, c := range map[string]struct {
		s, normal *big.Int
		low       bool
	}{
		"0":           {big.NewInt(0), big.NewInt(0), true},
		"1":           {one, one, true},
		"n/2":         {half, half, true},
		"n/2 + 1":     {above, half, false},
		"n - 1":       {last, one, false},
		"n":           {n, n, false},
		"2^256 - 1":   {largest, largest, false},
		"one byte up": {new(big.Int).Lsh(one, 255), new(big.Int).Sub(n, new(big.Int).Lsh(one, 255)), false},
	} {
		signature := rs(last, c.s)
		if got := jwk.IsLowS(signature); got != c.low {
			t.Errorf("s = %s: IsLowS = %v, want %v", name, got, c.low)
		}
		jwk.NormalizeS(signature)
		if want := rs(last, c.normal); !bytes.Equal(signature, want) {
			t.Errorf("s = %s: normalised %x, want %x", name, signature, want)
		}
	}
	for _, length := range []int{0, 31, 32, 63, 65, 96} {
		signature := bytes.Repeat([]byte{0xc0}, length)
		if jwk.IsLowS(make([]byte, length)) {
			t.Errorf("IsLowS is true for %d bytes", length)
		}
		if jwk.NormalizeS(signature); !bytes.Equal(signature, bytes.Repeat([]byte{0xc0}, length)) {
			t.Errorf("NormalizeS changed %d bytes", length)
		}
	}
}

// TestBothSpellingsVerify shows what [jwk.IsLowS] is for.
func TestBothSpellingsVerify(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("message"))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	twin := new(big.Int).Sub(key.Params().N, s)
	if jwk.IsLowS(rs(r, s)) == jwk.IsLowS(rs(r, twin)) {
		t.Error("exactly one of the two signatures must be low-S")
	}
	want := s
	if twin.Cmp(s) < 0 {
		want = twin
	}
	for _, spelling := range []*big.Int{s, twin} {
		if !ecdsa.Verify(&key.PublicKey, sum[:], r, spelling) {
			t.Error("a valid signature does not verify")
		}
		signature := rs(r, spelling)
		if jwk.NormalizeS(signature); !bytes.Equal(signature, rs(r, want)) {
			t.Error("NormalizeS does not give the one with the smaller s")
		}
	}
}

func TestIsLowSDoesNotAllocate(t *testing.T) {
	signature := bytes.Repeat([]byte{0x80}, 64)
	if n := testing.AllocsPerRun(100, func() { jwk.IsLowS(signature) }); n != 0 {
		t.Errorf("IsLowS allocates %v times", n)
	}
}
