package pkcs11_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/pkcs11"
)

// opened is a device with a signer for its only key.
type opened struct {
	*fake
	device *pkcs11.Device
	signer keys.Signer
	public *jwk.Key
}

func openOne(t testing.TB, sessions int) *opened {
	t.Helper()
	private, _ := pair(t, jwk.ES256, "a", "\x01")
	f := newFake(private)
	d := open(t, f, sessions)
	s, err := d.Open("pkcs11:object=a", private.public(t))
	must(t, err)
	return &opened{f, d, s, private.public(t)}
}

// fails has the named call return the code, as often as given.
func (f *fake) fails(name string, code uint, times int) {
	f.set(func() {
		f.before = func(call string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if call != name || times == 0 {
				return nil
			}
			times--
			return &pkcs11.CallError{Call: call, Code: code}
		}
	})
}

func TestHealsEveryWayOfBeingLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(f *fake){
		"sessions closed":      func(f *fake) { f.set(func() { clear(f.sessions); f.loggedIn = false }) },
		"one session closed":   func(f *fake) { f.set(func() { clear(f.sessions) }) },
		"logged out":           func(f *fake) { f.set(func() { f.loggedIn = false }) },
		"library finalized":    func(f *fake) { must(t, f.Finalize()) },
		"keys in new handles":  func(f *fake) { f.renumber(t) },
		"CKR_GENERAL_ERROR":    func(f *fake) { f.fails("C_Sign", 0x5, 1) },
		"CKR_HOST_MEMORY":      func(f *fake) { f.fails("C_Sign", 0x2, 1) },
		"CKR_DEVICE_ERROR":     func(f *fake) { f.fails("C_Sign", 0x30, 1) },
		"CKR_DEVICE_REMOVED":   func(f *fake) { f.fails("C_Sign", 0x32, 1) },
		"CKR_OBJECT_HANDLE":    func(f *fake) { f.fails("C_Sign", 0x82, 1) },
		"CKR_OPERATION_ACTIVE": func(f *fake) { f.fails("C_Sign", 0x90, 1) },
		"CKR_SESSION_CLOSED":   func(f *fake) { f.fails("C_Sign", 0xB0, 1) },
		"CKR_TOKEN_NOT":        func(f *fake) { f.fails("C_Sign", 0xE0, 1) },
		"a vendor's own":       func(f *fake) { f.fails("C_Sign", 0x80000123, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := openOne(t, 2)
			lose(o.fake)
			mustSign(t, o.signer, o.public)
			mustSign(t, o.signer, o.public)
			must(t, o.device.Close())
		})
	}
}

// renumber gives the key another handle, and its old one to another key, as
// when a token was restored.
func (f *fake) renumber(t *testing.T) {
	t.Helper()
	other, _ := pair(t, jwk.ES256, "other", "\x09")
	f.set(func() { f.objects[1000], f.objects[1] = f.objects[1], other })
}

// TestLooksUpAgainAfterLogout: a key that is not known in this connection, when the
// user was logged out since.
func TestLooksUpAgainAfterLogout(t *testing.T) {
	t.Parallel()
	o := openOne(t, 1)
	o.set(func() { o.loggedIn = false })
	s, err := o.device.Open("pkcs11:id=%01", o.public)
	must(t, err)
	mustSign(t, s, o.public)
	must(t, o.device.Close())
}

func TestAsksOnceForWhatCannotBe(t *testing.T) {
	t.Parallel()
	for code, name := range map[uint]string{
		0x68: "CKR_KEY_FUNCTION_NOT_PERMITTED",
		0x70: "CKR_MECHANISM_INVALID",
		0x21: "CKR_DATA_LEN_RANGE",
	} {
		o := openOne(t, 1)
		before := o.count("C_Sign")
		o.fails("C_Sign", code, -1)
		_, err := o.signer.Sign(t.Context(), input)
		mustFail(t, err, name)
		if got := o.count("C_Sign") - before; got != 1 {
			t.Errorf("%s: got %d attempts, want 1", name, got)
		}
		must(t, o.device.Close())
	}
}

func TestWrongSignatureIsNotHandedOut(t *testing.T) {
	t.Parallel()
	o := openOne(t, 1)
	other, _ := pair(t, jwk.ES256, "a", "\x01")
	o.set(func() { o.objects[1] = other })
	signature, err := o.signer.Sign(t.Context(), input)
	mustFail(t, err, "does not verify")
	if signature != nil {
		t.Error("got a signature with the error")
	}
	must(t, o.device.Close())
}

