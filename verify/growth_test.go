package verify_test

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// A million tokens, no two alike, leave nothing behind; the quick form has
// 50,000. This test is not
// parallel: it weighs the heap of the whole process.
func TestNoGrowth(t *testing.T) {
	const (
		limit     = 2 << 20
		cacheSize = 12 << 20 // 4096 tokens of less than a kilobyte
	)
	tokens := 50_000
	if needs.Exhaustive() && !needs.Race() {
		tokens = 1_000_000
	}
	s := newSigner(t, jwk.EdDSA)
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	v := newFetching(t, p, verify.Config{})
	check(t, v, s, nil)

	empty := heap()
	verifyMany(t, v, s, 10_000, 1) // fills what is bounded, the cache of 4096 tokens first of all
	before := heap()
	if before > empty+cacheSize {
		t.Errorf("the cache has %d KiB", (before-empty)>>10)
	}
	verifyMany(t, v, s, tokens, 50)
	after := heap()
	t.Logf("%d tokens: the heap went from %d by way of %d to %d KiB", tokens, empty>>10, before>>10, after>>10)
	if after > before+limit {
		t.Errorf("the heap grew by %d KiB", (after-before)>>10)
	}
	if n := p.requests.Load(); n > 3 {
		t.Errorf("got %d requests", n)
	}
}

// verifyMany verifies n tokens. One in every is good and the next one has a bad
// signature; the others are of keys that nobody has published.
func verifyMany(t *testing.T, v *verify.Verifier, s *signer, n, every int) {
	t.Helper()
	good, bad := 0, 0
	for i := range n {
		var token string
		switch i % every {
		case 0, 1:
			token = s.token(t, s.header(), strings.Replace(payload(), "{", fmt.Sprintf(`{"jti":%q,`, rand.Text()), 1))
			if i%every == 1 {
				token = token[:len(token)-10] + "AAAAAAAAAA"
			}
		default:
			token = encode(fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":%q}`, rand.Text(), wire.TokenType)) + ".e30.AA"
		}
		if _, err := v.Verify(t.Context(), token); err == nil {
			good++
		} else {
			bad++
		}
	}
	if good != (n+every-1)/every {
		t.Errorf("%d of %d tokens were good, %d bad", good, n, bad)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first one empties pools into their second generation
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
