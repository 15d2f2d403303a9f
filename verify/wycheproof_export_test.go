package verify

import (
	"errors"

	"github.com/customersession/customersession/keys/jwk"
)

// CheckSignature tells what [Verifier.Verify] thinks of a token's form and
// signature, given that the header is good and names key. The vectors of
// others have neither our header nor our claims.
func (v *Verifier) CheckSignature(token string, key *jwk.Key) error {
	s, _ := v.scratches.Get().(*scratch)
	defer v.scratches.Put(s)
	c, err := s.open(token)
	if err != nil {
		return err
	}
	c.method = v.methods[key.Algorithm()]
	// Claims are not read before the signature is good, so any other error
	// means that it is.
	if err = v.check(new(claims), &c, key); errors.Is(err, ErrSignature) {
		return err
	}
	return nil
}
