package revocations

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const (
	// fileTimeout is for one call, including the wait for the lock.
	fileTimeout = 5 * time.Second
	// lockPause is the time between two attempts to take the lock.
	lockPause = 2 * time.Millisecond
	// compactFrom is the number of lines from which a file is compacted, when at
	// least half of them may be forgotten.
	compactFrom = 1000
)

// File is a log in a file of this host, for any number of its processes: JSON
// Lines, of which the first is the header. [InitFile] makes it.
//
// All look for the file by its path at each call, under a lock on another file,
// path.lock, because the log itself is replaced when it is compacted. Never remove
// the lock while a process uses the log.
//
// A file that was restored from a backup is a new incarnation. It is recognized
// by its inode number, which is not the one in its header any more, or by the
// position in the lock file, which it has not got to.
type File struct {
	path string
	kind string // in the header
	like string // the file whose owner new files get; empty: that of path

	mu      sync.Mutex
	file    *os.File    // what was read, nil if nothing was
	info    fs.FileInfo // of file, when it was read
	newest  Position
	offset  int64  // the end of the last whole line
	last    []byte // that line
	lines   int    // without the header
	lastSeq int64  // of that line
	inode   uint64 // in the header
	records records
}

// NewFile returns the log in the file at path. It does not open it, and the file
// may be missing for now.
func NewFile(path string) *File { return &File{path: path} }

// InitFile makes the file of a log, with mode 0600, if there is none.
func InitFile(ctx context.Context, path string) error {
	f := NewFile(path)
	defer f.Close()
	return f.init(ctx)
}

func (f *File) init(ctx context.Context) error {
	if err := f.makeLock(); err != nil {
		return unavailable(err)
	}
	return f.locked(ctx, (*flock.Flock).TryLockContext, func() error {
		if err := f.catchUp(); !errors.Is(err, fs.ErrNotExist) {
			return f.renewCopy(err)
		}
		return f.rewrite(Position{Log: rand.Text()}, nil)
	})
}

// Append implements [Log].
func (f *File) Append(ctx context.Context, entry Entry) (Record, error) {
	if err := entry.check(); err != nil {
		return Record{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var record Record
	err := f.locked(ctx, (*flock.Flock).TryLockContext, func() error {
		if err := f.renewCopy(f.catchUp()); err != nil {
			return err
		}
		record = entry.record(f.newest.Seq+1, time.Now())
		if err := f.write(record); err != nil {
			return err
		}
		// The record is durable. If the file cannot be made smaller now, the next
		// append tries again.
		_ = f.compact(time.Now())
		return nil
	})
	if err != nil {
		return Record{}, fmt.Errorf("appending to the revocation log: %w", err)
	}
	return record, nil
}

// Read implements [Log]. When nothing has changed, it only looks at the size and
// the time of the file.
func (f *File) Read(ctx context.Context, after Position) (Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.unchanged() {
		return f.records.page(f.newest, after, now), nil
	}
	err := f.locked(ctx, (*flock.Flock).TryRLockContext, f.catchUp)
	if errors.Is(err, errCopy) {
		err = f.locked(ctx, (*flock.Flock).TryLockContext, func() error { return f.renewCopy(f.catchUp()) })
	}
	if err != nil {
		return Page{}, fmt.Errorf("reading the revocation log: %w", err)
	}
	return f.records.page(f.newest, after, now), nil
}

// Close implements [Log].
func (f *File) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget()
}

// forget makes the next look begin at the start of the file.
func (f *File) forget() {
	if f.file != nil {
		_ = f.file.Close() // all of it is synced
	}
	f.file, f.info, f.newest = nil, nil, Position{}
	f.offset, f.last, f.lines, f.lastSeq, f.inode = 0, nil, 0, 0, 0
	f.records = records{}
}

// unchanged reports whether all of the file has been read. After a torn line it
// never does: the same size could then be that of another line.
func (f *File) unchanged() bool {
	info, err := os.Lstat(f.path)
	return err == nil && f.file != nil && os.SameFile(info, f.info) && f.offset == info.Size() &&
		info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime())
}

// locked calls do under the lock that take takes: shared to read, or exclusive.
// An error that says nothing else means that the log is unavailable.
func (f *File) locked(ctx context.Context, take func(*flock.Flock, context.Context, time.Duration) (bool, error), do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, fileTimeout)
	defer cancel()
	lock := flock.New(f.lockPath(), flock.SetFlag(os.O_RDONLY))
	_, err := take(lock, ctx, lockPause)
	if errors.Is(err, fs.ErrNotExist) {
		// Without a log there is no lock to make either: it would be of a user
		// who only looked.
		if _, err = os.Lstat(f.path); err == nil {
			if err = f.makeLock(); err == nil {
				_, err = take(lock, ctx, lockPause)
			}
		}
	}
	if err == nil {
		defer lock.Close()
		err = do()
	} else if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("another process keeps %s locked: %w", f.lockPath(), err)
	}
	if err == nil || errors.Is(err, ErrRefused) || errors.Is(err, errCopy) {
		return err
	}
	return unavailable(err)
}

func (f *File) lockPath() string { return f.path + ".lock" }

// makeLock makes the lock file, for the owner of the log, if there is none.
func (f *File) makeLock() error {
	file, err := os.OpenFile(f.lockPath(), os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(keepOwner(file, f.path, f.like), file.Close())
}

func unavailable(err error) error { return fmt.Errorf("%w: %w%s", ErrUnavailable, err, hint(err)) }

// hint says what to do about an error of the operating system.
func hint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "; customersession revocations init makes the file, in a folder that exists"
	case errors.Is(err, fs.ErrPermission):
		return "; the user of the server must be able to read and write the file and its .lock, and to make files in their folder"
	case isFull(err):
		return "; make room on the disk, or raise the limit"
	}
	return ""
}

