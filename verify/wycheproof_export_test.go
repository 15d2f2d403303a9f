package verify

import "github.com/customersession/customersession/keys/jwk"

// CheckSignature returns what [Verifier.Verify] thinks of a token's form and
// signature, given that the header is good and names key. The vectors of
// others have neither our header nor our claims.
func (v *Verifier) CheckSignature(token string, key *jwk.Key) error {
	jws, err := parseJWS(token)
	if err != nil {
		return err
	}
	return v.checkSignature(&jws, key)
}
