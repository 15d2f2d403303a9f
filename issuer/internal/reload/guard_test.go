package reload_test

import (
	"errors"
	"os"
	"testing"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// A file that the guard refuses is not read, whatever it holds, and is used when
// the guard has changed its mind, with or without a change of the file.
func TestGuard(t *testing.T) {
	t.Parallel()
	errOpen := errors.New("everyone may change it")
	config := reload.Config[string]{Guard: func(path string) error {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o002 != 0 {
			err = errOpen
		}
		return err
	}}
	running(t, config, func(t *testing.T, x *fixture) {
		write(t, x.path, "two")
		must(t, os.Chmod(x.path, 0o606))
		looks(10)
		x.expect(t, reload.Refused, errOpen)
		x.silent(t)
		if got, err := x.Current(), x.Status().Err; got != "one" || !errors.Is(err, errOpen) {
			t.Errorf("got %q and the status %v, want the old version and the reason", got, err)
		}
		must(t, os.Chmod(x.path, 0o600))
		looks(1)
		x.expect(t, reload.Replaced, nil)
		must(t, os.Chmod(x.path, 0o606))
		looks(1)
		x.expect(t, reload.Refused, errOpen)
		must(t, os.Chmod(x.path, 0o604))
		looks(1)
		x.expect(t, reload.Restored, nil)
	})
	path := newFile(t, "one")
	must(t, os.Chmod(path, 0o606))
	config.Path, config.Load = path, load
	if _, err := reload.Open(config); !errors.Is(err, errOpen) {
		t.Errorf("at first: got %v, want %v", err, errOpen)
	}
}
