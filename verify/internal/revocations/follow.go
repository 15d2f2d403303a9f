package revocations

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"time"
)

// follow asks the feed until the source is closed, or has not been used for long.
func (s *Source) follow(ctx context.Context) {
	s.loadSnapshot()
	for {
		pause := time.NewTimer(s.ask(ctx))
		select {
		case <-pause.C:
		case <-s.hurry:
			pause.Stop()
		case <-ctx.Done():
			pause.Stop()
			return
		}
		if s.rest() {
			return
		}
	}
}

// An outcome is what came of a request.
type outcome struct {
	known *Knowledge
	// failed is nil if the answer was taken.
	failed *fetchError
	news   bool
	took   time.Duration
	// dropped is set if the request was interrupted, so that nothing came of it.
	dropped bool
	// began and ended report that this is the first or the last of an outage,
	// which has failures failed requests.
	began, ended bool
	failures     int
}

// ask makes one request, puts its outcome in place, and returns how long to pause
// before the next one.
func (s *Source) ask(ctx context.Context) (pause time.Duration) {
	o := outcome{known: s.known.Load()}
	ctx, underWay, wait := s.start(ctx, o.known)
	defer underWay.cancel()
	asked := o.known.Request(s.now(), rand.Text(), wait)
	answer, failed := s.fetcher.fetch(ctx, &asked)
	o.failed, o.took = failed, s.now().Since(asked.Begun)
	if failed == nil {
		s.take(&asked, answer, &o)
	}
	if pause, o.dropped = s.settle(underWay, &o); !o.dropped {
		s.report(&o)
	}
	return pause
}

// start notes that a request is under way, and returns how long it may wait for
// news: not at all after a failure, or if callers wait for it.
func (s *Source) start(ctx context.Context, known *Knowledge) (context.Context, *request, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := known.Wait(time.Duration(s.demand.Load()), s.fetcher.timeout)
	if s.failures > 0 || s.hasty {
		wait = 0
	}
	ctx, cancel := context.WithTimeout(ctx, wait+answerTimeout)
	s.request = &request{cancel: cancel, waits: wait > 0}
	s.hasty, s.askedAt = false, time.Now()
	select {
	case <-s.hurry: // too late: the pause was over
	default:
	}
	return ctx, s.request, wait
}

// take takes an answer.
func (s *Source) take(asked *Request, answer *Answer, o *outcome) {
	var before int
	var verdict Verdict
	o.known, verdict = s.change(func(k *Knowledge) (*Knowledge, Verdict) {
		before = k.Revision()
		return k.Take(asked, answer, s.issuer, s.now())
	})
	o.news = o.known.Revision() != before
	switch {
	case verdict != Taken:
		o.failed = &fetchError{class: string(verdict)}
	case !o.known.Fresh(s.now(), s.maxAge):
		o.failed = &fetchError{class: classOld}
	}
}

// settle puts an outcome in place and wakes those who wait for it. It returns how
// long to pause, and whether there is no outcome.
func (s *Source) settle(r *request, o *outcome) (pause time.Duration, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.broadcast()
	s.request = nil
	o.failures = s.failures
	switch {
	case s.closed, o.failed != nil && r.interrupted:
		return 0, true
	case o.failed == nil:
		o.ended, s.outage, s.reported = s.reported, false, false
		s.failures, s.failure, s.lastError = 0, nil, ""
		pause = max(spread(o.known.Pause(time.Duration(s.demand.Load()))), minPause)
	case o.failed.class == string(FromZero):
		return 0, false
	default:
		// A proxy on the way may not let a request wait: that is no outage as long
		// as the next one, which does not, is answered.
		s.outage = s.outage || !r.waits || s.failures > 0
		o.began = s.outage && !s.reported
		s.reported = s.outage
		s.failure, s.lastError = s.unavailable(o.failed), o.failed.class
		if o.failed.refused() {
			s.refused[o.failed.class]++
		}
		pause = retryAfter(s.failures, o.known.Retry(time.Duration(s.demand.Load())))
		s.failures++
	}
	s.completed++
	return pause, false
}

// unavailable is what callers get after a failed request.
func (s *Source) unavailable(err *fetchError) error {
	return fmt.Errorf("%w: asking %s: %s", ErrUnavailable, s.fetcher.url, err.Error())
}

// retryAfter returns how long to wait after a failure that others came before, and
// little more than most unless that is 0. It spreads retries, so that the consumers
// of an issuer that comes back do not ask it all at once.
func retryAfter(before int, most time.Duration) time.Duration {
	if before == 0 {
		return mathrand.N(firstRetry) //nolint:gosec // jitter needs no secrecy
	}
	wait := maxRetry
	if doublings := before - 1; doublings < 5 {
		wait = min(minRetry<<doublings, maxRetry)
	}
	if most > 0 {
		wait = max(min(wait, most), minRetry)
	}
	return wait + mathrand.N(wait/5) //nolint:gosec // the same
}

// spread shortens a pause by a fifth at most.
func spread(pause time.Duration) time.Duration {
	return pause - mathrand.N(pause/5+1) //nolint:gosec // jitter needs no secrecy
}

// rest puts a source to rest that is not used, and reports so.
func (s *Source) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.used.Swap(false) || s.waiting > 0 {
		s.usedAt = now
	}
	if now.Sub(s.usedAt) < idleAfter {
		return false
	}
	// Whether the issuer answers is not known any more: the next caller waits.
	s.stop, s.failures, s.outage = nil, 0, false
	return true
}

// report logs and passes on an outcome. The log has one line when an outage begins
// and one when it ends.
func (s *Source) report(o *outcome) {
	if o.news && s.onNews != nil {
		s.onNews()
	}
	switch {
	case o.began:
		attrs := []any{slog.String("url", s.fetcher.url), slog.String("error", o.failed.class)}
		if o.failed.status != 0 {
			attrs = append(attrs, slog.Int("status", o.failed.status))
		}
		if o.failed.class == classNotFound {
			attrs = append(attrs, slog.String("hint", "the issuer does not serve it: upgrade the issuer first"))
		}
		s.logger.Warn("cannot follow the issuer's feed of revocations", attrs...)
	case o.ended:
		s.logger.Info("following the issuer's feed of revocations again", slog.Int("failures", o.failures))
	}
	if s.onAnswer != nil {
		event := Event{Result: string(Taken), Age: s.age(o.known), Entries: o.known.Entries(), Duration: o.took}
		if o.failed != nil {
			event.Result = o.failed.class
		}
		s.onAnswer(event)
	}
	if o.failed == nil {
		s.saveSnapshot(o.known)
	}
}

// age returns how old knowledge is, 0 if it is not complete as of any time.
func (s *Source) age(k *Knowledge) time.Duration {
	age, ok := k.Age(s.now())
	if !ok {
		return 0
	}
	return age
}
