package kubesecret_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/kubesecret"
)

func mustNew(t testing.TB, config kubesecret.Config) *kubesecret.Secret {
	t.Helper()
	s, err := kubesecret.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantRead checks the manifest that is stored, and returns its revision.
func wantRead(t *testing.T, s *kubesecret.Secret, want *keys.Manifest) (revision string) {
	t.Helper()
	got, revision, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Encode(), want.Encode()) {
		t.Errorf("got version %d, want version %d", got.Version, want.Version)
	}
	return revision
}

func mustWrite(t *testing.T, s *kubesecret.Secret, m *keys.Manifest, revision string) {
	t.Helper()
	if err := s.Write(t.Context(), m, revision); err != nil {
		t.Fatal(err)
	}
}

// wantConflict checks that the error is a conflict.
func wantConflict(t *testing.T, err error) {
	t.Helper()
	wantError(t, err)
	if !errors.Is(err, keys.ErrConflict) {
		t.Errorf("got %v, want %v", err, keys.ErrConflict)
	}
}

func wantNotExist(t *testing.T, s *kubesecret.Secret) {
	t.Helper()
	m, revision, err := s.Read(t.Context())
	if m != nil || revision != "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, revision %q, %v, want %v", m, revision, err, fs.ErrNotExist)
	}
}

// writeFile writes a file in a folder of the test.
func writeFile(t testing.TB, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
