package orgfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// empty is a file without organizations.
const empty = "{\"organizations\": []}\n"

// Read reads the file at path.
func Read(path string) (*Document, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; customersession organization add makes it", err)
	}
	if err != nil {
		return nil, err
	}
	document, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return document, nil
}

// Edit replaces the file at path by an edited version, as a whole or not at all.
// It keeps mode and owner of the file, and follows a symbolic link. Commands that
// edit files of the same folder at the same time wait for each other until ctx
// is done. Without an error the new version is on the disk.
func Edit(ctx context.Context, path string, edit func(*Document) error) error {
	return editFile(ctx, path, Read, edit)
}

// EditOrCreate is Edit, for a file that may be missing. A new one has mode 0600.
func EditOrCreate(ctx context.Context, path string, edit func(*Document) error) error {
	return editFile(ctx, path, readOrNew, edit)
}

// readOrNew is Read, for a file that may be missing.
func readOrNew(path string) (*Document, error) {
	document, err := Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Parse([]byte(empty))
	}
	return document, err
}

func editFile(ctx context.Context, path string, read func(path string) (*Document, error), edit func(*Document) error) error {
	// What is read is what is replaced, also if the link changes meanwhile.
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		path = target
	} else if info, lost := os.Lstat(path); lost == nil && info.Mode()&fs.ModeSymlink != 0 {
		// What it leads to may be a volume that is not mounted now.
		return fmt.Errorf("%s is a symbolic link that leads to no file: %w", path, err)
	}
	unlock, err := lock(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	document, err := read(path)
	if err != nil {
		return err
	}
	if err := edit(document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := replace(path, document.tree.Pack()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
