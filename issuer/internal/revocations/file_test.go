//go:build unix

package revocations_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer/internal/revocations"
)

// TestFile holds the log in a file to the contract.
func TestFile(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) func() revocations.Log {
		t.Helper()
		path := newFile(t)
		return func() revocations.Log { return revocations.NewFile(path) }
	})
}

func newFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "revocations.jsonl")
	initFile(t, path)
	return path
}

func initFile(t testing.TB, path string) {
	t.Helper()
	if err := revocations.InitFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
}

func openFile(t testing.TB, path string) *revocations.File {
	t.Helper()
	log := revocations.NewFile(path)
	t.Cleanup(log.Close)
	return log
}

// write adds text to the end of a file, as a process does that is killed there.
func write(t testing.TB, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func contents(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// old returns the lines of entries that may be forgotten.
func old(from, count int) string {
	var text strings.Builder
	for seq := from; seq < from+count; seq++ {
		fmt.Fprintf(&text, `{"seq":%d,"scope":"session","organization_id":"%s","id":"old","drop_at":1000000000}`+"\n", seq, acme)
	}
	return text.String()
}

// TestFileProcesses: several processes append, so many entries that the file is
// compacted meanwhile, and a reader sees each one once.
func TestFileProcesses(t *testing.T) {
	t.Parallel()
	const processes, each = 3, 500
	path := newFile(t)
	reader := openFile(t, path)
	var mu sync.Mutex
	var want []string
	var running sync.WaitGroup
	for i := range processes {
		cmd := child(t, nil, path, fmt.Sprintf("%c", 'a'+i), each)
		running.Go(func() {
			list, err := acknowledged(cmd)
			if err != nil || len(list) != each {
				t.Errorf("it appended %d: %v", len(list), err)
			}
			mu.Lock()
			defer mu.Unlock()
			want = append(want, slices.DeleteFunc(list, func(id string) bool { return !stays(id) })...)
		})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()

	var position revocations.Position
	var got []string
	for last := false; !last; {
		select {
		case <-ended:
			last = true
		default:
		}
		page := readFrom(t, reader, position)
		if position.Seq > 0 && (page.Complete || page.Position.Log != position.Log) || page.Position.Seq < position.Seq {
			t.Fatalf("after %v comes %v", position, page.Position)
		}
		if page.Complete {
			got = nil
		}
		got, position = append(got, ids(page.Records)...), page.Position
	}
	slices.Sort(want)
	all := ids(readFrom(t, openFile(t, path), revocations.Position{}).Records)
	for name, list := range map[string][]string{"the reader": got, "a new reader": all} {
		slices.Sort(list)
		if !slices.Equal(list, want) {
			t.Errorf("%s has %d entries, want the %d that were acknowledged", name, len(list), len(want))
		}
	}
	if position.Seq != processes*each {
		t.Errorf("the position is %v after %d appends", position, processes*each)
	}
	if lines := bytes.Count(contents(t, path), []byte("\n")); lines > processes*each*2/3 {
		t.Errorf("the file has %d lines; it was never compacted", lines)
	}
}

// TestFileKilled: processes that append are killed at any time, again and again. A
// number that a reader has seen stays that of its entry, and nothing that was
// acknowledged is lost.
func TestFileKilled(t *testing.T) {
	t.Parallel()
	const rounds, processes = 6, 3
	path := newFile(t)
	reader := openFile(t, path)
	seen := map[int64]string{}
	var position revocations.Position
	var want []string
	for round := range rounds {
		var mu sync.Mutex
		var running sync.WaitGroup
		for i := range processes {
			cmd := child(t, nil, path, fmt.Sprintf("%c%d-", 'a'+i, round), 1_000_000)
			output, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			running.Go(func() {
				lines := bufio.NewScanner(output)
				for n := 0; lines.Scan(); n++ {
					if id := lines.Text(); stays(id) {
						mu.Lock()
						want = append(want, id)
						mu.Unlock()
					}
					if n == 40+17*i { // at another place for each
						_ = cmd.Process.Kill()
					}
				}
				_ = cmd.Wait() // says that it was killed
			})
		}
		ended := make(chan struct{})
		go func() { running.Wait(); close(ended) }()
		for last := false; !last; {
			select {
			case <-ended:
				last = true
			default:
			}
			page := readFrom(t, reader, position)
			if position.Seq > 0 && page.Complete {
				t.Fatalf("after %v comes %v", position, page.Position)
			}
			for _, record := range page.Records {
				if id, ok := seen[record.Seq]; ok {
					t.Errorf("the number %d is of %q, and was of %q", record.Seq, record.ID, id)
				}
				seen[record.Seq] = record.ID
			}
			position = page.Position
		}
	}
	all := readFrom(t, openFile(t, path), revocations.Position{}).Records
	for _, record := range all {
		if seen[record.Seq] != record.ID {
			t.Errorf("the number %d is of %q, and was of %q", record.Seq, record.ID, seen[record.Seq])
		}
	}
	got := ids(all)
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("%q was acknowledged, and is lost", id)
		}
	}
	if len(want) < rounds*processes || len(all) != len(seen) {
		t.Errorf("%d entries were acknowledged; the log has %d, the reader %d", len(want), len(all), len(seen))
	}
}

// TestFileCompaction: what is in force stays, and so do the numbers, the owner and
// those who read.
func TestFileCompaction(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	kept := appendTo(t, openFile(t, path), session("kept"))
	write(t, path, old(int(kept.Seq)+1, 1500))
	owner := os.Geteuid()
	if owner == 0 {
		owner = 65534
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	reader := openFile(t, path)
	before := readFrom(t, reader, revocations.Position{})
	next := appendTo(t, openFile(t, path), session("next"))
	if got, want := bytes.Count(contents(t, path), []byte("\n")), 3; got != want {
		t.Errorf("the file has %d lines, want %d", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; int(got) != owner || info.Mode() != 0o600 {
		t.Errorf("the file is of user %d with mode %v, want %d and 0600", got, info.Mode(), owner)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	readFrom(t, openFile(t, path), revocations.Position{})
	if info, err = os.Stat(path + ".lock"); err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != owner {
		t.Errorf("the new lock is %v, %v; want it to be of user %d", info, err, owner)
	}
	page := readFrom(t, reader, before.Position)
	if page.Complete || !slices.Equal(ids(page.Records), []string{"next"}) || page.Position.Log != before.Position.Log || next.Seq != before.Position.Seq+1 {
		t.Errorf("after %v comes %v", before.Position, page)
	}
	if got := ids(readFrom(t, reader, revocations.Position{}).Records); !slices.Equal(got, []string{"kept", "next"}) {
		t.Errorf("the log has %q", got)
	}
	// All entries dropped, and the file compacted once more: the number goes on.
	write(t, path, old(int(next.Seq)+1, 1500))
	last := appendTo(t, openFile(t, path), dropped("last"))
	if page := readFrom(t, openFile(t, path), revocations.Position{}); page.Position.Seq != last.Seq || last.Seq != next.Seq+1501 {
		t.Errorf("the position is %v after %d", page.Position, last.Seq)
	}
}

// TestFileTorn: a line that a crash tore is ignored, and then gone.
func TestFileTorn(t *testing.T) {
	t.Parallel()
	whole := strings.TrimSuffix(old(2, 1), "\n")
	for name, torn := range map[string]string{
		"one byte": "{", "half": whole[:40], "all but its end": whole, "longer than the next": whole[:60] + strings.Repeat("x", 255), "zeros": "\x00\x00\x00\x00",
		"zeros first": "\x00\x00\x00" + whole[3:] + "\n", "zeros to the end": whole[:20] + "\x00\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newFile(t)
			appendTo(t, openFile(t, path), session("first"))
			reader := openFile(t, path)
			before := readFrom(t, reader, revocations.Position{})
			write(t, path, torn)
			for _, log := range []revocations.Log{reader, openFile(t, path)} {
				if page := readFrom(t, log, revocations.Position{}); page.Position != before.Position || !slices.Equal(ids(page.Records), []string{"first"}) {
					t.Errorf("with a torn line it is %v, was %v", page, before)
				}
			}
			appendTo(t, openFile(t, path), session("second"))
			for _, log := range []revocations.Log{reader, openFile(t, path)} {
				if got := ids(readFrom(t, log, revocations.Position{}).Records); !slices.Equal(got, []string{"first", "second"}) {
					t.Errorf("then the log has %q", got)
				}
			}
			if got := bytes.Count(contents(t, path), []byte("\n")); got != 3 || !bytes.HasSuffix(contents(t, path), []byte("}\n")) || bytes.Contains(contents(t, path), []byte{0}) {
				t.Errorf("the file is not healed:\n%q", contents(t, path))
			}
		})
	}
}

// TestFileRefused: a file that is damaged, or something else, is refused, and is
// left as it is.
func TestFileRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(text string) string
		want   string
	}{
		"a line in the middle": {func(text string) string { return strings.Replace(text, `"id":"b"`, `"id":"b`, 1) }, "line 3 is damaged"},
		"the last line":        {func(text string) string { return strings.Replace(text, `"id":"c"`, `"id":"c`, 1) }, "line 4 is damaged"},
		"the order":            {func(text string) string { return strings.Replace(text, `"seq":3`, `"seq":2`, 1) }, "line 4 is damaged"},
		"a newer version":      {func(text string) string { return strings.Replace(text, `"version":1`, `"version":2`, 1) }, "line 1 is damaged"},
		"a newer line":         {func(text string) string { return strings.Replace(text, `"id":"b"`, `"id":"b","new":1`, 1) }, "line 3 is damaged"},
		"another file":         {func(string) string { return "{\"organizations\": []}\n" }, "line 1 is damaged"},
		"no line":              {func(string) string { return "" }, "no header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newFile(t)
			for _, id := range []string{"a", "b", "c"} {
				appendTo(t, openFile(t, path), session(id))
			}
			text := test.change(string(contents(t, path)))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			log := openFile(t, path)
			_, readErr := log.Read(t.Context(), revocations.Position{})
			_, appendErr := log.Append(t.Context(), session("d"))
			for _, err := range []error{readErr, appendErr, revocations.InitFile(t.Context(), path)} {
				if !errors.Is(err, revocations.ErrRefused) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error is %v, want %q", err, test.want)
				}
			}
			if got := string(contents(t, path)); got != text {
				t.Errorf("the file was changed to\n%s", got)
			}
		})
	}
	path := newFile(t)
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := openFile(t, link).Append(t.Context(), session("a")); !errors.Is(err, revocations.ErrRefused) {
		t.Errorf("through a symbolic link: %v", err)
	}
}

