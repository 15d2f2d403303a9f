package reload

import (
	"context"
	"errors"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A burst of changes, such as a file that is being written, is over when
// nothing has happened for the time of settle; but looking at the file is not
// put off for longer than the time of patience.
const (
	settle   = 100 * time.Millisecond
	patience = time.Second
)

// Run keeps the value up to date until ctx is done, and then returns nil. It
// has no goroutine left when it returns.
//
// If the file cannot be watched, [Config.OnReload] is told by an event of the
// kind [Unwatched], and changes are noticed by polling. The error is that of a
// second call while the first one runs.
func (f *File[T]) Run(ctx context.Context) error {
	if !f.running.CompareAndSwap(false, true) {
		return errors.New("reload: Run is running already")
	}
	defer f.running.Store(false)

	var events <-chan fsnotify.Event
	var failures <-chan error
	folders, err := watch(f.config.Path, f.newWatcher)
	if err != nil {
		f.unwatched(ctx, err)
	} else {
		defer folders.watcher.Close()
		events, failures = folders.watcher.Events, folders.watcher.Errors
	}
	f.follow(ctx, folders, events, failures)
	return nil
}

// unwatched reports that there is polling alone.
func (f *File[T]) unwatched(ctx context.Context, err error) {
	select {
	case f.busy <- struct{}{}: // events come one after the other
		f.report(Event{Kind: Unwatched, Err: err})
		<-f.busy
	case <-ctx.Done():
	}
}

// follow looks at the file when something happened and at each poll. The
// channels are nil, and never ready, when nothing is watched.
func (f *File[T]) follow(
	ctx context.Context, folders *folders, events <-chan fsnotify.Event, failures <-chan error,
) {
	poll := time.NewTicker(f.config.Poll)
	defer poll.Stop()
	quiet := time.NewTimer(0) // at once: much may have happened since Open
	defer quiet.Stop()
	began := time.Now() // of the burst that goes on; zero: none does

	happened := func() {
		now := time.Now()
		if began.IsZero() {
			began = now
		}
		quiet.Reset(min(settle, patience-now.Sub(began)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			happened()
			continue
		case <-failures: //nolint:errcheck // such as too many events to tell each
			happened()
			continue
		case <-poll.C:
			if !began.IsZero() {
				continue // soon, when the burst is over
			}
		case <-quiet.C:
			began = time.Time{}
		}
		_ = folders.renew() // polling makes up for it
		// The outcome has been reported already.
		_ = f.examine(ctx, false)
	}
}
