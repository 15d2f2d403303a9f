package keys

import (
	"crypto/sha256"
	"slices"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/jwk/ijson"
)

// parseImported reads a public JWK whose "kid" another issuer chose.
func parseImported(data []byte) (*jwk.Key, error) {
	return parseNamed(data, nil)
}

// parseForeign reads the public half of a JWK that another issuer may sign
// with. Without a "kid" it has its thumbprint.
func parseForeign(data []byte) (*jwk.Key, error) {
	private := []string{"d", "p", "q", "dp", "dq", "qi", "oth", "key_ops"}
	isPrivate := false
	_, err := ijson.Members(data, ijson.Limits{}, func(name []byte, _ ijson.Value) error {
		isPrivate = isPrivate || string(name) == "d"
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !isPrivate {
		private = nil
	}
	k, err := parseNamed(data, private)
	if err == nil && k.ID() == "" {
		k = k.WithID(k.Thumbprint())
	}
	return k, err
}

// parseNamed reads a JWK, without some members of it. Package jwk trusts no
// "kid" but the thumbprint, so it gets the JWK with that, checks everything
// else, and the key has its own name put back.
func parseNamed(data []byte, without []string) (*jwk.Key, error) {
	var id string
	required := map[string]string{}
	renamed := []byte{'{'}
	_, err := ijson.Members(data, ijson.Limits{}, func(name []byte, v ijson.Value) error {
		if slices.Contains(without, string(name)) {
			return nil
		}
		text, ok := v.Text()
		if string(name) == "kid" {
			if !ok {
				return jwk.ErrMalformed
			}
			id = string(text)
			return nil
		}
		if ok {
			required[string(name)] = string(text)
		}
		renamed = append(ijson.AppendString(renamed, string(name)), ':')
		renamed = append(append(renamed, v...), ',')
		return nil
	})
	if err != nil {
		return nil, err
	}
	renamed = append(renamed, `"kid":"`+thumbprint(required)+`"}`...)
	k, err := jwk.Parse(renamed)
	if err != nil {
		return nil, err
	}
	return k.WithID(id), nil
}

// thumbprint is that of RFC 7638, Section 3, for a JWK that is sound; for any
// other it is a text that jwk.Parse does not come to look at.
func thumbprint(members map[string]string) string {
	names := []string{"crv", "kty", "x"}
	switch members["kty"] {
	case "EC":
		names = append(names, "y")
	case "RSA":
		names = []string{"e", "kty", "n"}
	}
	text := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(ijson.AppendString(text, name), ':')
		text = ijson.AppendString(text, members[name])
	}
	sum := sha256.Sum256(append(text, '}'))
	return encode(sum[:])
}
