package reload

import "errors"

// Transient marks an error of [Config.Load] or [Config.Prepare] that is not the
// file's fault, such as a wrong PIN for a device: the same version may be good
// later. The text of the error stays the same.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return transientError{err}
}

type transientError struct{ error }

func (e transientError) Unwrap() error { return e.error }

func isTransient(err error) bool {
	_, ok := errors.AsType[transientError](err)
	return ok
}
