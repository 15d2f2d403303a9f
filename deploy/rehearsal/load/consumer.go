package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/customersession/customersession/deploy/rehearsal/tally"
	"github.com/customersession/customersession/verify"
)

// A consumer is a service that customers come to with their sessions.
type consumer struct {
	world    *world
	name     string
	verifier *verify.Verifier

	mu       sync.Mutex
	sessions []session
}

func (w *world) newConsumer(name string, s settings) (*consumer, error) {
	verifier, err := verify.New(verify.Config{
		Issuer: s.issuer, Audience: "customer-portal",
		// The transport sends this to the Service. Without TLS, which is not
		// what is rehearsed, it must look like loopback.
		JWKSetURL:  "http://127.0.0.1/.well-known/jwks.json",
		HTTPClient: &http.Client{Transport: transport(s.wellKnown), Timeout: 5 * time.Second},
		Logger:     w.logger.With(slog.String("consumer", name)),
	})
	if err != nil {
		return nil, err
	}
	return &consumer{world: w, name: name, verifier: verifier}, nil
}

// meet verifies a session that was just made, and keeps it.
func (c *consumer) meet(ctx context.Context, made session) {
	c.verify(ctx, made)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = append(c.sessions, made)
}

// verifyOne verifies any of the sessions that are not over.
func (c *consumer) verifyOne(ctx context.Context) {
	if one, ok := c.pick(); ok {
		c.verify(ctx, one)
	}
}

func (c *consumer) pick() (session, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.sessions) > 0 {
		i := rand.IntN(len(c.sessions)) //nolint:gosec // any of them will do
		one := c.sessions[i]
		// One that ends in a second may be over when it gets its turn.
		if time.Until(one.expiresAt) > time.Second {
			return one, true
		}
		c.sessions[i] = c.sessions[len(c.sessions)-1]
		c.sessions = c.sessions[:len(c.sessions)-1]
	}
	return session{}, false
}

func (c *consumer) verify(ctx context.Context, one session) {
	act := c.world.tally.Act()
	begin := time.Now()
	_, err := c.verifier.Verify(ctx, one.token)
	took := time.Since(begin)
	if ctx.Err() != nil {
		return // the rehearsal is over
	}
	verdict := c.world.revocations.Judge(one.keyID, one.expiresAt, begin, err)
	act.Verify(verdict, took)
	if verdict != tally.Right {
		c.world.logger.Warn("a consumer is wrong", slog.String("consumer", c.name), slog.String("kid", one.keyID),
			slog.Time("expires_at", one.expiresAt), slog.Any("error", err))
	}
}
