package issuer

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/connections"
	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/ratelimit"
	"github.com/customersession/customersession/verify/wire"
)

// Limits of the feed. None is shared with creating sessions.
const (
	// longestWait is how long a consumer may wait for news.
	longestWait = 30 * time.Second
	// maxWaiting and maxWaitingClient are how many consumers may wait, in all and
	// from one client address.
	maxWaiting       = 10_000
	maxWaitingClient = 64
	// snapshotRate and snapshotBurst limit large answers to one client address.
	snapshotRate  = 1
	snapshotBurst = 20
	// pause is how long a consumer is to wait before its next request, unless many
	// are to come back: then up to longestPause. crowdedPause is the least for one
	// that finds no place to wait, and awayPause for one that would wait in vain,
	// because the log is away.
	pause        = time.Second
	awayPause    = 2 * time.Second
	crowdedPause = 5 * time.Second
	longestPause = 30 * time.Second
	// feedRate is how many consumers are to come back in a second. While sessions
	// end all the time, none waits for long, so that the pauses alone decide how
	// much the feed takes of the processor. One client address takes no more than
	// clientRate of that, else it could make the others wait.
	feedRate    = 2000
	clientRate  = 100
	clientBurst = 200
)

// What a connection costs while a header comes in, one with a waiting consumer, and
// the rest of the server.
const (
	connectionCost = 150 << 10
	waitingCost    = 40 << 10
	serverCost     = 32 << 20
)

// waitingPlaces returns how many consumers may wait: as many as there is memory for
// beside the other connections, if the memory is limited (GOMEMLIMIT).
func waitingPlaces(connections int) int {
	limit := debug.SetMemoryLimit(-1)
	left := limit - int64(connections)*connectionCost - serverCost
	return int(min(maxWaiting, max(maxWaitingClient, left/waitingCost)))
}

// errFeedQuery is the error for a request to the feed that cannot be read.
var errFeedQuery = errors.New("query of the feed is malformed")

// A feedQuery is a request to the feed.
type feedQuery struct {
	feed.Query

	wait  time.Duration
	nonce string
}

// readFeedQuery reads the query of a request. The error is errFeedQuery.
func readFeedQuery(r *http.Request) (*feedQuery, error) {
	values := r.URL.Query()
	q := &feedQuery{nonce: values.Get("nonce")}
	q.Log = values.Get("log")
	q.Gzip = acceptsGzip(r.Header)
	if !isNonce(q.nonce) {
		return nil, errFeedQuery
	}
	if text := values.Get("after"); text != "" {
		after, err := strconv.ParseInt(text, 10, 64)
		if err != nil || after < 0 {
			return nil, errFeedQuery
		}
		q.After = after
	}
	if text := values.Get("wait"); text != "" && r.Method == http.MethodGet {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds >= 0 && seconds <= math.MaxInt32) {
			return nil, errFeedQuery
		}
		q.wait = min(time.Duration(seconds*float64(time.Second)), longestWait)
	}
	return q, nil
}

// isNonce accepts at most 64 characters that need no escaping.
func isNonce(text string) bool {
	for _, c := range []byte(text) {
		if (c < '0' || '9' < c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c) && c != '-' && c != '_' {
			return false
		}
	}
	return len(text) <= 64
}

// acceptsGzip reports whether the client asks for gzip (RFC 9110, Section 12.5.3).
func acceptsGzip(header http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(header.Values(echo.HeaderAcceptEncoding), ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			weight = strings.ReplaceAll(weight, " ", "")
			return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
		}
	}
	return false
}

// serveFeed answers GET /.well-known/customer-session-revocations: which sessions
// have been ended, for consumers.
func (s *Server) serveFeed(c *call) error {
	result, err := s.answerFeed(c)
	s.metrics.feed.WithLabelValues(result).Inc()
	return err
}

// Results of requests to the feed, for the metric.
const (
	feedAnswered    = "answered"
	feedCrowded     = "crowded" // answered at once, for want of a place to wait
	feedLimited     = "limited"
	feedUnavailable = "unavailable"
	feedRefused     = "refused"
)

