package reload

import (
	"errors"
	"io"
)

// Config describes a file and how to load it.
type Config[T any] struct {
	// Path is the file, or a symbolic link to it. Required.
	Path string

	// Guard may refuse a file for where it is, before it is read. It is asked
	// again every few seconds while it refuses. Nil refuses nothing.
	Guard func(path string) error

	// Load makes the value from a version of the file. Required. It need not
	// read to the end. The reader fails when the context of [File.Run] is done.
	// A version that Load refuses is loaded again when the file changes, or a
	// few seconds later if the error is marked by [Transient].
	Load func(io.Reader) (T, error)

	// Accept may refuse a loaded version because of the one in use or the
	// time. As long as it refuses it is asked again every few seconds, so a
	// version may come early. Nil accepts everything. Open does not call it:
	// there is nothing in use yet.
	Accept func(old, next T) error

	// Prepare makes a loaded and accepted version ready. It is the last step
	// before the version comes into use, so work with effects outside of this
	// process belongs here. An error refuses the version, as one of Load does.
	// Nil prepares nothing.
	Prepare func(next T) error

	// Compare counts what differs between the version in use and the next one.
	// Nil counts nothing.
	Compare func(old, next T) []Change

	// KeepMost refuses a version that takes away more than half of anything
	// that Compare counts: an empty or truncated file is rarely intended.
	// [File.Reload] confirms one that is. Open takes what there is.
	KeepMost bool

	// OnReload is called with each event, one at a time. May be nil.
	OnReload func(Event)
}

// validate reports everything that is wrong with c.
func (c Config[T]) validate() error {
	var problems []error
	if c.Path == "" {
		problems = append(problems, errors.New("reload: Config.Path is empty"))
	}
	if c.Load == nil {
		problems = append(problems, errors.New("reload: Config.Load is nil"))
	}
	return errors.Join(problems...)
}