// TestFileAway: a file that is missing or locked is said to be, and the log works
// again as soon as it is there.
func TestFileAway(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	log := openFile(t, path)
	appendTo(t, log, session("a"))
	before := readFrom(t, log, revocations.Position{})
	away := path + ".away"
	fails := func(ctx context.Context, log revocations.Log, want string) {
		t.Helper()
		_, readErr := log.Read(ctx, before.Position)
		_, appendErr := log.Append(ctx, session("b"))
		for _, err := range []error{readErr, appendErr} {
			if !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want %q", err, want)
			}
		}
	}
	if err := os.Rename(path, away); err != nil {
		t.Fatal(err)
	}
	fails(t.Context(), log, "revocations init makes the file")
	fails(t.Context(), openFile(t, filepath.Join(t.TempDir(), "missing", "log")), "in a folder that exists")
	empty := t.TempDir()
	fails(t.Context(), openFile(t, filepath.Join(empty, "log")), "revocations init makes the file")
	if left, err := os.ReadDir(empty); len(left) > 0 || err != nil {
		t.Errorf("who looked for a log left %v, %v", left, err)
	}
	if err := os.Rename(away, path); err != nil {
		t.Fatal(err)
	}
	if page := readFrom(t, log, before.Position); page.Complete || page.Position != before.Position {
		t.Errorf("it came back as %v, was %v", page, before)
	}

	lock := flock.New(path + ".lock")
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	fails(ctx, openFile(t, path), "another process keeps")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, session("b"))
}

