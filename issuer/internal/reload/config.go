package reload

import (
	"errors"
	"io"
	"time"
)

// defaultPoll is how often a file is compared when Config.Poll is zero.
const defaultPoll = 10 * time.Second

// Config says which file to keep up to date with, and how.
type Config[T any] struct {
	// Path is the file, or a symbolic link to it. Required.
	Path string

	// Load makes the value of a version of the file. Required. It need not
	// read to the end. The reader fails when the context of the call that led
	// to Load is done. A version that Load refuses is loaded again when the
	// file changes, or at each look when the error is marked by [Transient].
	Load func(io.Reader) (T, error)

	// Accept may refuse a version that was loaded, because of the one in use
	// or of the time. It is asked again at each look at the file as long as it
	// refuses, so that a version can be early. Nil accepts everything. Open
	// does not ask it: there is nothing in use yet.
	Accept func(old, next T) error

	// Prepare makes a version ready that was loaded and accepted, the last step
	// before it comes into use: work with effects outside of this process
	// belongs here, as a refused version never gets so far. An error refuses the
	// version, as one of Load does. Nil prepares nothing.
	Prepare func(next T) error

	// Poll is how often the file is compared even if nothing was seen to
	// happen to it; zero means 10 seconds.
	Poll time.Duration

	// OnReload is told what happened, one event after the other. It must not
	// call Reload. Nil tells nobody.
	OnReload func(Event)
}

// validate reports all that is wrong with c.
func (c Config[T]) validate() error {
	var problems []error
	if c.Path == "" {
		problems = append(problems, errors.New("reload: Config.Path is empty"))
	}
	if c.Load == nil {
		problems = append(problems, errors.New("reload: Config.Load is nil"))
	}
	if c.Poll < 0 {
		problems = append(problems, errors.New("reload: Config.Poll is negative"))
	}
	return errors.Join(problems...)
}
