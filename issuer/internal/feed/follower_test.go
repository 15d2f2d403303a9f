package feed_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

var errAway = errors.New("the log is away")

// What is ended counts here when the call returns, and at the other replicas within
// a second.
func TestEndedEverywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		here, there := follow(t, store), follow(t, store)
		synctest.Wait()
		one := session(uuid.NewString())
		wantEnded(t, here, one, false)
		end(t, here, revocations.Session, one.ID)
		wantEnded(t, here, one, true)
		if got := ask(t, here, "", 0).Revoked; len(got) != 1 {
			t.Errorf("the feed has %v, want the session at once", got)
		}
		time.Sleep(time.Second)
		wantEnded(t, there, one, true)
		if got := ask(t, there, "", 0).Revoked; len(got) != 1 {
			t.Errorf("the other feed has %v after a second", got)
		}
		wantEnded(t, there, session(uuid.NewString()), false)
	})
}

// Each scope ends what it names, in its organization, and only what was issued
// before.
func TestScopes(t *testing.T) {
	for scope, id := range map[revocations.Scope]string{
		revocations.Customer: customer, revocations.Member: member, revocations.APIKey: client, revocations.Organization: "",
	} {
		t.Run(string(scope), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := follow(t, newLog())
				synctest.Wait()
				old := session(uuid.NewString())
				now := time.Now()
				before := end(t, f, scope, id)
				if margin := before.Sub(now); margin < 2*time.Second || margin > 3*time.Second {
					t.Errorf("issued_before is %v from now, want 2 to 3 seconds", margin)
				}
				wantEnded(t, f, old, true)
				foreign := *old
				foreign.OrganizationID = other.String()
				wantEnded(t, f, &foreign, false)
				if got := f.IssuedBefore(old); !f.Recent(old.IssuedAt) || !got.Equal(before) {
					t.Errorf("a new session has to wait until %v, want %v", got, before)
				}
				late := *old
				late.IssuedAt = before.Add(-time.Second)
				wantEnded(t, f, &late, true)
				late.IssuedAt = before
				wantEnded(t, f, &late, false)
				if got := f.IssuedBefore(&late); f.Recent(before) || !got.IsZero() {
					t.Errorf("a session issued at issued_before has to wait until %v", got)
				}
				another := &feed.Session{OrganizationID: organization.String(), ID: uuid.NewString(), CustomerID: uuid.NewString(), ClientID: "another0", IssuedAt: old.IssuedAt}
				wantEnded(t, f, another, scope == revocations.Organization)
			})
		})
	}
}

// What is known may be used until it is too old; consumers are sent elsewhere in
// good time. It is good again after one read.
func TestLogAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		store.set(func(l *log) { l.err = errAway })
		f := follow(t, store)
		synctest.Wait()
		one := session(uuid.NewString())
		if _, err := f.Ends(one); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("before the first read: got %v, want ErrUnavailable", err)
		}
		if _, err := f.Answer(&feed.Query{}); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("the feed before the first read: got %v, want ErrUnavailable", err)
		}
		store.set(func(l *log) { l.err = nil })
		time.Sleep(time.Second)
		wantEnded(t, f, one, false)

		store.set(func(l *log) { l.err = errAway })
		time.Sleep(maxAge/2 - time.Second)
		if a, err := f.Answer(&feed.Query{}); err != nil || a.Age() < maxAge/2-2*time.Second {
			t.Errorf("an answer that is nearly too old: age %v, %v", a.Age(), err)
		}
		time.Sleep(2 * time.Second)
		if _, err := f.Answer(&feed.Query{}); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("the feed at half of the maximum age: got %v, want ErrUnavailable", err)
		}
		wantEnded(t, f, one, false)
		if s := f.Status(); !errors.Is(s.Failure, errAway) || time.Since(s.Failing) < maxAge/2-time.Second {
			t.Errorf("got status %+v", s)
		}
		time.Sleep(maxAge / 2)
		if _, err := f.Ends(one); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("after the maximum age: got %v, want ErrUnavailable", err)
		}
		store.set(func(l *log) { l.err = nil })
		time.Sleep(time.Second)
		wantEnded(t, f, one, false)
		if s := f.Status(); s.Failure != nil || s.Age > time.Second {
			t.Errorf("got status %+v", s)
		}
	})
}

