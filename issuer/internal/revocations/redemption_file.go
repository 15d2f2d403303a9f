package revocations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/gofrs/flock"
)

const (
	// redemption is the scope of the records in a file of redemptions.
	redemption Scope = "redemption"
	// redemptionsSuffix is what the path has after that of the log.
	redemptionsSuffix = ".redemptions"
)

// FileRedemptions are in a file beside a log: in the same form, and kept by the same
// means. See [File].
type FileRedemptions struct {
	file *File
}

// NewFileRedemptions returns the redemptions beside the log in the file at path. It
// does not open their file, which may be missing for now.
func NewFileRedemptions(path string) *FileRedemptions {
	file := NewFile(path + redemptionsSuffix)
	file.kind, file.like = "redemptions", path
	return &FileRedemptions{file}
}

// init makes the file, with mode 0600, if there is none.
func (r *FileRedemptions) init(ctx context.Context) error {
	defer r.Close()
	return r.file.init(ctx)
}

// Redeem implements [Redemptions].
func (r *FileRedemptions) Redeem(ctx context.Context, asked Redemption) (outcome Outcome, err error) {
	f := r.file
	f.mu.Lock()
	defer f.mu.Unlock()
	err = f.locked(ctx, (*flock.Flock).TryLockContext, func() error {
		if err := f.renewCopy(f.catchUp()); err != nil {
			return err
		}
		outcome, err = r.enter(&asked, time.Now())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("redeeming a code: %w", err)
	}
	return outcome, nil
}

// enter judges an attempt, and enters the first. The caller has the lock and has
// caught up.
func (r *FileRedemptions) enter(asked *Redemption, now time.Time) (Outcome, error) {
	f := r.file
	if !now.Before(asked.DropAt) {
		return Late, nil
	}
	id := asked.SessionID.String()
	for _, record := range slices.Backward(f.records.list) {
		if record.ID == id {
			return record.redeemed.outcome(asked, now), nil
		}
	}
	entry := redeemed{asked.Attempt, now, asked.DropAt}
	if err := f.write(Record{Seq: f.newest.Seq + 1, Scope: redemption, ID: id, DropAt: asked.DropAt, redeemed: &entry}); err != nil {
		return 0, err
	}
	// The entry is durable. See [File.Append].
	_ = f.compact(now)
	return Redeemed, nil
}

// read returns the entries that may not be forgotten yet.
func (r *FileRedemptions) read(ctx context.Context) ([]Record, error) {
	page, err := r.file.Read(ctx, Position{})
	return page.Records, err
}

// Check implements [Redemptions]. A file that is missing does not come back by
// itself.
func (r *FileRedemptions) Check(ctx context.Context) error {
	if _, err := os.Lstat(r.file.path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no file %s; customersession revocations init makes it", ErrRefused, r.file.path)
	}
	_, err := r.read(ctx)
	return err
}

// Close implements [Redemptions].
func (r *FileRedemptions) Close() { r.file.Close() }
