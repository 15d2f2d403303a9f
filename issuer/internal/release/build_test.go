package release_test

import (
	"archive/zip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer/internal/release"
)

const (
	module    = "example.com/program"
	committed = "2026-11-25T12:00:00Z"
)

// source returns a folder with a program that contains this package and prints
// its own build.
func source(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "release"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "go.mod"), "module "+module+"\n\ngo 1.26.0\n")
	write(t, filepath.Join(folder, "main.go"), `package main

import (
	"encoding/json"
	"os"

	"`+module+`/release"
)

var version, commit string

func main() {
	json.NewEncoder(os.Stdout).Encode(release.Running(release.Linked{Version: version, Commit: commit}))
}
`)
	return folder
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inFolder runs a program with no settings but the test's.
func inFolder(t *testing.T, folder string, env []string, program string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = folder
	command.Env = append(command.Environ(), append([]string{
		"GOFLAGS=", "GOWORK=off", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
		"GIT_AUTHOR_DATE=" + committed, "GIT_COMMITTER_DATE=" + committed,
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	}, env...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, output)
	}
	return strings.TrimSpace(string(output))
}

// build compiles the program in a folder and returns the build that it prints.
func build(t *testing.T, folder string, flags ...string) release.Build {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	inFolder(t, folder, nil, "go", append(append([]string{"build", "-o", path}, flags...), ".")...)
	return ask(t, path)
}

func ask(t *testing.T, path string) release.Build {
	t.Helper()
	var b release.Build
	if err := json.Unmarshal([]byte(inFolder(t, ".", nil, path)), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// here returns a build for this machine.
func here(version, commit string) release.Build {
	return release.Build{
		Version: version, Commit: commit,
		GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

func wantBuild(t *testing.T, got, want release.Build) {
	t.Helper()
	if got != want {
		t.Errorf("build:\n got %+v\nwant %+v", got, want)
	}
}

// In a checkout the Go tool knows everything, and what the linker wrote does not
// count.
func TestCheckout(t *testing.T) {
	t.Parallel()
	git := needs.Program(t, "git", "install Debian's git")
	folder := source(t)
	inFolder(t, folder, nil, git, "init", "--quiet")
	inFolder(t, folder, nil, git, "add", ".")
	inFolder(t, folder, nil, git, "commit", "--quiet", "--message", "first")
	inFolder(t, folder, nil, git, "tag", "v1.2.3")
	hash := inFolder(t, folder, nil, git, "rev-parse", "HEAD")

	want := here("v1.2.3", hash)
	want.CommittedAt = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	wantBuild(t, build(t, folder, "-buildvcs=true", "-ldflags=-X main.version=v9 -X main.commit=other"), want)

	write(t, filepath.Join(folder, "new.go"), "package main\n")
	want.Version, want.Dirty = "v1.2.3+dirty", true
	wantBuild(t, build(t, folder, "-buildvcs=true"), want)
}

// Without a repository the build is what the linker wrote, or unknown.
func TestWithoutRepository(t *testing.T) {
	t.Parallel()
	folder := source(t)
	wantBuild(t, build(t, folder, "-buildvcs=false", "-ldflags=-X main.version=v1.2.3 -X main.commit=0123456"), here("v1.2.3", "0123456"))
	wantBuild(t, build(t, folder, "-buildvcs=false"), here("(devel)", ""))
}

// After go install, the version is the one that was typed.
func TestInstall(t *testing.T) {
	t.Parallel()
	proxy, bin := t.TempDir(), t.TempDir()
	versions := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(versions, 0o700); err != nil {
		t.Fatal(err)
	}
	folder := source(t)
	goMod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(versions, "list"), "v1.2.3\n")
	write(t, filepath.Join(versions, "v1.2.3.mod"), string(goMod))
	write(t, filepath.Join(versions, "v1.2.3.info"), `{"Version": "v1.2.3", "Time": "`+committed+`"}`)
	writeZip(t, filepath.Join(versions, "v1.2.3.zip"), folder)

	inFolder(t, bin, []string{
		"GOBIN=" + bin, "GOPROXY=file://" + proxy, "GONOSUMDB=" + module,
		"GOMODCACHE=" + t.TempDir(), "GOFLAGS=-modcacherw",
	}, "go", "install", module+"@v1.2.3")
	wantBuild(t, ask(t, filepath.Join(bin, "program")), here("v1.2.3", ""))
}

// writeZip writes the archive of a module as a proxy serves it.
func writeZip(t *testing.T, path, folder string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(file)
	for _, name := range []string{"go.mod", "main.go", "release/build.go"} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		entry, err := archive.Create(module + "@v1.2.3/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	known := release.Build{
		Version: "v1.2.3+dirty", Commit: "0123456", Dirty: true,
		CommittedAt: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
		GoVersion:   "go1.26.8", Platform: "linux/arm64",
	}
	unknown := release.Build{Version: "(devel)", GoVersion: "go1.26.8", Platform: "linux/arm64"}
	for _, c := range []struct {
		build      release.Build
		line, text string
	}{
		{known, "v1.2.3+dirty 0123456 go1.26.8", `version    v1.2.3+dirty
commit     0123456, with changes
committed  2026-11-25T12:00:00Z
go         go1.26.8
platform   linux/arm64
`},
		{unknown, "(devel) unknown commit go1.26.8", `version    (devel)
commit     unknown
committed  unknown
go         go1.26.8
platform   linux/arm64
`},
	} {
		var text strings.Builder
		if err := c.build.Write(&text); err != nil {
			t.Fatal(err)
		}
		if text.String() != c.text {
			t.Errorf("text:\n got %s\nwant %s", text.String(), c.text)
		}
		if got := c.build.String(); got != c.line {
			t.Errorf("line: got %q, want %q", got, c.line)
		}
	}
}
