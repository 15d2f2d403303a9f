package feed_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/revocations"
)

// What is dead already is not written again, and that is a success.
func TestRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		id := uuid.NewString()
		end(t, f, revocations.Session, id)
		end(t, f, revocations.Session, id)
		first := end(t, f, revocations.Customer, customer)
		if again := end(t, f, revocations.Customer, customer); !again.Equal(first) {
			t.Errorf("ended again: issued before %v, want %v", again, first)
		}
		if store.writes != 2 {
			t.Errorf("%d entries were written, want 2", store.writes)
		}
		// A new entry would end more now, such as sessions of a replica whose clock
		// is ahead.
		time.Sleep(time.Until(first.Add(-2*time.Second + time.Millisecond)))
		if again := end(t, f, revocations.Customer, customer); !again.After(first) {
			t.Errorf("ended less than two seconds before issued_before: got %v, want a later one than %v", again, first)
		}
	})
}

// An organization that ends everything again and again takes one place, here and at
// each consumer, and the last time counts.
func TestAgainAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		kept := uuid.NewString()
		end(t, f, revocations.Session, kept)
		var last time.Time
		for range 500 {
			time.Sleep(2 * time.Second)
			last = end(t, f, revocations.Organization, "")
		}
		if store.writes < 500 {
			t.Fatalf("%d entries were written: the test shows nothing", store.writes)
		}
		if n := f.Status().Entries; n > 10 {
			t.Errorf("%d entries are in force, want no more than those of the last ten seconds", n)
		}
		answer := ask(t, f, "", 0)
		if n := len(answer.Revoked); n > 10 || answer.Revoked[n-1].IssuedBefore != last.Unix() {
			t.Errorf("a complete answer has %d entries, the last one until %d, want %d", n, answer.Revoked[n-1].IssuedBefore, last.Unix())
		}
		wantEnded(t, f, session(kept), true)
		time.Sleep(time.Until(last))
		wantEnded(t, f, session(uuid.NewString()), false)
	})
}

// An organization has its limits. The wider a scope is, the longer it works, and
// ending everything always does. Others notice nothing.
func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		fill(t, store, organization, 9_999)
		f := follow(t, store)
		synctest.Wait()
		end(t, f, revocations.Session, uuid.NewString())
		refused := func(scope revocations.Scope, id string) {
			t.Helper()
			_, err := f.End(t.Context(), revocations.Entry{Scope: scope, OrganizationID: organization, ID: id})
			if !errors.Is(err, feed.ErrTooMany) {
				t.Errorf("ending a %s: got %v, want ErrTooMany", scope, err)
			}
		}
		refused(revocations.Session, uuid.NewString())
		end(t, f, revocations.Customer, customer)
		fill(t, store, organization, 999)
		time.Sleep(time.Second)
		refused(revocations.Customer, member)
		end(t, f, revocations.Organization, "")
		if _, err := f.End(t.Context(), revocations.Entry{Scope: revocations.Session, OrganizationID: other, ID: uuid.NewString()}); err != nil {
			t.Errorf("another organization: %v", err)
		}
	})
}

// In all, 100,000 entries are in force at most.
func TestLimitInAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		for range 10 {
			fill(t, store, uuid.New(), 10_000)
		}
		f := follow(t, store)
		synctest.Wait()
		for _, scope := range []revocations.Scope{revocations.Session, revocations.Customer} {
			_, err := f.End(t.Context(), revocations.Entry{Scope: scope, OrganizationID: organization, ID: customer})
			if !errors.Is(err, feed.ErrTooMany) {
				t.Errorf("ending a %s: got %v, want ErrTooMany", scope, err)
			}
		}
		end(t, f, revocations.Organization, "")
	})
}

// While the log is slow, no organization takes it from the others.
func TestSlowLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		store.set(func(l *log) { l.slow = time.Second })
		var crowd sync.WaitGroup
		for range 100 {
			crowd.Go(func() {
				_, _ = f.End(t.Context(), revocations.Entry{Scope: revocations.Session, OrganizationID: other, ID: uuid.NewString()})
			})
		}
		synctest.Wait()
		start := time.Now()
		end(t, f, revocations.Session, uuid.NewString())
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the other organization waited %v", took)
		}
		crowd.Wait()
	})
}

// A log that does not answer makes the outcome unknown, and nobody waits for long.
func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		for name, change := range map[string]func(*log){
			"away": func(l *log) { l.err = errAway }, "stuck": func(l *log) { l.err, l.slow = nil, time.Hour },
		} {
			store.set(change)
			start := time.Now()
			_, err := f.End(context.WithoutCancel(t.Context()), revocations.Entry{Scope: revocations.Session, OrganizationID: organization, ID: uuid.NewString()})
			if !errors.Is(err, feed.ErrUnknown) || time.Since(start) > 6*time.Second {
				t.Errorf("%s: got %v after %v", name, err, time.Since(start))
			}
		}
		off := feed.New(feed.Config{MaxAge: maxAge})
		if _, err := off.End(t.Context(), revocations.Entry{Scope: revocations.Session}); !errors.Is(err, feed.ErrOff) {
			t.Errorf("without a log: got %v, want ErrOff", err)
		}
		wantEnded(t, off, session(uuid.NewString()), false)
	})
}

