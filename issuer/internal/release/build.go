// Package release reports what the running program was built from, as the Go
// tool wrote it into the binary.
package release

import (
	"cmp"
	"fmt"
	"io"
	"runtime/debug"
	"time"
)

// A Build is what a binary was made from.
type Build struct {
	// Version is the version of the module: a release such as "v1.2.3", a
	// pseudo-version that names a commit between releases, or "(devel)" if
	// unknown.
	Version string `json:"version"`
	// Commit is the hash of the commit. It is empty if unknown, as after
	// go install, which builds from an archive that has only a version.
	Commit string `json:"commit,omitempty"`
	// Dirty reports changes on top of the commit. It is false if Commit did
	// not come from a repository.
	Dirty bool `json:"dirty"`
	// CommittedAt is the time of the commit, zero if unknown. There is no time
	// of the build: it would make each build of a commit another one.
	CommittedAt time.Time `json:"committed_at,omitzero"`
	// GoVersion is the version of Go that compiled the binary, such as
	// "go1.26.8".
	GoVersion string `json:"go_version"`
	// Platform is the operating system and the architecture of the binary, such
	// as "linux/amd64".
	Platform string `json:"platform"`
}

// Linked is what the linker wrote, for builds that have no repository to read
// from. What the Go tool wrote takes precedence.
type Linked struct{ Version, Commit string }

// devel is the version of a module that was built from a folder.
const devel = "(devel)"

// Running returns the build of the running program.
func Running(linked Linked) Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	settings := make(map[string]string, len(info.Settings))
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	b := Build{
		Version:   info.Main.Version,
		Commit:    cmp.Or(settings["vcs.revision"], linked.Commit),
		Dirty:     settings["vcs.modified"] == "true",
		GoVersion: info.GoVersion,
		Platform:  settings["GOOS"] + "/" + settings["GOARCH"],
	}
	if b.Version == "" || b.Version == devel {
		b.Version = cmp.Or(linked.Version, devel)
	}
	if at, err := time.Parse(time.RFC3339, settings["vcs.time"]); err == nil {
		b.CommittedAt = at.UTC()
	}
	return b
}

// String returns version, commit and Go version on one line, for a log.
func (b Build) String() string {
	return b.Version + " " + cmp.Or(b.Commit, "unknown commit") + " " + b.GoVersion
}

// Write writes the build for people to read.
func (b Build) Write(w io.Writer) error {
	commit, committed := cmp.Or(b.Commit, "unknown"), "unknown"
	if b.Dirty {
		commit += ", with changes"
	}
	if !b.CommittedAt.IsZero() {
		committed = b.CommittedAt.Format(time.RFC3339)
	}
	_, err := fmt.Fprintf(w, "version    %s\ncommit     %s\ncommitted  %s\ngo         %s\nplatform   %s\n",
		b.Version, commit, committed, b.GoVersion, b.Platform)
	return err
}
