package scaling_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/customersession/customersession/verify/wire"
)

// The rules of the issuer about the size of an answer.
const (
	// feedSmall is how many entries an answer may have that is as cheap as any.
	feedSmall = 150
	// feedCompressed is from how many bytes on an answer is compressed.
	feedCompressed = 512
)

// A feedAnswer is what decides how long an answer is. All entries end single
// sessions.
type feedAnswer struct {
	// old entries were appended one a second, new ones within so many seconds.
	old, new, seconds int
	// crowded is for a consumer that finds no place to wait.
	crowded bool
}

// feedExact is up to how many entries the length of an answer is exact. Beyond
// that, each entry adds as much as any other of its kind.
const feedExact = 200

// feedSizes are the lengths of answers over HTTP/1.1.
type feedSizes struct {
	exact map[feedAnswer]int
	// slow and fast are what an entry adds that is appended one a second, and one
	// of many in a second.
	slow, fast float64
}

func newFeedSizes() *feedSizes {
	each := func(a feedAnswer) float64 {
		return float64(feedAnswer{old: 11 * a.old, new: 11 * a.new}.size()-a.size()) / float64(10*(a.old+a.new))
	}
	return &feedSizes{map[feedAnswer]int{}, each(feedAnswer{old: feedExact}), each(feedAnswer{new: feedExact})}
}

// of returns the length of an answer.
func (s *feedSizes) of(a feedAnswer) int {
	if total := a.old + a.new; total > feedExact {
		part := feedAnswer{old: feedExact * a.old / total, seconds: feedExact * a.seconds / total, crowded: a.crowded}
		part.new = feedExact - part.old
		fast := a.new - min(a.new, a.seconds)
		return s.of(part) + int(float64(total-feedExact)*(s.slow+(s.fast-s.slow)*float64(fast)/float64(total)))
	}
	if s.exact[a] == 0 {
		s.exact[a] = a.size()
	}
	return s.exact[a]
}

func (a feedAnswer) size() int {
	random := rand.New(rand.NewPCG(seed, uint64(a.old+a.new)))
	answer := wire.Revocations{
		Issuer: testIssuer, Enabled: true, Log: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Seq: 100, After: 100,
		MaxAge: int64(feedMaxAge.Seconds()), Pause: 1,
		Revoked: make([]wire.Revocation, a.old+a.new), RevokedKeys: []string{},
	}
	for i := range answer.Revoked {
		r := &answer.Revoked[i]
		second := min(i, a.old)
		if i > a.old {
			second += (i - a.old) * a.seconds / a.new
		}
		r.Scope, r.DropAt = wire.RevokeSession, epoch().Unix()+int64(second)
		binary.LittleEndian.PutUint64(r.ID[:8], random.Uint64())
		binary.LittleEndian.PutUint64(r.ID[8:], random.Uint64())
	}
	body, err := json.Marshal(&answer)
	if err != nil {
		panic(err) // of a constant shape
	}
	header := http.Header{
		"Cache-Control": {"no-store"}, "Content-Type": {"application/json"}, "Vary": {"Accept-Encoding"},
		"X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {"abcdefghijklm"},
		wire.RevocationsAge: {"0.123"}, wire.RevocationsNonce: {"abcdefghijklmnopqrstuvwxyz"},
	}
	if a.crowded {
		header.Set("Connection", "close")
	}
	if len(body) >= feedCompressed {
		header.Set("Content-Encoding", "gzip")
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(body) // into memory
		_ = w.Close()
		body = packed.Bytes()
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	return wireSize(http.StatusOK, header, len(body))
}
