package keys_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

// A key set from nothing to a signature.
func Example() {
	policy := keys.DefaultPolicy()
	policy.Algorithm = jwk.EdDSA
	manifest, err := keys.Init(policy, time.Now(), true)
	if err != nil {
		fmt.Println(err)
		return
	}
	ring, err := keys.NewRing(manifest, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := ring.SigningKey(time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	input := []byte("eyJhbGciOiJFZERTQSJ9.e30")
	signature, err := key.Signer.Sign(context.Background(), input)
	if err != nil {
		fmt.Println(err)
		return
	}
	// What a consumer sees: the key by its ID, out of the JWK Set.
	public := manifest.PublishedKey(key.Public.ID(), time.Now())
	fmt.Println(ed25519.Verify(public.Public().(ed25519.PublicKey), input, signature))
	for _, k := range ring.Manifest().Keys {
		fmt.Println(ring.Manifest().StateAt(k, time.Now()), k.Private)
	}
	// Output:
	// true
	// current [redacted]
	// next [redacted]
}
