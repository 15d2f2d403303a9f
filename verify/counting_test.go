package verify

import (
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"
)

// CountSignatureChecks counts how often v checks a signature from now on.
func CountSignatureChecks(v *Verifier) *atomic.Int64 {
	n := new(atomic.Int64)
	for algorithm, method := range v.methods {
		v.methods[algorithm] = countingMethod{method, n}
	}
	return n
}

type countingMethod struct {
	jwt.SigningMethod

	n *atomic.Int64
}

func (m countingMethod) Verify(input string, signature []byte, key any) error {
	m.n.Add(1)
	return m.SigningMethod.Verify(input, signature, key)
}
