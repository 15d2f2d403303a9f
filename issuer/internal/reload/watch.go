package reload

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// folders watches the folders in which a file can be replaced.
type folders struct {
	path    string
	watcher *fsnotify.Watcher
}

// watch starts watching.
func watch(path string, newWatcher func() (*fsnotify.Watcher, error)) (*folders, error) {
	watcher, err := newWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	f := &folders{path: path, watcher: watcher}
	if err := f.renew(); err != nil {
		watcher.Close()
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	return f, nil
}

// renew watches the folders in which the file is now: links may lead elsewhere
// than before, and a folder that was removed and made again is another one. It
// returns why the folder of the path itself cannot be watched. A nil f has
// nothing to renew.
func (f *folders) renew() error {
	if f == nil {
		return nil
	}
	wanted := []string{filepath.Dir(f.path)}
	if target, err := filepath.EvalSymlinks(f.path); err == nil {
		wanted = append(wanted, filepath.Dir(target))
	}
	for _, folder := range f.watcher.WatchList() {
		if !slices.Contains(wanted, folder) {
			// It fails for a folder that is gone, which is as well.
			_ = f.watcher.Remove(folder)
		}
	}
	err := f.watcher.Add(wanted[0])
	for _, folder := range wanted[1:] {
		// Polling makes up for a folder that cannot be watched.
		_ = f.watcher.Add(folder)
	}
	return err
}
