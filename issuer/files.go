package issuer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/customersession/customersession/issuer/internal/reload"
)

// Names of the files that are followed, in logs and metrics.
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

// followedFiles collects the files of a server that is being made.
type followedFiles struct {
	poll   time.Duration
	report func(name string, e reload.Event)
	all    []followedFile
}

// openFile loads a file, which is followed from when the server runs. Poll and
// OnReload of config are set here.
func openFile[T any](files *followedFiles, name string, config reload.Config[T]) (*reload.File[T], error) {
	config.Poll = files.poll
	config.OnReload = func(e reload.Event) { files.report(name, e) }
	file, err := reload.Open(config)
	if err != nil {
		return nil, err
	}
	files.all = append(files.all, followedFile{name, file.Run, file.Status})
	return file, nil
}

// report tells operators what became of a new version of a file.
func (s *Server) report(ctx context.Context, name string, e reload.Event) {
	s.metrics.reload(name, e)
	attrs := []slog.Attr{slog.String("file", name), slog.String("path", e.Path), slog.String("outcome", e.Kind.String())}
	level := slog.LevelInfo
	if e.Err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	s.logger.LogAttrs(ctx, level, "file reloaded", attrs...)
}

// follow takes over the files that readiness and metrics tell of.
func (s *Server) follow(files []followedFile) {
	s.files = files
	s.metrics.registry.MustRegister(newFilesCollector(files))
	for _, f := range files {
		s.metrics.expectReloads(f.name)
	}
}

// refusedFiles returns a sentence for each file that is refused as it is now.
// The texts hold no secret: they are those of the log.
func (s *Server) refusedFiles() []string {
	var refused []string
	for _, f := range s.files {
		status := f.status()
		if status.Err == nil {
			continue
		}
		// One finding a line is for people; this is one string of a list.
		why := strings.ReplaceAll(status.Err.Error(), "\n", "; ")
		refused = append(refused, fmt.Sprintf("%s: the file as it is now is refused: %s; %s stays in use",
			title(f.name), why, s.inUse(f.name, status)))
	}
	return refused
}

// title is what people call a file.
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

// A filesCollector reads how the files stand when it is asked.
type filesCollector struct {
	files             []followedFile
	refused, loadedAt *prometheus.Desc
}

func newFilesCollector(files []followedFile) *filesCollector {
	labels := []string{"file"}
	return &filesCollector{
		files:    files,
		refused:  describe("file_refused", "1 if the file as it is now is refused, and an earlier version stays in use.", labels...),
		loadedAt: describe("file_loaded_timestamp_seconds", "Since when the version of a file is in use.", labels...),
	}
}

// Describe implements [prometheus.Collector].
func (c *filesCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.refused
	descriptions <- c.loadedAt
}

// Collect implements [prometheus.Collector].
func (c *filesCollector) Collect(metrics chan<- prometheus.Metric) {
	for _, f := range c.files {
		status, refused := f.status(), 0.0
		if status.Err != nil {
			refused = 1
		}
		metrics <- gauge(c.refused, refused, f.name)
		metrics <- gauge(c.loadedAt, float64(status.LoadedAt.Unix()), f.name)
	}
}
