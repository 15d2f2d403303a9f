package release_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/release"
)

// A module that was replaced is listed as what it was replaced with. A folder
// has no package URL, since nobody else can look it up.
func TestReplaced(t *testing.T) {
	t.Parallel()
	folder := source(t)
	for name, text := range map[string]string{
		"other/go.mod": "module example.com/other\n\ngo 1.26.0\n",
		"other/o.go":   "package other\n",
		"import.go":    "package main\n\nimport _ \"example.com/other\"\n",
		"go.mod": "module " + module + "\n\ngo 1.26.0\n\nrequire example.com/other v1.0.0\n\n" +
			"replace example.com/other => ./other\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
	}
	path, _ := build(t, folder, "-buildvcs=false", "-ldflags=-X main.version=v1.2.3+more")
	got := inFolder(t, ".", nil, path, "sbom")
	for _, want := range []string{
		`"purl": "pkg:golang/example.com/program@v1.2.3%2Bmore"`,
		`"name": "./other",
      "version": "(devel)",
      "properties": [
        {
          "name": "go:replaces",
          "value": "example.com/other"
        }
      ]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the bill of materials has no %s:\n%s", want, got)
		}
	}
	if !json.Valid([]byte(got)) {
		t.Error("the bill of materials is not JSON")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "text")
	write(t, path, "not a program")
	for _, path := range []string{path, filepath.Join(t.TempDir(), "nowhere")} {
		_, err := release.Open(path)
		if err == nil || !strings.HasPrefix(err.Error(), "reading build information: ") || !strings.Contains(err.Error(), path) {
			t.Errorf("opening %s: got %v", path, err)
		}
	}
}
