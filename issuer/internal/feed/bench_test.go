package feed_test

import (
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/revocations"
)

// BenchmarkCreate is what a request for a session asks while nothing was ended
// within the last seconds.
func BenchmarkCreate(b *testing.B) {
	f := feed.New(feed.Config{Log: revocations.NewMemory(), MaxAge: maxAge})
	for b.Loop() {
		if f.Recent(time.Now()) || f.RevokedKey("x") {
			b.Fatal("something was ended")
		}
	}
}
