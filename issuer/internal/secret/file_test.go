package secret_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/secret"
)

func TestReadFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, content, want, problem string }{
		{"with a line break", " s3cret\r\n", "s3cret", ""},
		{"longest", strings.Repeat("x", 16<<10), strings.Repeat("x", 16<<10), ""},
		{"too long", strings.Repeat("x", 16<<10) + "\n", "", "is longer than 16384 bytes"},
		{"byte order mark", "\ufeffs3cret", "", "begins with a byte order mark"},
		{"empty", " \n", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := secret.ReadFile(path)
			if got.Reveal() != test.want {
				t.Errorf("got %d bytes, want %d", len(got), len(test.want))
			}
			if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
				t.Errorf("got error %v, want %q", err, test.problem)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
	if _, err := secret.ReadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}
