package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/customersession/customersession/keys"
)

// attempts is how often a change is made anew because somebody else wrote in
// between.
const attempts = 3

// writeTimeout is how long a change may take, waiting for a lock included.
const writeTimeout = 30 * time.Second

// A writer is what all commands that write have in common.
type writer struct {
	env    Env
	flags  *flag.FlagSet
	place  place
	dryRun bool
	asJSON bool
}

func newWriter(env Env, flags *flag.FlagSet) *writer {
	w := &writer{env: env, flags: flags}
	w.place.flags(flags)
	flags.BoolVar(&w.dryRun, "dry-run", false, "say what would be done, and do nothing")
	flags.BoolVar(&w.asJSON, "json", false, "print one JSON object")
	return w
}

// A step makes the manifest that follows m at now, or returns m when there is
// nothing to do. It must have no other effect: it may be made again.
type step func(m *keys.Manifest, now time.Time) (*keys.Manifest, error)

// change makes a step, writes what comes of it, and reports it. The notes say
// what the reader should know beyond that.
func (w *writer) change(ctx context.Context, next step, notes func(old, next *keys.Manifest, now time.Time) []string) error {
	store, err := w.place.store(w.flags, w.env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, writeTimeout, errors.New("it took too long"))
	defer cancel()
	for attempt := 1; ; attempt++ {
		old, revision, err := store.Read(ctx)
		if err != nil {
			return err
		}
		if w.dryRun {
			old = old.Draft()
		}
		now := time.Now()
		made, err := next(old, now)
		if err != nil {
			return err
		}
		if made != old && !w.dryRun {
			err = store.Write(ctx, made, revision)
		}
		if errors.Is(err, keys.ErrConflict) && attempt < attempts {
			continue
		}
		if err != nil {
			return err
		}
		r := newReport(store.String(), old, made, now, w.dryRun)
		if notes != nil {
			r.Notes = notes(old, made, now)
		}
		return w.print(r)
	}
}

func (w *writer) print(r *report) error {
	if w.asJSON {
		return PrintJSON(w.env.Out, r)
	}
	_, err := fmt.Fprint(w.env.Out, r.String())
	return err
}
