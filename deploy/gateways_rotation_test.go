package deploy_test

import (
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

// gatewayTraffic is how many requests a rotation waits for after each step.
const gatewayTraffic = 50

// A rotating is something that verifies tokens while keys come and go.
type rotating struct {
	issuer  *verifytest.Issuer
	verdict func(token string) string
	// learn makes it fetch the issuer's keys, as time would.
	learn func(t *testing.T)
}

// waitFor waits for a verdict that comes when something has started, has been
// reloaded or has fetched keys.
func (r rotating) waitFor(t *testing.T, want, token string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(runbookLimit); ; <-again.C {
		got := r.verdict(token)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// A traffic is customers with good tokens who come all the time.
type traffic struct {
	rotating

	stop chan struct{}
	done sync.WaitGroup

	mu sync.Mutex
	// old are tokens from before the rotation, which are good until their key
	// is removed.
	old []string
	// came counts requests, and wrong those that were not let through.
	came  int
	wrong map[string]int
}

// startTraffic lets two customers come until end is called.
func startTraffic(r rotating) *traffic {
	c := &traffic{rotating: r, stop: make(chan struct{}), wrong: map[string]int{}}
	for range 10 {
		c.old = append(c.old, r.issuer.Token(verifytest.TokenSpec{}))
	}
	for range 2 {
		c.done.Go(c.come)
	}
	return c
}

func (c *traffic) come() {
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return
		default:
		}
		got := c.verdict(c.token(n))
		c.mu.Lock()
		c.came++
		if got != accepted {
			c.wrong[got]++
		}
		c.mu.Unlock()
	}
}

// token is a new one and one from before by turns, as long as there are any.
func (c *traffic) token(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n%2 == 0 && len(c.old) > 0 {
		return c.old[n/2%len(c.old)]
	}
	return c.issuer.Token(verifytest.TokenSpec{})
}

// count returns how many have come.
func (c *traffic) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.came
}

// wait waits until some more have come.
func (c *traffic) wait(t *testing.T) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	until := c.count() + gatewayTraffic
	for deadline := time.Now().Add(runbookLimit); c.count() < until; <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d requests had an answer in %s", c.count(), until, runbookLimit)
		}
	}
}

// forget ends the sessions from before the rotation, and waits for the last
// request with one of them.
func (c *traffic) forget(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	c.old = nil
	c.mu.Unlock()
	c.wait(t)
}

// end returns how many came, and what became of those that were not let in.
func (c *traffic) end() (came int, wrong map[string]int) {
	close(c.stop)
	c.done.Wait()
	return c.came, c.wrong
}

// check takes it, under load, through the life of a key, as the schedule of the
// issuer has it: the new key is published, everybody has fetched the keys
// before it signs, and the old one goes when its last session has ended.
func (r rotating) check(t *testing.T) {
	t.Helper()
	old := r.issuer.KeyID()
	customers := startTraffic(r)
	customers.wait(t)
	next := r.issuer.Publish(jwk.ES256)
	customers.wait(t)
	r.learn(t)
	r.waitFor(t, accepted, r.issuer.Token(verifytest.TokenSpec{KeyID: next}))
	r.issuer.Activate(next)
	customers.wait(t)
	customers.forget(t)
	r.issuer.Remove(old)
	r.learn(t)
	r.waitFor(t, refused, r.issuer.Token(verifytest.TokenSpec{KeyID: old}))
	customers.wait(t)
	came, wrong := customers.end()
	if len(wrong) > 0 {
		t.Errorf("of %d good tokens some were not accepted: %v", came, wrong)
	}
	t.Logf("%d requests", came)
}
