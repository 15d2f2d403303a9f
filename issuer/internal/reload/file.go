package reload

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// File is a value and the file that it is made of. Its methods are safe for
// concurrent use.
type File[T any] struct {
	config  Config[T]
	current atomic.Pointer[T]
	status  atomic.Pointer[Status]
	running atomic.Bool

	// busy is held, by a value in it, while the file is looked at. A mutex
	// could not be waited for with a context.
	busy chan struct{}
	past history // guarded by busy
	seed maphash.Seed

	newWatcher func() (*fsnotify.Watcher, error)
}

// Open loads the file and returns it with its first version in use. From then
// on the value changes only by [File.Run] and [File.Reload].
//
// It is an error if the file cannot be read or loaded, or if it is not a
// regular file.
func Open[T any](config Config[T]) (*File[T], error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	if config.Poll == 0 {
		config.Poll = defaultPoll
	}
	f := &File[T]{
		config:     config,
		busy:       make(chan struct{}, 1),
		seed:       maphash.MakeSeed(),
		newWatcher: fsnotify.NewWatcher,
	}
	f.status.Store(&Status{})
	if event, _ := f.look(context.Background(), true); event.Err != nil {
		return nil, fmt.Errorf("loading %s: %w", config.Path, event.Err)
	}
	return f, nil
}

// Current returns the value of the version in use. It takes no lock. Callers
// share the value.
func (f *File[T]) Current() T { return *f.current.Load() }

// Status returns how the file stands. It takes no lock.
func (f *File[T]) Status() Status { return *f.status.Load() }

// Reload loads the file now, even if it seems unchanged, and returns why it
// cannot be used, or nil when its version is in use. The outcome is also
// reported to [Config.OnReload].
//
// Only one caller loads at a time. When ctx is done first, nothing has changed
// and the error is that of ctx.
func (f *File[T]) Reload(ctx context.Context) error {
	return f.examine(ctx, true)
}

// examine looks at the file and reports what there is to report.
func (f *File[T]) examine(ctx context.Context, force bool) error {
	select {
	case f.busy <- struct{}{}:
		defer func() { <-f.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	event, notable := f.look(ctx, force)
	if notable {
		f.report(event)
	}
	return event.Err
}

// report completes an event and tells it.
func (f *File[T]) report(event Event) {
	if f.config.OnReload == nil {
		return
	}
	event.Path = f.config.Path
	event.LoadedAt = f.Status().LoadedAt
	f.config.OnReload(event)
}

// look reads the file, when there may be something new in it or force says so,
// and puts its version to use if it is good. It returns what happened, and
// whether that is worth reporting.
func (f *File[T]) look(ctx context.Context, force bool) (event Event, notable bool) {
	began := time.Now()
	next, found := f.read(ctx, force)
	if found.kind == Replaced {
		if err := f.accept(next); err != nil {
			// Time alone may change the answer, so it is asked for again.
			found = finding{kind: Refused, err: err, sum: found.sum, retry: true}
		} else if err := f.prepare(next); err != nil {
			found = finding{kind: Refused, err: err, sum: found.sum, retry: isTransient(err)}
		}
	}
	if ctx.Err() != nil {
		f.past.again = true
		return Event{Err: ctx.Err()}, false
	}
	event = Event{Kind: found.kind, Err: found.err, Duration: time.Since(began)}
	switch found.kind {
	case Replaced:
		f.use(next, found)
		return event, true
	case Restored:
		return event, f.restore()
	case Refused:
		return event, f.refuse(found) || force
	default:
		return Event{}, false
	}
}

// accept asks whether next may follow the version in use.
func (f *File[T]) accept(next T) error {
	old := f.current.Load()
	if old == nil || f.config.Accept == nil {
		return nil
	}
	return f.config.Accept(*old, next)
}

// prepare makes an accepted version ready.
func (f *File[T]) prepare(next T) error {
	if f.config.Prepare == nil {
		return nil
	}
	return f.config.Prepare(next)
}

// use puts a version to use.
func (f *File[T]) use(next T, found finding) {
	f.current.Store(&next)
	f.past.used, f.past.refused, f.past.complaint = found.sum, checksum{}, ""
	status := f.Status()
	status.LoadedAt, status.Err = time.Now(), nil
	status.Loads++
	f.status.Store(&status)
}

// restore notes that the file holds the version in use, and reports whether
// that is news.
func (f *File[T]) restore() bool {
	news := f.past.complaint != ""
	f.past.refused, f.past.complaint = checksum{}, ""
	status := f.Status()
	status.Err = nil
	f.status.Store(&status)
	return news
}

// refuse notes why the file cannot be used, and reports whether that is news.
func (f *File[T]) refuse(found finding) bool {
	complaint := found.complaint()
	news := complaint != f.past.complaint
	f.past.refused, f.past.complaint = found.sum, complaint
	if found.retry {
		f.past.refused, f.past.again = checksum{}, true
	}
	status := f.Status()
	status.Err = found.err
	if news {
		status.Refusals++
	}
	f.status.Store(&status)
	return news
}
