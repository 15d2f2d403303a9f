package reload

import (
	"errors"

	"github.com/fsnotify/fsnotify"
)

// Unwatch makes Run find that there is no watcher to be had.
func Unwatch[T any](f *File[T]) {
	f.newWatcher = func() (*fsnotify.Watcher, error) {
		return nil, errors.New("no inotify instance left")
	}
}
