package clock

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Build compiles the command of an import path, or of a folder that begins
// with a dot, and returns the path of a program that is removed when the test
// ends. The first build on a machine compiles most of the standard library
// again; later ones find it in Go's build cache and only link. Flags are more
// ones of `go build`, such as "-tags=pkcs11".
func Build(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	program, err := BuildTo(t.Context(), t.TempDir(), pkg, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// BuildTo is [Build] for a program that several tests share: it is written to
// the folder, under the last name of pkg.
func BuildTo(ctx context.Context, dir, pkg string, flags ...string) (program string, err error) {
	root, err := linkGo(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("building %s with another clock: %w", pkg, err)
	}
	overlay, err := writeOverlay(root, dir)
	if err != nil {
		return "", fmt.Errorf("building %s with another clock: %w", pkg, err)
	}
	program = filepath.Join(dir, path.Base(filepath.ToSlash(pkg)))
	args := slices.Concat([]string{"build", "-overlay", overlay, "-o", program}, flags, []string{pkg})
	build := exec.CommandContext(ctx, filepath.Join(root, "bin", "go"), args...) //nolint:gosec // a package and flags that the test names
	build.Env = append(build.Environ(), "GOROOT="+root, "GOTOOLCHAIN=local")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s with another clock: %w\n%s", pkg, err, output)
	}
	return program, nil
}

// linkGo returns a symbolic link to the installation of Go that builds here. A
// version that Go itself downloaded is in the module cache, and no file of that
// may be replaced by its own path.
func linkGo(ctx context.Context, dir string) (root string, err error) {
	output, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking for GOROOT: %w", err)
	}
	dir, err = os.MkdirTemp(dir, "go-")
	if err != nil {
		return "", err
	}
	root = filepath.Join(dir, "root")
	return root, os.Symlink(strings.TrimSpace(string(output)), root)
}

// writeOverlay writes the changed files to the folder and returns the path of
// the list of them that `go build` takes.
func writeOverlay(root, dir string) (list string, err error) {
	source := filepath.Join(root, "src")
	dir, err = os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, text := range added() {
		replace[filepath.Join(source, name)], err = writeFile(dir, name, text)
		if err != nil {
			return "", err
		}
	}
	for name, changes := range changed() {
		original, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		text, err := apply(string(original), changes)
		if err != nil {
			return "", fmt.Errorf("changing %s: %w", name, err)
		}
		replace[filepath.Join(source, name)], err = writeFile(dir, name, text)
		if err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	return writeFile(dir, "overlay.json", string(text))
}

// writeFile writes a file of the overlay and returns its path.
func writeFile(dir, name, text string) (string, error) {
	file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
	return file, os.WriteFile(file, []byte(text), 0o600) //nolint:gosec // a name that this package chose
}
