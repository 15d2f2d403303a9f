package reload

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"
)

const (
	// recent is how long after a change a file may change again without its
	// size or modification time showing it: the clocks of file systems are
	// coarse. For that long the content is compared as well.
	recent = 2 * time.Second
	// A refused version is loaded again after retrySoon, at the next look, if
	// it was being written, and after retryLater if it may become good.
	retrySoon  = poll / 2
	retryLater = 5 * time.Second
)

// errUnstable means that the file was being written.
var errUnstable = errors.New("the file changed while it was read")

// checksum identifies a version of a file. The zero checksum is none.
type checksum struct {
	known bool
	value uint64
}

// history is what earlier looks at the file found.
type history struct {
	info    fs.FileInfo // of the last look; nil: there was no file
	again   time.Time   // when to read a file that seems unchanged; zero: never
	used    checksum    // of the version in use
	refused checksum    // of the version that Load refused, if it was the last
	// complaint identifies the last refusal; empty: there was none since the
	// last good version.
	complaint string
}

// unchanged reports whether a file with this info need not be read.
func (h *history) unchanged(info fs.FileInfo) bool {
	due := !h.again.IsZero() && !time.Now().Before(h.again)
	return !due && h.info != nil && same(h.info, info)
}

// same reports whether two looks at a path, nil where there was no file, seem to
// have found the same version.
func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// finding is the outcome of reading the file.
type finding struct {
	kind  Kind // Replaced: a new version was loaded; zero: nothing new
	err   error
	sum   checksum
	retry time.Duration // when to load the same version again; zero: never
}

// refusal is the outcome of a version that Load or Prepare refuses.
func refusal(err error, sum checksum) finding {
	found := finding{kind: Refused, err: err, sum: sum}
	if isTransient(err) {
		found.retry = retryLater
	}
	return found
}

// complaint identifies this refusal.
func (f finding) complaint() string {
	if f.sum.known {
		return "version " + strconv.FormatUint(f.sum.value, 16)
	}
	return f.err.Error()
}

// read loads the file if it may hold a version that is not in use.
func (f *File[T]) read(ctx context.Context) (next T, found finding) {
	file, info, err := open(f.config.Path)
	if err != nil {
		f.past.info = nil
		return next, finding{kind: Refused, err: err}
	}
	defer file.Close()
	if f.past.unchanged(info) {
		return next, finding{}
	}
	f.past.info, f.past.again = info, time.Time{}
	if time.Since(info.ModTime()).Abs() < recent {
		f.past.again = time.Now()
	}
	if err := f.guard(); err != nil {
		return next, finding{kind: Refused, err: err, retry: retryLater}
	}
	sum, err := f.sum(ctx, file)
	switch {
	case err != nil:
		return next, finding{kind: Refused, err: err, retry: retrySoon}
	case sum == f.past.used:
		return next, finding{kind: Restored, sum: sum}
	case sum == f.past.refused:
		return next, finding{}
	}
	next, err = f.load(ctx, file, sum)
	switch {
	case errors.Is(err, errUnstable):
		return next, finding{kind: Refused, err: err, retry: retrySoon}
	case err != nil:
		return next, refusal(err, sum)
	}
	return next, finding{kind: Replaced, sum: sum}
}

// guard asks whether the file may be read.
func (f *File[T]) guard() error {
	if f.config.Guard == nil {
		return nil
	}
	return f.config.Guard(f.config.Path)
}

// open opens a regular file. Anything else could block forever.
func open(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	// Again, because the path may lead to another file by now.
	if info, err = file.Stat(); err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// sum reads the file to its end.
func (f *File[T]) sum(ctx context.Context, file *os.File) (checksum, error) {
	var hash maphash.Hash
	hash.SetSeed(f.seed)
	if _, err := io.Copy(&hash, reader(ctx, file)); err != nil {
		return checksum{}, err
	}
	return checksum{known: true, value: hash.Sum64()}, nil
}

// load reads the file again and makes its value. It fails with errUnstable if
// the content no longer matches sum.
func (f *File[T]) load(ctx context.Context, file *os.File, sum checksum) (T, error) {
	var none T
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return none, err
	}
	var hash maphash.Hash
	hash.SetSeed(f.seed)
	source := io.TeeReader(reader(ctx, file), &hash)
	value, err := f.config.Load(source)

	// What Load left unread is part of the version, too.
	if _, err := io.Copy(io.Discard, source); err != nil {
		return none, err
	}
	if hash.Sum64() != sum.value {
		return none, errUnstable
	}
	if err != nil {
		return none, err
	}
	return value, nil
}

// readerFunc is a function that reads.
type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

// reader reads from r until ctx is done, so that loading a large file does not
// delay the end of the program.
func reader(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}