// TestFileRestored: a backup that was restored, in whichever way, is another
// incarnation, whether or not a process has the log open.
func TestFileRestored(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	for name, restore := range map[string]func(path string, backup []byte){
		"into the same file": func(path string, backup []byte) { must(os.WriteFile(path, backup, 0o600)) },
		"as a new file": func(path string, backup []byte) {
			must(os.WriteFile(path+".copy", backup, 0o600))
			must(os.Rename(path+".copy", path))
		},
		"after removing all": func(path string, backup []byte) {
			must(os.WriteFile(path+".copy", backup, 0o600)) // else the number of the inode may be the old one
			must(errors.Join(os.Remove(path), os.Remove(path+".lock")))
			must(os.Rename(path+".copy", path))
		},
		"as the file that it was": func(path string, backup []byte) {
			must(os.Rename(path, path+".lost"))
			must(os.WriteFile(path, backup, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newFile(t)
			open := openFile(t, path)
			appendTo(t, open, session("a"))
			backup := contents(t, path)
			appendTo(t, open, session("b"))
			before := readFrom(t, open, revocations.Position{})
			restore(path, backup)
			for _, log := range []revocations.Log{openFile(t, path), open} {
				page := readFrom(t, log, before.Position)
				if !page.Complete || page.Position.Log == before.Position.Log || !slices.Equal(ids(page.Records), []string{"a"}) {
					t.Errorf("restored, it is %v, was %v", page, before)
				}
			}
			after := readFrom(t, open, revocations.Position{})
			appendTo(t, openFile(t, path), session("c"))
			if page := readFrom(t, open, after.Position); page.Complete || !slices.Equal(ids(page.Records), []string{"c"}) {
				t.Errorf("after %v comes %v", after.Position, page)
			}
		})
	}
	t.Run("an exact copy", func(t *testing.T) {
		t.Parallel()
		path := newFile(t)
		open := openFile(t, path)
		appendTo(t, open, session("a"))
		before := readFrom(t, open, revocations.Position{})
		info, err := os.Stat(path)
		must(err)
		must(os.WriteFile(path+".copy", contents(t, path), 0o600))
		must(os.Chtimes(path+".copy", info.ModTime(), info.ModTime()))
		must(os.Rename(path+".copy", path))
		if page := readFrom(t, open, before.Position); !page.Complete || page.Position.Log == before.Position.Log {
			t.Errorf("it is %v, was %v", page, before)
		}
	})
	t.Run("into the same file that has grown since", func(t *testing.T) {
		t.Parallel()
		path := newFile(t)
		open := openFile(t, path)
		appendTo(t, open, session("a"))
		before := readFrom(t, open, revocations.Position{})
		must(os.Remove(path + ".lock"))
		text := strings.Replace(string(contents(t, path)), `"id":"a"`, `"id":"z"`, 1) + old(2, 3)
		must(os.WriteFile(path, []byte(text), 0o600))
		if page := readFrom(t, open, before.Position); !page.Complete || page.Position.Log == before.Position.Log {
			t.Errorf("it is %v, was %v", page, before)
		}
	})
}

// The system calls that change the disk, or make a change durable. A process
// killed between two of them leaves what a crash would leave there.
const diskCalls = "openat,flock,write,pwrite64,ftruncate,fchown,fsync,close,rename,renameat,renameat2,unlink,unlinkat"

// TestFilePowerLoss kills a process that appends at each of its system calls that
// touch the disk, also while it compacts the file or heals a line: nothing that was
// acknowledged is lost, and the next process goes on.
func TestFilePowerLoss(t *testing.T) {
	t.Parallel()
	strace := needs.Program(t, "strace", "install strace")
	for name, filling := range map[string]string{
		"appending": "", "compacting": old(2, 1200), "healing": "{torn",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			begin := func(n int) (path string) {
				path = filepath.Join(dir, strconv.Itoa(n))
				initFile(t, path)
				appendTo(t, openFile(t, path), session("before"))
				write(t, path, filling)
				return path
			}
			log := filepath.Join(dir, "calls")
			trace := []string{strace, "-qq", "-y", "-o", log, "-e", "trace=" + diskCalls}
			if list, err := acknowledged(child(t, trace, begin(0), "x", 2)); err != nil || len(list) != 2 {
				t.Fatalf("appended %q: %v", list, err)
			}
			checkOrder(t, contents(t, log), filepath.Join(dir, "0"), name == "compacting")
			lost, kept := 0, 0
			for n, call := range calls(contents(t, log)) {
				path := begin(n + 1)
				kill := []string{
					strace, "-qq", "-o", "/dev/null", "-e", "trace=" + diskCalls,
					"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call.name, call.nth),
				}
				list, err := acknowledged(child(t, kill, path, "x", 2))
				if _, killed := errors.AsType[*exec.ExitError](err); !killed {
					t.Fatalf("it was not killed at %v: %v", call, err)
				}
				next := openFile(t, path)
				page := readFrom(t, next, revocations.Position{})
				got := ids(page.Records)
				for _, id := range append([]string{"before"}, slices.DeleteFunc(list, func(id string) bool { return !stays(id) })...) {
					if !slices.Contains(got, id) {
						t.Errorf("killed at %v: %q was acknowledged, and the log has %q", call, id, got)
					}
				}
				if slices.Contains(got, "x0") {
					kept++
				} else {
					lost++
				}
				after := appendTo(t, openFile(t, path), session("after"))
				if after.Seq <= page.Position.Seq {
					t.Errorf("killed at %v: the number %d was given again", call, after.Seq)
				}
				if page := readFrom(t, next, page.Position); page.Complete || !slices.Equal(ids(page.Records), []string{"after"}) {
					t.Errorf("killed at %v, then %v", call, page)
				}
			}
			t.Logf("killed %d times before the entry was in the log, and %d times after", lost, kept)
			if lost == 0 || kept == 0 {
				t.Errorf("killed %d times before the entry was in the log, and %d times after; want both", lost, kept)
			}
		})
	}
}

