package verifytest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// A FeedFailure is a way in which the feed of revocations fails. The JWK Set is
// served all the same: see [Issuer.Fail].
type FeedFailure int

// The ways to fail. Where a good answer can be part of a bad one, it is, so that a
// test catches a client that uses it.
const (
	// FeedHealthy is no failure.
	FeedHealthy FeedFailure = iota
	// FeedDown refuses connections. A real connection is closed without an
	// answer.
	FeedDown
	// FeedHang never answers.
	FeedHang
	// FeedUnavailable answers 503, as a replica that cannot read the log.
	FeedUnavailable
	// FeedNotFound answers 404, as an issuer of an older version.
	FeedNotFound
	// FeedCutOff is a proxy that closes a connection on which nothing happens for
	// ten seconds. What is answered before is good.
	FeedCutOff
	// FeedBuffered is a proxy that passes a good answer on only five seconds after
	// it has arrived.
	FeedBuffered
	// FeedCached is a cache that answers with a copy of the last good answer.
	FeedCached
	// FeedGap answers with entries that begin one later than asked for.
	FeedGap
	// FeedLowerSeq answers from a log that lacks the newest entry.
	FeedLowerSeq
	// FeedOtherLog answers with what is new in a log of another name: nothing.
	FeedOtherLog
	// FeedOtherIssuer answers for another issuer.
	FeedOtherIssuer
	// FeedBomb answers with 17 MiB that gzip packs into 17 KiB.
	FeedBomb
	// FeedMillion answers with a million entries.
	FeedMillion
	// FeedTruncated answers with the first half of a good answer.
	FeedTruncated
	// FeedGarbage answers 200 with an HTML page.
	FeedGarbage
)

const (
	// proxyTimeout and proxyDelay are those of FeedCutOff and FeedBuffered.
	proxyTimeout = 10 * time.Second
	proxyDelay   = 5 * time.Second
	bombLength   = 17 << 20
)

// waits reports whether requests wait for news all the same.
func (f FeedFailure) waits() bool { return f == FeedHealthy || f == FeedCutOff || f == FeedBuffered }

// FailFeed makes the feed fail from now on, also for requests that wait for news;
// [FeedHealthy] makes it work again.
func (i *Issuer) FailFeed(f FeedFailure) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.feed.failure = f
	i.feed.tell()
}

// respond answers a request, well or badly.
func (i *Issuer) respond(w http.ResponseWriter, r *http.Request, a feedAnswer, asked feedRequest, failure FeedFailure) {
	switch failure {
	case FeedDown:
		panic(http.ErrAbortHandler)
	case FeedHang:
		<-r.Context().Done()
	case FeedNotFound:
		http.NotFound(w, r)
	case FeedUnavailable:
		w.WriteHeader(http.StatusServiceUnavailable)
		a.write(w, r)
	case FeedBuffered:
		a.write(w, r)
		pause(r.Context(), nil, proxyDelay)
	case FeedBomb, FeedMillion:
		i.oversize(&a, failure).write(w, r, a.nonce)
	case FeedTruncated:
		body := must(json.Marshal(a.Revocations))
		newFeedBody(body[:len(body)/2]).write(w, r, a.nonce)
	case FeedGarbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>Down for maintenance</title>"))
	default:
		i.distort(&a, asked, failure)
		a.write(w, r)
	}
}

// distort changes an answer.
func (i *Issuer) distort(a *feedAnswer, asked feedRequest, failure FeedFailure) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch failure {
	case FeedCached:
		*a = i.feed.last
	case FeedGap:
		a.After, a.Seq = asked.after+1, max(a.Seq, asked.after+1)
	case FeedLowerSeq:
		if a.Seq > 0 {
			a.Seq--
			a.After = min(a.After, a.Seq)
			a.Revoked = a.Revoked[:max(len(a.Revoked)-1, 0)]
		}
	case FeedOtherLog:
		a.Log, a.Seq, a.After, a.Revoked = "another", max(a.Seq, asked.after), asked.after, a.Revoked[:0]
	case FeedOtherIssuer:
		a.Issuer += ".example.net"
	default:
		i.feed.last = *a
	}
}

// oversize returns what is wrong with the length of an answer. The last one is kept:
// it takes long to make, and consumers ask again and again.
func (i *Issuer) oversize(a *feedAnswer, failure FeedFailure) *feedBody {
	i.mu.Lock()
	defer i.mu.Unlock()
	body := string(must(json.Marshal(a.Revocations)))
	kept := &i.feed.oversize
	if kept.failure != failure || kept.of != body {
		long := withPadding(body)
		if failure == FeedMillion {
			long = withMillion(body, len(a.Revoked))
		}
		kept.failure, kept.of, kept.body = failure, body, newFeedBody([]byte(long))
	}
	return kept.body
}

// withPadding returns an answer with a long member.
func withPadding(body string) string {
	return strings.TrimSuffix(body, "}") + `,"padding":"` + strings.Repeat("a", bombLength) + `"}`
}

// withMillion returns an answer with a million short entries of an unknown scope before
// its own.
func withMillion(body string, entries int) string {
	return strings.Replace(body, `"revoked":[`, `"revoked":[`+strings.Repeat(`{"scope":""},`, 1_000_000)+`{"scope":""}`+separator(entries), 1)
}

// separator returns what comes between an entry and n others.
func separator(n int) string {
	if n == 0 {
		return ""
	}
	return ","
}
