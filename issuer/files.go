package issuer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/customersession/customersession/issuer/internal/fileaccess"
	"github.com/customersession/customersession/issuer/internal/reload"
)

// Names of files in logs and metrics.
const (
	keysFile          = "keys"
	organizationsFile = "organizations"
	customersFile     = "customers"
)

// contents describe a version of a file: how much of each sort is in it, and, if
// not nil, what looks like a mistake.
type contents[T any] struct {
	count func(T) []count
	warn  func(T) []string
}

// A followedFile is a file that is read again when it changes.
type followedFile struct {
	name   string
	path   string
	run    func(context.Context) error
	status func() reload.Status
	reload func()
	// counts returns how much of each sort is in the version in use, and warnings
	// what looks like a mistake in it.
	counts   func() []count
	warnings func() []string
}

// followedFiles are the files of a server. It logs and counts their reloads.
type followedFiles struct {
	metrics *metrics
	logger  *slog.Logger
	all     []followedFile
	secrets []secretFile

	// logged are the warnings that are in the log.
	mu     sync.Mutex
	logged map[string]bool
}

// openFile loads a file, which is followed as soon as the server runs. It sets
// OnReload and Guard of config.
func openFile[T any](files *followedFiles, name string, config reload.Config[T], contents contents[T]) (*reload.File[T], error) {
	config.OnReload = func(e reload.Event) { files.report(name, e) }
	config.Guard = fileaccess.CheckWrite
	file, err := reload.Open(config)
	if err != nil {
		return nil, err
	}
	files.add(followedFile{
		name: name, path: config.Path, run: file.Run, status: file.Status, reload: file.Reload,
		counts: func() []count { return contents.count(file.Current()) },
		warnings: func() []string {
			if contents.warn == nil {
				return nil
			}
			return contents.warn(file.Current())
		},
	})
	return file, nil
}

func (f *followedFiles) add(file followedFile) {
	f.all = append(f.all, file)
	f.metrics.followFile(file)
}

// report logs and counts a reload.
func (f *followedFiles) report(name string, e reload.Event) {
	f.metrics.reload(name, e)
	attrs := []slog.Attr{slog.String("file", name), slog.String("path", e.Path), slog.String("outcome", e.Kind.String())}
	for _, c := range e.Changes {
		attrs = append(attrs, slog.Int(c.Of+"_added", c.Added), slog.Int(c.Of+"_changed", c.Changed), slog.Int(c.Of+"_removed", c.Removed))
	}
	ctx := context.Background()
	switch e.Kind {
	case reload.Refused:
		attrs = append(attrs, slog.String("error", e.Err.Error()))
		f.logger.LogAttrs(ctx, slog.LevelError, "file refused", attrs...)
	case reload.Restored:
		f.logger.LogAttrs(ctx, slog.LevelInfo, "file restored", attrs...)
	case reload.Replaced:
		f.logger.LogAttrs(ctx, slog.LevelInfo, "file reloaded", attrs...)
	}
	f.logWarnings(ctx)
}

// warnings returns a sentence for each thing that looks like a mistake in the files
// in use. The sentences hold no secret.
func (f *followedFiles) warnings() []string {
	var warnings []string
	for _, file := range f.all {
		for _, c := range file.counts() {
			if c.n == 0 {
				warnings = append(warnings, fmt.Sprintf("%s: %s has no %s", title(file.name), file.path, reload.Words(c.of)))
			}
		}
		for _, warning := range file.warnings() {
			warnings = append(warnings, fmt.Sprintf("%s: %s: %s", title(file.name), file.path, warning))
		}
	}
	for _, secret := range f.secrets {
		for _, warning := range readable(secret.path) {
			warnings = append(warnings, fmt.Sprintf("%s: %s: %s", secret.setting, secret.path, warning))
		}
	}
	return warnings
}

// logWarnings logs the warnings that were not there at the call before.
func (f *followedFiles) logWarnings(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.logged
	f.logged = map[string]bool{}
	for _, warning := range f.warnings() {
		if f.logged[warning] = true; !before[warning] {
			f.logger.LogAttrs(ctx, slog.LevelWarn, "file needs attention", slog.String("warning", warning))
		}
	}
}

// Reload makes Run read all files again at once. It is how an operator says that
// a version is meant although it takes away most of what there was. A version
// that is refused for another reason, such as an unsafe key manifest, stays
// refused.
func (s *Server) Reload(ctx context.Context) {
	s.logger.LogAttrs(ctx, slog.LevelInfo, "reloading files")
	for _, file := range s.files.all {
		file.reload()
	}
}

// logContents logs how much is in the files.
func (s *Server) logContents(ctx context.Context) {
	var attrs []slog.Attr
	for _, file := range s.files.all {
		for _, c := range file.counts() {
			attrs = append(attrs, slog.Int(c.of, c.n))
		}
	}
	s.logger.LogAttrs(ctx, slog.LevelInfo, "files loaded", attrs...)
	s.files.logWarnings(ctx)
}

// refusedFiles returns a sentence for each file whose present version is
// refused. The texts are those of the log and hold no secret.
func (s *Server) refusedFiles() []string {
	var refused []string
	for _, f := range s.files.all {
		status := f.status()
		if status.Err == nil {
			continue
		}
		// The error has a line for each finding. This is one string of a list.
		why := strings.ReplaceAll(status.Err.Error(), "\n", "; ")
		refused = append(refused, fmt.Sprintf("%s: the file as it is now is refused: %s; %s stays in use",
			title(f.name), why, s.inUse(f.name, status)))
	}
	return refused
}

// title is the name of a file in sentences.
func title(name string) string {
	if name == keysFile {
		return "key manifest"
	}
	return name
}

// inUse names the version of a file that is in use.
func (s *Server) inUse(name string, status reload.Status) string {
	if name == keysFile {
		return fmt.Sprintf("version %d", s.keys().Manifest().Version)
	}
	return "the version loaded at " + status.LoadedAt.UTC().Format(time.RFC3339)
}
