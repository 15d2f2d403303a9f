// Command program waits for as long as its argument says, in every way that
// package time has, and prints when each wait began and ended.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type wait struct {
	Name       string
	Began      time.Time
	Ended      time.Time
	Monotonic  time.Duration // by the monotonic clock
	Delivered  time.Time     // what the channel delivered, if there is one
	Since, Due time.Duration // what Since and Until say at the end
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(argument string) error {
	long, err := time.ParseDuration(argument)
	if err != nil {
		return err
	}
	ways := []struct {
		name string
		wait func() time.Time
	}{
		{"Sleep", func() time.Time { time.Sleep(long); return time.Time{} }},
		{"After", func() time.Time { return <-time.After(long) }},
		{"AfterFunc", func() time.Time {
			done := make(chan struct{})
			time.AfterFunc(long, func() { close(done) })
			<-done
			return time.Time{}
		}},
		{"Timer.Reset", func() time.Time {
			timer := time.NewTimer(time.Hour)
			timer.Reset(long)
			return <-timer.C
		}},
		{"Ticker", func() time.Time {
			ticker := time.NewTicker(long / 3)
			defer ticker.Stop()
			<-ticker.C
			<-ticker.C
			return <-ticker.C
		}},
		{"Ticker.Reset", func() time.Time {
			ticker := time.NewTicker(time.Hour)
			defer ticker.Stop()
			ticker.Reset(long / 2)
			<-ticker.C
			return <-ticker.C
		}},
		{"context", func() time.Time {
			ctx, cancel := context.WithTimeout(context.Background(), long)
			defer cancel()
			<-ctx.Done()
			return time.Time{}
		}},
	}
	output := json.NewEncoder(os.Stdout)
	for _, way := range ways {
		began := time.Now()
		delivered := way.wait()
		ended := time.Now()
		w := wait{
			Name: way.name, Began: began, Ended: ended, Delivered: delivered,
			Monotonic: ended.Sub(began), Since: time.Since(began), Due: time.Until(began.Add(long)),
		}
		if err := output.Encode(w); err != nil {
			return err
		}
	}
	return nil
}
