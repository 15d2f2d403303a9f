package release_test

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// checkout copies what belongs to the work tree into a repository of its own,
// with one commit.
func checkout(t *testing.T) string {
	t.Helper()
	git := needs.Program(t, "git", "install Debian's git")
	needs.Path(t, "../../.git", "run this in a checkout")
	// The checkout may belong to somebody else.
	list := inFolder(t, "../..", git, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	folder := t.TempDir()
	for name := range strings.SplitSeq(strings.Trim(list, "\x00"), "\x00") {
		copyFile(t, filepath.Join("../..", name), filepath.Join(folder, name))
	}
	inFolder(t, folder, git, "init", "--quiet")
	inFolder(t, folder, git, "add", "--all")
	inFolder(t, folder, git, "commit", "--quiet", "--message", "a release")
	return folder
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Lstat(from)
	if err != nil || !info.Mode().IsRegular() {
		return // Removed, and not committed yet.
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}

// tryInFolder runs a program with nobody's settings of git.
func tryInFolder(t *testing.T, folder, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = folder
	command.Env = append(command.Environ(),
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com")
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func inFolder(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	output, err := tryInFolder(t, folder, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, output)
	}
	return output
}

// Two people who build one commit in two folders get the same files. What is
// not the tagged commit is not built.
func TestBuild(t *testing.T) {
	t.Parallel()
	needs.Time(t, "half a minute")
	if want := "go" + toolchain(t); runtime.Version() != want {
		needs.Missing(t, want, "run this with GOTOOLCHAIN="+want)
	}
	first, out := checkout(t), t.TempDir()
	inFolder(t, first, "git", "tag", "v1.2.3")
	second := filepath.Join(t.TempDir(), "elsewhere")
	inFolder(t, first, "git", "clone", "--quiet", first, second)

	var sums []string
	for i, folder := range []string{first, second} {
		files := filepath.Join(out, string(rune('a'+i)))
		inFolder(t, folder, "deploy/release/build", "v1.2.3", files, "linux/amd64")
		inFolder(t, files, "sha256sum", "--check", "--strict", "SHA256SUMS")
		text, err := os.ReadFile(filepath.Join(files, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds differ:\n%s%s", sums[0], sums[1])
	}
	for _, name := range []string{"customersession-v1.2.3-linux-amd64\n", "customersession-v1.2.3-linux-amd64.cdx.json\n"} {
		if !strings.Contains(sums[0], name) {
			t.Errorf("SHA256SUMS has no %s:\n%s", name, sums[0])
		}
	}

	checkSBOM(t, filepath.Join(out, "a", "customersession-v1.2.3-linux-amd64"))

	if err := os.WriteFile(filepath.Join(second, "NEW"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := tryInFolder(t, second, "deploy/release/build", "v1.2.3", filepath.Join(out, "c"), "linux/amd64")
	if err == nil || !strings.Contains(output, "is v1.2.3+dirty, not v1.2.3") {
		t.Errorf("building with changes: got %v and\n%s", err, output)
	}
	if _, err := os.Stat(filepath.Join(out, "c")); err == nil {
		t.Error("a refused build left files")
	}
}

// checkSBOM compares the bill of materials of a binary with what the Go tool
// wrote into the binary: the same modules and no other, and the standard library.
func checkSBOM(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	type component struct{ Name, Version, PURL string }
	var bom struct {
		BOMFormat, SerialNumber string
		Metadata                struct{ Component component }
		Components              []component
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") {
		t.Errorf("it has the format %q and the serial number %q", bom.BOMFormat, bom.SerialNumber)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if c := bom.Metadata.Component; c.Name != info.Main.Path || c.Version != info.Main.Version {
		t.Errorf("it describes %s %s, want %s %s", c.Name, c.Version, info.Main.Path, info.Main.Version)
	}
	want := []string{"std " + info.GoVersion}
	for _, module := range info.Deps {
		want = append(want, module.Path+" "+module.Version)
	}
	var got []string
	for _, c := range bom.Components {
		got = append(got, c.Name+" "+c.Version)
		if c.Name != "std" && !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@"+c.Version) {
			t.Errorf("the package URL of %s %s is %s", c.Name, c.Version, c.PURL)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) < 10 || !slices.Equal(got, want) {
		t.Errorf("modules:\n got %q\nwant %q", got, want)
	}
}

// The notes of a release are its section of the changelog.
func TestNotes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	copyFile(t, "notes", filepath.Join(folder, "deploy/release/notes"))
	changelog := `# Changelog

## [Unreleased]

- later

## [1.10.0] - 2027-02-01

### Security

- ten

## [1.1.0] - 2027-01-01

- one

## [0.9.0] - 2026-12-01

[Unreleased]: https://example.com/a
`
	if err := os.WriteFile(filepath.Join(folder, "CHANGELOG.md"), []byte(changelog), 0o600); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"v1.10.0": "### Security\n\n- ten",
		"v1.1.0":  "- one",
	} {
		if got := inFolder(t, folder, "deploy/release/notes", version); got != want {
			t.Errorf("notes of %s: got %q, want %q", version, got, want)
		}
	}
	for _, version := range []string{"v2.0.0", "v1.1", "v0.9.0", "Unreleased"} {
		if got, err := tryInFolder(t, folder, "deploy/release/notes", version); err == nil || !strings.Contains(got, "CHANGELOG.md has no section") {
			t.Errorf("notes of %s: got %v and %q", version, err, got)
		}
	}
}