// TestLostDevice: each call is an error while the device is away, and it is
// asked at most once in a while.
func TestLostDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := openOne(t, 4)
		o.set(func() {
			clear(o.sessions)
			o.before = func(call string) error { return &pkcs11.CallError{Call: call, Code: 0x32} }
		})
		// It is found lost by the one, and then tried with the other.
		asks := func() int { return o.count("C_GetInfo") + o.count("C_Initialize") }
		asked := asks()
		const seconds = 10
		for range seconds {
			var group sync.WaitGroup
			for range 100 {
				group.Go(func() {
					_, err := o.signer.Sign(t.Context(), input)
					mustFail(t, err, "CKR_DEVICE_REMOVED")
				})
			}
			group.Wait()
			time.Sleep(pkcs11.RestTime)
		}
		if got := asks() - asked; got != seconds {
			t.Errorf("got %d attempts to connect in %d seconds of 100 requests each, want %d", got, seconds, seconds)
		}
		o.set(func() { o.before = func(string) error { return nil } })
		mustSign(t, o.signer, o.public)
		must(t, o.device.Close())
	})
}

// TestSickDevice answers, and fails at every signature.
func TestSickDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := openOne(t, 4)
		before := o.count("C_Sign")
		o.fails("C_Sign", 0x30, -1)
		for range 100 {
			_, err := o.signer.Sign(t.Context(), input)
			mustFail(t, err, "CKR_DEVICE_ERROR")
		}
		if got := o.count("C_Sign") - before; got != 2 {
			t.Errorf("got %d signatures asked for within a second, want 2", got)
		}
		o.fails("", 0, 0)
		time.Sleep(pkcs11.RestTime)
		mustSign(t, o.signer, o.public)
		must(t, o.device.Close())
	})
}

// TestReconnectsOnce: all calls that find the device lost at the same time share one
// new connection.
func TestReconnectsOnce(t *testing.T) {
	t.Parallel()
	o := openOne(t, 8)
	for round := range 20 {
		o.set(func() { clear(o.sessions); o.loggedIn = false })
		logins, connections := o.count("C_Login"), o.count("C_GetInfo")
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { mustSign(t, o.signer, o.public) })
		}
		group.Wait()
		// A call that finds out a moment earlier may have logged in over the
		// old connection, which ends that login when it is dropped.
		if got := o.count("C_Login") - logins; got < 1 || got > 2 {
			t.Errorf("round %d: got %d logins, want 1, or 2", round, got)
		}
		if got := o.count("C_GetInfo") - connections; got != 1 {
			t.Errorf("round %d: got %d new connections, want 1", round, got)
		}
	}
	must(t, o.device.Close())
	if o.most > 8 {
		t.Errorf("got %d sessions at once, want at most 8", o.most)
	}
}

func TestKeyRemovedFromDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := openOne(t, 2)
		mustSign(t, o.signer, o.public)
		var key *object
		o.set(func() { key = o.objects[1]; delete(o.objects, 1) })
		for range 100 {
			_, err := o.signer.Sign(t.Context(), input)
			mustFail(t, err, "the private key is no longer in the token")
		}
		if got := o.count("C_Login"); got != 2 {
			t.Errorf("got %d logins within a second, want 2", got)
		}
		o.set(func() { o.add(key) })
		time.Sleep(pkcs11.RestTime)
		mustSign(t, o.signer, o.public)
		must(t, o.device.Close())
	})
}

// TestRestartsLibrary: as a last resort, if no call is in it and it is ours.
func TestRestartsLibrary(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		somebodyElses, another, hanging bool
		want                            int
	}{
		"it is ours":            {want: 2},
		"it is somebody else's": {somebodyElses: true},
		"another token works":   {another: true},
		"somebody is in it":     {hanging: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				private, _ := pair(t, jwk.ES256, "a", "\x01")
				f := newFake(private)
				f.initialized = c.somebodyElses
				d := open(t, f, 4)
				s, err := d.Open("pkcs11:object=a", private.public(t))
				must(t, err)
				if c.another {
					_, err := d.Open("pkcs11:serial=1;object=a", private.public(t))
					must(t, err)
				}
				answer := make(chan struct{})
				if c.hanging {
					f.set(func() { f.before = func(string) error { <-answer; return nil } })
					go func() { _, _ = s.Sign(t.Context(), input) }()
					synctest.Wait()
				}
				// The first failure is met with a new connection alone.
				f.fails("C_Sign", 0x30, -1)
				for range 2 {
					_, err = s.Sign(t.Context(), input)
					mustFail(t, err, "CKR_DEVICE_ERROR")
					time.Sleep(pkcs11.RestTime)
				}
				if got := f.count("C_Finalize"); got != c.want {
					t.Errorf("got %d times C_Finalize, want %d", got, c.want)
				}
				close(answer)
				f.fails("", 0, 0)
				mustSign(t, s, private.public(t))
				must(t, d.Close())
			})
		})
	}
}

// TestFewSessions: the token allows fewer than there are requests.
func TestFewSessions(t *testing.T) {
	t.Parallel()
	o := openOne(t, 8)
	o.set(func() { o.maxSessions = 2 })
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() { mustSign(t, o.signer, o.public) })
	}
	group.Wait()
	if o.most > 2 || o.count("C_Login") != 1 {
		t.Errorf("got %d sessions and %d logins, want 2 and 1", o.most, o.count("C_Login"))
	}
	must(t, o.device.Close())
}

