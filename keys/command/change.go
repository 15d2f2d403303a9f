package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
)

// attempts is how often a change is tried when others write at the same time.
const attempts = 3

// writeTimeout limits a change, including the wait for a lock.
const writeTimeout = 30 * time.Second

// A writer is what all commands that write have in common.
type writer struct {
	*place

	dryRun bool
	asJSON bool
}

func newWriter(cmd *cobra.Command, getenv func(string) string) *writer {
	w := &writer{place: newPlace(cmd, getenv)}
	cmd.Flags().BoolVar(&w.dryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().BoolVar(&w.asJSON, "json", false, "print one JSON object")
	return w
}

// A changer writes manifests that follow another one.
type changer struct {
	*writer

	clockChecked bool
}

func newChanger(cmd *cobra.Command, getenv func(string) string) *changer {
	c := &changer{writer: newWriter(cmd, getenv)}
	cmd.Flags().BoolVar(&c.clockChecked, "clock-checked", false, "go on when signing ended long ago by this clock, which you compared with another one")
	return c
}

// A step returns the manifest that follows m at now, or m itself when there is
// nothing to do. It has no other effect, because it may run again.
type step func(m *keys.Manifest, now time.Time) (*keys.Manifest, error)

// change makes a step, writes the new manifest and reports what changed. Notes
// adds to the report what the reader should know beyond that.
func (c *changer) change(ctx context.Context, next step, notes func(old, next *keys.Manifest, now time.Time) []string) error {
	store, err := c.store()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, writeTimeout, errors.New("it took too long"))
	defer cancel()
	old, made, now, err := c.try(ctx, store, next)
	for attempt := 1; attempt < attempts && errors.Is(err, keys.ErrConflict); attempt++ {
		old, made, now, err = c.try(ctx, store, next)
	}
	if err != nil {
		return err
	}
	r := newReport(store.String(), old, made, now, c.dryRun)
	if notes != nil {
		r.Notes = notes(old, made, now)
	}
	if refused := checkClock(old, now, c.clockChecked); refused != nil {
		r.Notes = append(r.Notes, "without --dry-run, it is refused: "+refused.Error())
	}
	return c.print(r)
}

// try makes a step once. The error wraps [keys.ErrConflict] if another writer was
// faster.
func (c *changer) try(ctx context.Context, store manifestStore, next step) (old, made *keys.Manifest, now time.Time, err error) {
	old, revision, err := store.Read(ctx)
	if err != nil {
		return nil, nil, now, err
	}
	if c.dryRun {
		old = old.Draft()
	}
	now = time.Now()
	if err := checkClock(old, now, c.clockChecked || c.dryRun); err != nil {
		return nil, nil, now, err
	}
	made, err = next(old, now)
	if err == nil && made != old && !c.dryRun {
		err = store.Write(ctx, made, revision)
	}
	return old, made, now, err
}

func (w *writer) print(r *report) error {
	if w.asJSON {
		return printJSON(w.cmd.OutOrStdout(), r)
	}
	_, err := fmt.Fprint(w.cmd.OutOrStdout(), r.String())
	return err
}