// What is known is as old as the read that found it was when it began: what is
// appended meanwhile is not in it.
func TestAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		store.set(func(l *log) { l.late = 3 * time.Second })
		f := follow(t, store)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		a, err := f.Answer(&feed.Query{})
		if err != nil || a.Age() != 3*time.Second || f.Status().Age != 3*time.Second {
			t.Errorf("the age is %v and %v, want 3s: %v", a.Age(), f.Status().Age, err)
		}
	})
}

// A log that lost entries does not revive what they ended, here or at consumers.
func TestAnotherLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := follow(t, store)
		synctest.Wait()
		lost, both, fresh := session(uuid.NewString()), session(uuid.NewString()), session(uuid.NewString())
		end(t, f, revocations.Session, lost.ID)
		end(t, f, revocations.Session, both.ID)
		first := ask(t, f, "", 0)

		restored := revocations.NewMemory()
		for _, id := range []string{both.ID, fresh.ID} {
			if _, err := restored.Append(t.Context(), revocations.Entry{Scope: revocations.Session, OrganizationID: organization, ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		store.set(func(l *log) { l.memory = restored })
		time.Sleep(time.Second)
		for _, s := range []*feed.Session{lost, both, fresh} {
			wantEnded(t, f, s, true)
		}
		answer := ask(t, f, first.Log, first.Seq)
		if answer.Log == first.Log || answer.After != 0 || len(answer.Revoked) != 3 {
			t.Errorf("a consumer of the former log gets %+v, want all three", answer)
		}
		if got := ask(t, f, answer.Log, answer.Seq); len(got.Revoked) != 0 {
			t.Errorf("a consumer that has heard all gets %v", got.Revoked)
		}
		next := session(uuid.NewString())
		end(t, f, revocations.Session, next.ID)
		if got := ask(t, f, answer.Log, answer.Seq); len(got.Revoked) != 1 || got.Revoked[0].ID != wire.NewRevocationID(wire.RevokeSession, organization.String(), next.ID) {
			t.Errorf("the delta after that is %+v", got)
		}
	})
}

// Entries are forgotten when no session that they end can be accepted any more.
func TestDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, newLog())
		synctest.Wait()
		end(t, f, revocations.Customer, customer)
		seq := ask(t, f, "", 0).Seq
		time.Sleep(revocations.Retention)
		if got := f.Status().Entries; got != 1 {
			t.Errorf("%d entries before drop_at, want 1", got)
		}
		time.Sleep(time.Minute)
		if got := f.Status().Entries; got != 0 {
			t.Errorf("%d entries after drop_at, want none", got)
		}
		if got := ask(t, f, "", 0); got.Seq != seq || len(got.Revoked) != 0 {
			t.Errorf("got %+v, want no entries and the same seq", got)
		}
	})
}

// The keys that are revoked are those of the manifest and those of the log.
func TestRevokedKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLog()
		f := feed.New(feed.Config{Log: store, MaxAge: maxAge, RevokedKeys: func() []string { return []string{"b", "c"} }})
		go f.Run(t.Context())
		synctest.Wait()
		for _, e := range []revocations.Entry{
			{Scope: revocations.SigningKey, ID: "a"}, {Scope: revocations.SigningKey, ID: "b"}, {Scope: revocations.Manifest, ID: "7"},
		} {
			if _, err := store.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if got := ask(t, f, "", 0).RevokedKeys; len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "c" {
			t.Errorf("got keys %v, want a, b and c", got)
		}
		if !f.RevokedKey("a") || f.RevokedKey("c") || f.Status().Manifest != 7 {
			t.Errorf("the log knows a: %v, c: %v, manifest %d", f.RevokedKey("a"), f.RevokedKey("c"), f.Status().Manifest)
		}
	})
}
