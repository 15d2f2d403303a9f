// Package release says which build a binary is and what it is made of, from
// what the Go tool writes into every binary.
package release

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
)

// A Build says what a binary was made from.
type Build struct {
	// Version is the version of the module: a release such as "v1.2.3", a
	// pseudo-version that names a commit between releases, or "(devel)" where
	// nobody knows.
	Version string `json:"version"`
	// Commit is the hash of the commit, or empty where nobody knows, as after
	// go install, which builds from an archive that has only a version.
	Commit string `json:"commit,omitempty"`
	// Dirty tells of changes that the commit does not have. It is false, too,
	// where Commit did not come from a repository.
	Dirty bool `json:"dirty"`
	// CommittedAt is when the commit was made, or zero where nobody knows. It
	// stands for the date of the build, which would differ each time.
	CommittedAt time.Time `json:"committed_at,omitzero"`
	// GoVersion is the version of Go that compiled the binary, such as
	// "go1.26.8".
	GoVersion string `json:"go_version"`
	// Platform is the operating system and the architecture that the binary is
	// for, such as "linux/amd64".
	Platform string `json:"platform"`
}

// Linked is what the linker was told, for builds that have no repository to
// read it from. What the Go tool wrote goes before it.
type Linked struct{ Version, Commit string }

// A Binary is a compiled program, and what the Go tool wrote into it.
type Binary struct {
	Build Build

	info *debug.BuildInfo
	path string
}

// Running returns the program that asks.
func Running(linked Linked) Binary {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return Binary{Build: read(info, linked), info: info}
}

// Open returns the program in a file, for any platform.
func Open(path string) (Binary, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return Binary{}, fmt.Errorf("reading build information: %w", err)
	}
	return Binary{Build: read(info, Linked{}), info: info, path: path}, nil
}

// devel is the version of a module that was built from a folder.
const devel = "(devel)"

func read(info *debug.BuildInfo, linked Linked) Build {
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

// file opens the binary.
func (b Binary) file() (*os.File, error) {
	path := b.path
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return os.Open(path)
}