// What a log has lost is written again when it is ended again, although this
// replica remembers it: consumers that follow the new log elsewhere do not.
func TestLostIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"loss noticed": time.Second, "loss not noticed yet": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newLog()
				f := follow(t, store)
				synctest.Wait()
				id := uuid.NewString()
				end(t, f, revocations.Session, id)
				first := end(t, f, revocations.Customer, customer)
				store.set(func(l *log) { l.memory = revocations.NewMemory() })
				time.Sleep(wait)
				end(t, f, revocations.Session, id)
				if again := end(t, f, revocations.Customer, customer); again.Before(first) {
					t.Errorf("ended again: issued before %v, want %v or later", again, first)
				}
				restarted := follow(t, store)
				synctest.Wait()
				late := session(uuid.NewString())
				late.CustomerID = uuid.NewString()
				wantEnded(t, restarted, session(id), true)
				wantEnded(t, restarted, session(uuid.NewString()), true)
				wantEnded(t, restarted, late, false)
				if writes := store.writes; writes != 4 {
					t.Errorf("%d entries were written, want 4", writes)
				}
				end(t, f, revocations.Session, id)
				if store.writes != 4 {
					t.Errorf("what is in the log is written again: %d entries", store.writes)
				}
			})
		})
	}
}

// While the log is away, what was ended before is not confirmed.
func TestRepeatedWithoutLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		id := uuid.NewString()
		end(t, f, revocations.Session, id)
		store.set(func(l *log) { l.err = revocations.ErrUnavailable })
		_, err := f.End(t.Context(), revocations.Entry{Scope: revocations.Session, OrganizationID: organization, ID: id})
		if !errors.Is(err, feed.ErrUnknown) {
			t.Errorf("got %v, want ErrUnknown", err)
		}
	})
}

// What was not ended is not acknowledged: a log whose clock is behind leaves what was
// just issued, and one whose clock is far ahead would keep the next ones away for as
// long.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ahead            time.Duration
		customer, single error
	}{
		"the same":          {},
		"a little behind":   {ahead: -time.Second},
		"behind":            {ahead: -4 * time.Second, customer: feed.ErrClock},
		"minutes behind":    {ahead: -4 * time.Minute, customer: feed.ErrClock},
		"a day behind":      {ahead: -24 * time.Hour, customer: feed.ErrClock, single: feed.ErrClock},
		"a little ahead":    {ahead: 30 * time.Second},
		"minutes ahead":     {ahead: 10 * time.Minute, customer: feed.ErrClock},
		"a long time ahead": {ahead: 365 * 24 * time.Hour, customer: feed.ErrClock},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newLog()
				store.ahead = c.ahead
				f := follow(t, store)
				synctest.Wait()
				s := session(uuid.NewString())
				for range 2 {
					_, err := f.End(t.Context(), revocations.Entry{Scope: revocations.Customer, OrganizationID: organization, ID: customer})
					if !errors.Is(err, c.customer) {
						t.Errorf("a customer: got %v, want %v", err, c.customer)
					}
				}
				if c.customer == nil {
					wantEnded(t, f, s, true)
				}
				for range 2 {
					_, err := f.End(t.Context(), revocations.Entry{Scope: revocations.Session, OrganizationID: organization, ID: s.ID})
					if !errors.Is(err, c.single) {
						t.Errorf("a session: got %v, want %v", err, c.single)
					}
				}
			})
		})
	}
}

// A log that hangs, whatever it is told about time, keeps no caller, is reported as
// away, and does not gather calls.
func TestHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		hang := make(chan struct{})
		store.set(func(l *log) { l.hang = hang })
		start := time.Now()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				_, err := f.End(t.Context(), revocations.Entry{Scope: revocations.Customer, OrganizationID: organization, ID: customer})
				if !errors.Is(err, feed.ErrUnknown) {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("a call took %v", took)
		}
		time.Sleep(time.Minute)
		s := f.Status()
		if s.Failure == nil || s.Age < time.Minute {
			t.Errorf("the log is not away: %v, its age is %v", s.Failure, s.Age)
		}
		store.set(func(l *log) {
			if l.reads > 2 || l.writes > 4 {
				t.Errorf("%d reads and %d appends were begun, want one after the first and those of the places of an organization", l.reads, l.writes)
			}
			l.hang = nil
		})
		close(hang)
		time.Sleep(time.Second)
		if s := f.Status(); s.Failure != nil || s.Age > time.Second {
			t.Errorf("the log is not back: %v, its age is %v", s.Failure, s.Age)
		}
		end(t, f, revocations.Customer, customer)
	})
}
