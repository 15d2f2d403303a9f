package issuer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// Names of files in logs and metrics.
const (
	keysFile          = "keys"
	organizationsFile = "organizations"
	customersFile     = "customers"
)

// A followedFile is a file that is read again when it changes.
type followedFile struct {
	name   string
	run    func(context.Context) error
	status func() reload.Status
}

// followedFiles are the files of a server. It logs and counts their reloads.
type followedFiles struct {
	metrics *metrics
	logger  *slog.Logger
	all     []followedFile
}

// openFile loads a file, which is followed as soon as the server runs. It sets
// OnReload of config.
func openFile[T any](files *followedFiles, name string, config reload.Config[T]) (*reload.File[T], error) {
	config.OnReload = func(e reload.Event) { files.report(name, e) }
	file, err := reload.Open(config)
	if err != nil {
		return nil, err
	}
	files.add(followedFile{name, file.Run, file.Status})
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
	level := slog.LevelInfo
	if e.Err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	f.logger.LogAttrs(context.Background(), level, "file reloaded", attrs...)
}

// refusedFiles returns a sentence for each file whose present version is
// refused. The texts are those of the log and hold no secret.
func (s *Server) refusedFiles() []string {
	var refused []string
	for _, f := range s.files {
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