// script gives the next signatures these results, one after the other, and those
// after them well.
func (f *fake) script(steps ...func() error) {
	f.set(func() {
		f.before = func(call string) error {
			if call != "C_Sign" {
				return nil
			}
			step := func() error { return nil }
			f.set(func() {
				if len(steps) > 0 {
					step, steps = steps[0], steps[1:]
				}
			})
			return step()
		}
	})
}

func deviceError() error { return &pkcs11.CallError{Call: "C_Sign", Code: 0x30} }

// TestLostWhileOthersSign: what comes back late over an old connection neither
// ends the new one nor leaves its session behind.
func TestLostWhileOthersSign(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func() error{
		"late and well": func() error { return nil },
		"late and lost": deviceError,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				private, _ := pair(t, jwk.ES256, "a", "\x01")
				f := newFake(private)
				f.initialized = true // so that closing the device leaves sessions alone
				d := open(t, f, 2)
				s, err := d.Open("pkcs11:object=a", private.public(t))
				must(t, err)
				release := make(chan struct{})
				f.script(func() error { <-release; return late() }, deviceError)
				var group sync.WaitGroup
				group.Go(func() { mustSign(t, s, private.public(t)) })
				synctest.Wait()
				mustSign(t, s, private.public(t))
				close(release)
				group.Wait()
				mustSign(t, s, private.public(t))
				if got := f.count("C_GetInfo"); got != 2 {
					t.Errorf("got %d connections, want the first and one more", got)
				}
				must(t, d.Close())
				if len(f.sessions) != 0 {
					t.Errorf("got %d sessions left, want none", len(f.sessions))
				}
			})
		})
	}
}

// TestLostWhileOthersWait: a call that waits for a session of a lost connection
// gets one of the next.
func TestLostWhileOthersWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := openOne(t, 2)
		o.set(func() { o.maxSessions = 1 })
		release := make(chan struct{})
		o.script(func() error { <-release; return deviceError() })
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { mustSign(t, o.signer, o.public) })
		}
		synctest.Wait()
		close(release)
		group.Wait()
		must(t, o.device.Close())
	})
}

// TestHangingDevice: callers leave when their time is up; as many goroutines
// stay behind as there are sessions, and none once the device answers.
func TestHangingDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sessions, requests = 3, 50
		o := openOne(t, sessions)
		answer := make(chan struct{})
		var stuck, most int
		o.set(func() {
			o.before = func(call string) error {
				o.set(func() { stuck++; most = max(most, stuck) })
				<-answer
				o.set(func() { stuck-- })
				return nil
			}
		})
		start := time.Now()
		var group sync.WaitGroup
		for range requests {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_, err := o.signer.Sign(ctx, input)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the deadline", err)
				}
			})
		}
		group.Wait()
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("callers waited %v, want 3s", got)
		}
		o.set(func() {
			if most != sessions {
				t.Errorf("got %d calls at once, want %d", most, sessions)
			}
		})
		mustFail(t, o.device.Close(), "does not answer")
		if o.unloaded {
			t.Error("the library was unloaded with calls in it")
		}
		if got := time.Since(start); got != 3*time.Second+pkcs11.CloseTimeout {
			t.Errorf("closing waited until %v", got)
		}
		close(answer)
		// The bubble ends only when all goroutines have.
	})
}

// TestHangsOnce: sessions of calls that came back late are used again.
func TestHangsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := openOne(t, 2)
		o.set(func() {
			o.before = func(string) error { time.Sleep(time.Minute); return nil }
		})
		for range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := o.signer.Sign(ctx, input)
			cancel()
			mustFail(t, err, "waiting for the device")
		}
		time.Sleep(10 * time.Minute)
		o.set(func() { o.before = func(string) error { return nil } })
		for range 10 {
			mustSign(t, o.signer, o.public)
		}
		if o.most > 2 {
			t.Errorf("got %d sessions at once, want at most 2", o.most)
		}
		must(t, o.device.Close())
		if len(o.sessions) != 0 {
			t.Errorf("got %d sessions left, want none", len(o.sessions))
		}
	})
}

// TestHangsWhileOpening takes no longer than a manifest may take to load.
func TestHangsWhileOpening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := openOne(t, 2)
		answer := make(chan struct{})
		o.set(func() { o.before = func(string) error { <-answer; return nil } })
		start := time.Now()
		_, err := o.device.Open("pkcs11:serial=1;object=a", o.public)
		mustFail(t, err, "waiting for the device")
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("opening took %v, want 10s", got)
		}
		close(answer)
		synctest.Wait()
		must(t, o.device.Close())
	})
}

// TestCloseWhileSigning: every call gets an answer.
func TestCloseWhileSigning(t *testing.T) {
	t.Parallel()
	o := openOne(t, 4)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := 0; ; n++ {
				_, err := o.signer.Sign(t.Context(), fmt.Append(nil, i, n))
				if err != nil {
					mustFail(t, err, "the device is closed")
					return
				}
			}
		})
	}
	must(t, o.device.Close())
	group.Wait()
	if len(o.sessions) != 0 || !o.unloaded {
		t.Errorf("got %d sessions left, unloaded %t", len(o.sessions), o.unloaded)
	}
}
