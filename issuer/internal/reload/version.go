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

// recent is for how long after a change a file may change again without
// another size or time of change: the clocks of file systems are coarse. So
// long its content is compared as well.
const recent = 2 * time.Second

// errUnstable says that the file was being written.
var errUnstable = errors.New("the file changed while it was read")

// checksum tells versions of a file apart. The zero checksum is none.
type checksum struct {
	known bool
	value uint64
}

// history is what earlier looks at the file found.
type history struct {
	info    fs.FileInfo // of the last look; nil: there was no file
	again   bool        // look again even if the file seems unchanged
	used    checksum    // of the version in use
	refused checksum    // of the version that Load refused, if it was the last
	// complaint tells apart what was refused last; empty: nothing was.
	complaint string
}

// unchanged reports whether a file with this info need not be read.
func (h *history) unchanged(info fs.FileInfo) bool {
	return h.info != nil && !h.again && os.SameFile(h.info, info) &&
		h.info.Size() == info.Size() && h.info.ModTime().Equal(info.ModTime())
}

// finding is the outcome of reading the file.
type finding struct {
	kind  Kind // Replaced: a new version was loaded; zero: nothing new
	err   error
	sum   checksum
	retry bool // read again even if the file seems unchanged
}

// complaint returns what tells this refusal from others.
func (f finding) complaint() string {
	if f.sum.known {
		return "version " + strconv.FormatUint(f.sum.value, 16)
	}
	return f.err.Error()
}

// read loads the file if there may be a version in it that is not in use.
func (f *File[T]) read(ctx context.Context, force bool) (next T, found finding) {
	file, info, err := open(f.config.Path)
	if err != nil {
		f.past.info = nil
		return next, finding{kind: Refused, err: err}
	}
	defer file.Close()
	if !force && f.past.unchanged(info) {
		return next, finding{}
	}
	f.past.info = info
	f.past.again = time.Since(info.ModTime()).Abs() < recent

	sum, err := f.sum(ctx, file)
	switch {
	case err != nil:
		return next, finding{kind: Refused, err: err, retry: true}
	case !force && sum == f.past.used:
		return next, finding{kind: Restored, sum: sum}
	case !force && sum == f.past.refused:
		return next, finding{}
	}
	next, err = f.load(ctx, file, sum)
	switch {
	case errors.Is(err, errUnstable):
		return next, finding{kind: Refused, err: err, retry: true}
	case err != nil:
		return next, finding{kind: Refused, err: err, sum: sum, retry: isTransient(err)}
	}
	return next, finding{kind: Replaced, sum: sum}
}

// open opens a regular file. Anything else could block for ever.
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
	// Once more, for the path may lead to another file by now.
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

// load reads the file again, for its value. It fails with errUnstable when it
// reads another version than sum.
func (f *File[T]) load(ctx context.Context, file *os.File, sum checksum) (T, error) {
	var none T
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return none, err
	}
	var hash maphash.Hash
	hash.SetSeed(f.seed)
	source := io.TeeReader(reader(ctx, file), &hash)
	value, err := f.config.Load(source)

	// What Load did not want to read belongs to the version all the same.
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

// reader returns r until ctx is done, so that loading a large file does not
// hold up the end of the program.
func reader(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}
