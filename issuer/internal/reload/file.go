package reload

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// File is a value and the file it is made from. Current and Status may be
// called from any goroutine, also while Run runs.
type File[T any] struct {
	config  Config[T]
	current atomic.Pointer[T]
	status  atomic.Pointer[Status]

	past history // used by Open, then by Run
	seed maphash.Seed
	// asked holds at most one call of Reload that Run has not answered.
	asked chan struct{}
}

// Open loads the first version of the file. From then on [File.Run] changes the
// value.
//
// It is an error if the file cannot be read or loaded, or is not a regular file.
func Open[T any](config Config[T]) (*File[T], error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	f := &File[T]{config: config, seed: maphash.MakeSeed(), asked: make(chan struct{}, 1)}
	f.status.Store(&Status{})
	if event, _ := f.look(context.Background(), false); event.Err != nil {
		return nil, fmt.Errorf("loading %s: %w", config.Path, event.Err)
	}
	return f, nil
}

// Current returns the value in use. Callers share it.
func (f *File[T]) Current() T { return *f.current.Load() }

// Status returns the state of the file.
func (f *File[T]) Status() Status { return *f.status.Load() }

// Reload makes Run look at the file at once, also where it seems unchanged, and
// use a version that takes away more than [Config.KeepMost] allows. A version
// that is refused for another reason stays refused, and is reported again.
func (f *File[T]) Reload() {
	select {
	case f.asked <- struct{}{}:
	default: // the call before this one is still to come
	}
}

// look reads the file if it may hold a new version, and uses that version if it
// is good. It returns what happened and whether that is news. Asked is whether
// it is for a call of Reload.
func (f *File[T]) look(ctx context.Context, asked bool) (event Event, news bool) {
	if asked {
		f.past.info, f.past.refused = nil, checksum{}
	}
	next, found := f.read(ctx)
	var changes []Change
	if found.kind == Replaced {
		changes = f.compare(next)
		found = f.judge(next, found, changes, asked)
	}
	if ctx.Err() != nil {
		return Event{}, false
	}
	event = Event{Kind: found.kind, Path: f.config.Path, Err: found.err, Changes: changes}
	switch found.kind {
	case Replaced:
		f.use(next, found)
		return event, true
	case Restored:
		return event, f.restore()
	case Refused:
		return event, f.refuse(found) || asked
	default:
		return Event{}, false
	}
}

// judge decides about a version that was loaded, and prepares a good one.
func (f *File[T]) judge(next T, found finding, changes []Change, asked bool) finding {
	if err := f.accept(next); err != nil {
		// Time alone may change the answer.
		return finding{kind: Refused, err: err, sum: found.sum, retry: retryLater}
	}
	if f.config.KeepMost && !asked {
		if err := loss(changes); err != nil {
			return refusal(err, found.sum)
		}
	}
	if err := f.prepare(next); err != nil {
		return refusal(err, found.sum)
	}
	return found
}

// compare counts what differs between the version in use and next.
func (f *File[T]) compare(next T) []Change {
	old := f.current.Load()
	if old == nil || f.config.Compare == nil {
		return nil
	}
	return f.config.Compare(*old, next)
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
	f.status.Store(&Status{LoadedAt: time.Now()})
}

// restore notes that the file holds the version in use, and reports whether
// that is news.
func (f *File[T]) restore() bool {
	news := f.past.complaint != ""
	f.past.refused, f.past.complaint = checksum{}, ""
	f.status.Store(&Status{LoadedAt: f.Status().LoadedAt})
	return news
}

// refuse notes why the file cannot be used, and reports whether that is news.
func (f *File[T]) refuse(found finding) bool {
	complaint := found.complaint()
	news := complaint != f.past.complaint
	f.past.refused, f.past.complaint = found.sum, complaint
	if found.retry > 0 {
		f.past.refused, f.past.again = checksum{}, time.Now().Add(found.retry)
	}
	f.status.Store(&Status{LoadedAt: f.Status().LoadedAt, Err: found.err})
	return news
}