func (s *Server) answerFeed(c *call) (result string, err error) {
	q, err := readFeedQuery(c.Request())
	if err != nil {
		return feedRefused, err
	}
	client := clientKey(c)
	exempt := s.isTrusted(client.Addr())
	result = feedAnswered
	least := pause
	if s.revocationLog == nil {
		q.wait, least = 0, longestPause // nothing will happen
	}
	if err := s.revocations.CatchUp(c.Request().Context(), &q.Query); err != nil {
		return s.unavailableFeed(c, err)
	}
	if q.wait > 0 && !s.revocations.Away() && !s.waitForNews(c, q, client, exempt) {
		// It comes back later, on another connection.
		result, least = feedCrowded, crowdedPause
		c.Response().Header().Set("Connection", "close")
	}
	if s.revocations.Away() {
		// Another replica may hear news that this one does not.
		least = max(least, awayPause)
		c.Response().Header().Set("Connection", "close")
	}
	if s.draining.Load() {
		c.Response().Header().Set("Connection", "close")
	}
	if !exempt && s.revocations.Large(&q.Query) {
		if wait, ok := s.snapshotLimit.Allow(client); !ok {
			s.metrics.limited.WithLabelValues("feed").Inc()
			return feedLimited, &tooManyError{wait}
		}
	}
	q.Pause = s.pauses.next(client, exempt, least)
	answer, err := s.revocations.Answer(&q.Query)
	if err != nil {
		return s.unavailableFeed(c, err)
	}
	return result, writeFeed(c, q, &answer)
}

// unavailableFeed sends a consumer to another replica, which may know more.
func (*Server) unavailableFeed(c *call, cause error) (result string, err error) {
	c.Response().Header().Set("Connection", "close")
	return feedUnavailable, cause
}

// waitForNews waits until there is news for the consumer, its time is up, it is gone,
// or the server drains. The result is false if there is no place to wait.
func (s *Server) waitForNews(c *call, q *feedQuery, client netip.Prefix, exempt bool) bool {
	if s.draining.Load() {
		return true
	}
	if !s.waiting.take(client, exempt) {
		return false
	}
	defer s.waiting.leave(client, exempt)
	ctx := c.Request().Context()
	if !connections.SetAside(ctx) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, q.wait)
	defer cancel()
	s.revocations.Wait(ctx, &q.Query, s.stopping)
	// The server's deadline is for requests that are answered at once. There is none
	// where there is no connection, as in tests.
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(writeTimeout))
	return true
}

// writeFeed sends an answer. Its age and nonce are not part of the body, which
// others get too.
func writeFeed(c *call, q *feedQuery, a *feed.Answer) error {
	noStore(c)
	header := c.Response().Header()
	header.Set("Vary", echo.HeaderAcceptEncoding)
	if q.nonce != "" {
		header.Set(wire.RevocationsNonce, q.nonce)
	}
	if a.Gzip {
		header.Set(echo.HeaderContentEncoding, "gzip")
	}
	milliseconds := math.Ceil(float64(a.Age()) / float64(time.Millisecond))
	header.Set(wire.RevocationsAge, strconv.FormatFloat(milliseconds/1000, 'f', -1, 64))
	return writeJSON(c, http.StatusOK, a.Body)
}

// isTrusted reports whether an address is of the networks that stand for many
// clients.
func (s *Server) isTrusted(addr netip.Addr) bool {
	return slices.ContainsFunc(s.trusted, func(network netip.Prefix) bool { return network.Contains(addr) })
}

// pauses makes the pauses of consumers.
type pauses struct {
	longest time.Duration
	clients *ratelimit.Limiter[netip.Prefix]

	mu  sync.Mutex
	due time.Time // when the next consumer is to come back, if not at once
}

// newPauses returns the pauses for a maximum age: consumers still ask often enough
// for that.
func newPauses(maxAge time.Duration) *pauses {
	return &pauses{
		longest: max(pause, min(longestPause, maxAge/4)),
		clients: ratelimit.New[netip.Prefix](clientRate, clientBurst, maxAddresses),
	}
}

// next returns the pause of a consumer, which is not less than least unless that is
// too long. There are few different ones, because each makes another answer.
func (p *pauses) next(client netip.Prefix, exempt bool, least time.Duration) time.Duration {
	if !exempt {
		if _, ok := p.clients.Allow(client); !ok {
			return p.longest
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	due := min(max(p.due.Sub(now), pause), p.longest)
	p.due = now.Add(due + time.Second/feedRate)
	rounded := pause
	for rounded*3/2 < due {
		rounded *= 2
	}
	return min(max(rounded, least), p.longest)
}

// waiting counts the consumers that wait.
type waiting struct {
	total, perClient int

	mu      sync.Mutex
	taken   int
	clients map[netip.Prefix]int
}

func newWaiting(total, perClient int) *waiting {
	return &waiting{total: total, perClient: perClient, clients: map[netip.Prefix]int{}}
}

// take takes a place for a client, if there is one. Exempt clients count in all
// only.
func (w *waiting) take(client netip.Prefix, exempt bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken >= w.total || !exempt && w.clients[client] >= w.perClient {
		return false
	}
	w.taken++
	if !exempt {
		w.clients[client]++
	}
	return true
}

func (w *waiting) leave(client netip.Prefix, exempt bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken--
	if exempt {
		return
	}
	if w.clients[client]--; w.clients[client] == 0 {
		delete(w.clients, client)
	}
}

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taken
}
