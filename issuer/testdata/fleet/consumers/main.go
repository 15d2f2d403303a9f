// Command consumers is a number of services that verify sessions, each with a
// verifier of its own that is set up as the README says. A request names the
// services and the tokens to show them, and gets their verdicts.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/customersession/customersession/verify"
)

func main() {
	issuer := flag.String("issuer", "", "`URL` of the issuer")
	count := flag.Int("count", 1, "how many consumers there are")
	spread := flag.Duration("spread", time.Minute, "time in which they start, one after the other")
	flag.Parse()
	if err := run(*issuer, *count, *spread); err != nil {
		fmt.Fprintln(os.Stderr, "consumers:", err)
		os.Exit(1)
	}
}

func run(issuer string, count int, spread time.Duration) error {
	var all consumers
	for range count {
		v, err := start(issuer)
		if err != nil {
			return err
		}
		all = append(all, v)
		time.Sleep(spread / time.Duration(count))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	return http.Serve(listener, all)
}

// start makes a consumer that has its keys.
func start(issuer string) (*verify.Verifier, error) {
	v, err := verify.New(verify.Config{
		Issuer: issuer, Audience: "customer-portal", Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	return v, v.Ready(ctx)
}

type consumers []*verify.Verifier

// A showing is a token and the consumers that are to verify it, by number.
type showing struct {
	Token     string
	Consumers []int
}

// ServeHTTP answers a list of showings with a list of verdicts for each: empty
// when the token was accepted, and else why not.
func (c consumers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var showings []showing
	if err := json.NewDecoder(r.Body).Decode(&showings); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	verdicts := make([][]string, len(showings))
	for i, s := range showings {
		verdicts[i] = make([]string, len(s.Consumers))
	}
	// Each works off its tokens, at the same time as the others.
	var working sync.WaitGroup
	for number := range c {
		working.Go(func() { c.verify(number, showings, verdicts) })
	}
	working.Wait()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(verdicts); err != nil {
		slog.Error("answering", "error", err)
	}
}

// verify writes the verdicts of one consumer.
func (c consumers) verify(number int, showings []showing, verdicts [][]string) {
	for i, s := range showings {
		for j, wanted := range s.Consumers {
			if wanted != number {
				continue
			}
			if _, err := c[number].Verify(context.Background(), s.Token); err != nil {
				verdicts[i][j] = err.Error()
			}
		}
	}
}