// checkOrder checks that an entry is durable before it is acknowledged, and a new
// file before it takes the place of the old one.
func checkOrder(t *testing.T, trace []byte, path string, compacted bool) {
	t.Helper()
	file, next, folder := regexp.QuoteMeta("<"+path+">"), regexp.QuoteMeta("<"+path+".new>"), regexp.QuoteMeta("<"+filepath.Dir(path)+">")
	order := `(?s)pwrite64\(\d+` + file + `.*fsync\(\d+` + file + `\).*write\(1<[^>]*>, "x0`
	if compacted {
		order = `(?s)pwrite64\(\d+` + file + `.*fsync\(\d+` + file + `\).*write\(\d+` + next + `.*fsync\(\d+` + next +
			`\).*rename\w*\(.*fsync\(\d+` + folder + `\).*write\(1<[^>]*>, "x0`
	}
	if !regexp.MustCompile(order).Match(trace) {
		t.Errorf("want %s, got\n%s", order, trace)
	}
}

// A systemCall is the nth one of that name.
type systemCall struct {
	name string
	nth  int
}

func calls(trace []byte) []systemCall {
	var list []systemCall
	count := map[string]int{}
	for _, name := range regexp.MustCompile(`(?m)^\w+\(`).FindAllString(string(trace), -1) {
		name = strings.TrimSuffix(name, "(")
		count[name]++
		list = append(list, systemCall{name, count[name]})
	}
	return list
}
