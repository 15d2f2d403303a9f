package reload_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// errBroken is why load refuses a version.
var errBroken = errors.New("broken")

// load makes a value from a line of text. It refuses half a line and the word
// broken.
func load(r io.Reader) (string, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	text, complete := strings.CutSuffix(string(data), "\n")
	if !complete || strings.Contains(text, "broken") {
		return "", fmt.Errorf("%q: %w", text, errBroken)
	}
	return text, nil
}

// fixture is a file that is kept up to date, and its events.
type fixture struct {
	*reload.File[string]
	path   string
	events chan reload.Event
}

// open returns a fixture of a file that holds content.
func open(t *testing.T, path string, config reload.Config[string]) *fixture {
	t.Helper()
	x := &fixture{path: path, events: make(chan reload.Event, 1000)}
	config.Path = path
	config.OnReload = func(e reload.Event) { x.events <- e }
	if config.Load == nil {
		config.Load = load
	}
	file, err := reload.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	x.File = file
	return x
}

// start runs the fixture until the test calls stop, or ends.
func (x *fixture) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// next returns the next event.
func (x *fixture) next(t *testing.T) reload.Event {
	t.Helper()
	select {
	case event := <-x.events:
		if event.Path != x.path {
			t.Errorf("event of the path %s, want %s", event.Path, x.path)
		}
		return event
	case <-time.After(30 * time.Second):
		t.Fatal("no event came")
		return reload.Event{}
	}
}

// becomes waits until the version in use is want. Events of versions in between
// may come first.
func (x *fixture) becomes(t *testing.T, want string) {
	t.Helper()
	for x.Current() != want {
		x.next(t)
	}
}

// refuses waits until a version is refused because of want.
func (x *fixture) refuses(t *testing.T, want string) {
	t.Helper()
	for {
		event := x.next(t)
		if event.Kind == reload.Refused && strings.Contains(event.Err.Error(), want) {
			return
		}
	}
}

// silent checks that there was no event.
func (x *fixture) silent(t *testing.T) {
	t.Helper()
	select {
	case event := <-x.events:
		t.Errorf("unexpected event: %v %v", event.Kind, event.Err)
	default:
	}
}

// write writes a line into a file in place.
func write(t *testing.T, path, line string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace renames a new file with a line over the file.
func replace(t *testing.T, path, line string) {
	t.Helper()
	write(t, path+".new", line)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// newFile returns the path of a new file with a line.
func newFile(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.txt")
	write(t, path, line)
	return path
}

// must fails the test when there is an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
