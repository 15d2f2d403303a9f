package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/customersession/customersession/deploy/rehearsal/tally"
)

// checkouts is how many clients create sessions. Each keeps connections of its
// own, so that together they reach every replica: the Service picks one for a
// connection, not for a request.
const checkouts = 8

// A world is everybody who uses the installation.
type world struct {
	tally       *tally.Tally
	revocations tally.Revocations
	logger      *slog.Logger
	wait        sync.WaitGroup
}

// start sets everybody going, until ctx ends.
func (w *world) start(ctx context.Context, s settings, apiKey string) error {
	var consumers []*consumer
	for _, name := range []string{"account", "downloads"} {
		c, err := w.newConsumer(name, s)
		if err != nil {
			return err
		}
		consumers = append(consumers, c)
		w.wait.Go(func() { w.steadily(ctx, 4*s.rate, c.verifyOne) })
		w.wait.Go(func() { <-ctx.Done(); c.verifier.Close() })
	}
	var clients []*checkout
	for range checkouts {
		clients = append(clients, &checkout{
			url: fmt.Sprintf("http://%s/v1/customer-sessions/", s.target), apiKey: apiKey, customer: s.customer,
			client: &http.Client{Transport: transport(s.target), Timeout: 5 * time.Second},
		})
	}
	seen := &sightings{logger: w.logger}
	turn := 0
	w.wait.Go(func() {
		w.steadily(ctx, s.rate, func(ctx context.Context) {
			client := clients[turn%len(clients)]
			turn++
			w.wait.Go(func() { w.create(context.WithoutCancel(ctx), client, seen, consumers) })
		})
	})
	return nil
}

// steadily calls do so many times a second, until ctx ends.
func (w *world) steadily(ctx context.Context, rate int, do func(context.Context)) {
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(ctx)
		}
	}
}

// create lets a checkout create a session, and hands it to the consumers.
func (w *world) create(ctx context.Context, client *checkout, seen *sightings, consumers []*consumer) {
	act := w.tally.Act()
	begin := time.Now()
	made, outcome, attempts, err := client.create(ctx)
	act.Create(outcome, attempts, time.Since(begin))
	if err != nil {
		w.logger.Warn("trying again", slog.Int("attempts", attempts), slog.Bool("created", outcome == tally.Created),
			slog.Any("error", err))
	}
	if outcome != tally.Created {
		return
	}
	seen.see(made.keyID)
	for _, c := range consumers {
		c.meet(ctx, made)
	}
}

// transport sends every request to target, whatever its URL says. It stands for
// the TLS proxy and the name service that a real consumer has in between.
func transport(target string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, target)
		},
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     30 * time.Second,
	}
}

// sightings logs each key the first time that a session is signed with it.
type sightings struct {
	logger *slog.Logger
	known  sync.Map
}

func (s *sightings) see(keyID string) {
	if _, known := s.known.LoadOrStore(keyID, true); !known {
		s.logger.Info("another key signs", slog.String("kid", keyID))
	}
}