// catchUp reads what is new in the file, and makes it durable: the process that
// wrote it may have been killed before it did that, and a number that a reader has
// seen must never be given again. The caller has the lock. The error is errCopy
// if the file must become a new incarnation.
func (f *File) catchUp() error {
	info, err := os.Lstat(f.path)
	if err != nil {
		f.forget()
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file; name the file itself, not a link to it", ErrRefused, f.path)
	}
	if f.file == nil || !os.SameFile(info, f.info) {
		f.forget()
		if f.file, err = os.OpenFile(f.path, os.O_RDWR, 0); err != nil {
			return err
		}
	}
	tail, err := io.ReadAll(io.NewSectionReader(f.file, f.offset-int64(len(f.last)), info.Size()))
	if err != nil {
		return err
	}
	news, ok := bytes.CutPrefix(tail, f.last)
	if !ok {
		// Another version was written into the same file.
		return errCopy
	}
	if err := f.parse(news); err != nil {
		f.forget()
		return err
	}
	if len(news) > 0 {
		if err := f.file.Sync(); err != nil {
			f.forget()
			return err
		}
	}
	f.info = info
	if err := f.checkCopy(); err != nil {
		f.forget()
		return err
	}
	return nil
}

// checkCopy returns errCopy if the file may lack what was in the log.
func (f *File) checkCopy() error {
	node, err := inode(f.info)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(f.lockPath())
	if err != nil {
		return err
	}
	var mark Position
	// Another number of items means that nothing was noted, or only half of it
	// before a crash.
	n, _ := fmt.Sscanf(string(text), markFormat, &mark.Log, &mark.Seq)
	if node != f.inode || n == 2 && (mark.Log != f.newest.Log || mark.Seq > f.newest.Seq) {
		return errCopy
	}
	return nil
}

// errCopy means that the file is a copy.
var errCopy = errors.New("the file is a copy")

const markFormat = "%s %d\n"

// mark notes the newest position in the lock file. It need not survive a crash of
// the machine.
func (f *File) mark() error {
	return os.WriteFile(f.lockPath(), fmt.Appendf(nil, markFormat, f.newest.Log, f.newest.Seq), 0o600)
}

// write appends a record. The caller has the lock and has caught up.
func (f *File) write(record Record) error {
	line := appendLine(nil, record)
	if f.info.Size() > f.offset {
		// The rest is of a line that a crash tore.
		if err := f.file.Truncate(f.offset); err != nil {
			return err
		}
	}
	_, err := f.file.WriteAt(line, f.offset)
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		_ = f.file.Truncate(f.offset) // else the next append does it, or readers take the line
		f.forget()
		return err
	}
	f.take(record, line)
	if f.info, err = f.file.Stat(); err != nil {
		return err
	}
	_ = f.mark() // it only helps to recognize copies, and the record is durable
	return nil
}

// take takes a record that ends the file.
func (f *File) take(record Record, line []byte) {
	f.records.add(record)
	f.lastSeq = record.Seq
	f.newest.Seq = max(f.newest.Seq, record.Seq)
	f.lines++
	f.offset += int64(len(line))
	f.last = append(f.last[:0], line...)
}

// compact rewrites the file if it is worth it.
func (f *File) compact(now time.Time) error {
	f.records.drop(now)
	if dropped := f.lines - len(f.records.list); f.lines < compactFrom || dropped < f.lines/2 {
		return nil
	}
	return f.rewrite(f.newest, f.records.list)
}

// renewCopy makes a new incarnation of a file if err is errCopy. The caller has
// the exclusive lock.
func (f *File) renewCopy(err error) error {
	if !errors.Is(err, errCopy) {
		return err
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	copied := NewFile(f.path)
	copied.kind = f.kind
	if err := copied.parse(text); err != nil {
		return err
	}
	copied.newest.Log = rand.Text()
	return f.rewrite(copied.newest, copied.records.list)
}

// rewrite replaces the file by one with some records, and reads it. The caller has
// the exclusive lock.
func (f *File) rewrite(newest Position, list []Record) error {
	name := f.path + ".new"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.fill(file, newest, list)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(name, f.path)
	}
	if err != nil {
		_ = os.Remove(name) // the next one does it otherwise
		return err
	}
	f.forget()
	if err := syncFolder(filepath.Dir(f.path)); err != nil {
		return err
	}
	f.newest = newest
	if err := f.mark(); err != nil {
		return err
	}
	err = f.catchUp()
	if errors.Is(err, errCopy) {
		return fmt.Errorf("%w: %s: this file system changes the numbers of inodes; use a local disk", ErrRefused, f.path)
	}
	return err
}

// fill writes a whole new file, and makes it durable.
func (f *File) fill(file *os.File, newest Position, list []Record) error {
	if err := keepOwner(file, f.path, f.lockPath()); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	node, err := inode(info)
	if err != nil {
		return err
	}
	text := appendJSON(nil, fileHeader{Version: fileVersion, Log: newest.Log, Seq: newest.Seq, Inode: node, Kind: f.kind})
	for _, record := range list {
		text = appendLine(text, record)
	}
	if _, err := file.Write(text); err != nil {
		return err
	}
	return file.Sync()
}
