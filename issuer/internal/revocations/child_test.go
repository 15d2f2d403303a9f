//go:build unix

package revocations_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// childName is the name by which this program is called to append to a file:
//
//	child PATH PREFIX COUNT
//
// It appends sessions whose IDs begin with the prefix, and prints each ID when it
// is acknowledged. Of five entries one stays in force.
const childName = "revocations-child"

//nolint:gochecknoinits // strace counts the calls of the main thread, and only here the main goroutine is sure to be on it
func init() {
	if filepath.Base(os.Args[0]) == childName {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != childName {
		m.Run()
		return
	}
	if os.Args[2] == redeems {
		redeemAll(os.Args[1])
		return
	}
	log := revocations.NewFile(os.Args[1])
	count, err := strconv.Atoi(os.Args[3])
	for i := 0; err == nil && i < count; i++ {
		entry := dropped(os.Args[2] + strconv.Itoa(i))
		if stays(entry.ID) {
			entry = session(entry.ID)
		}
		if _, err = log.Append(context.Background(), entry); err == nil {
			_, err = fmt.Println(entry.ID)
		}
	}
	if err != nil {
		panic(err)
	}
}

// stays reports whether a child's entry of that ID is in force.
func stays(id string) bool { return strings.HasSuffix(id, "0") || strings.HasSuffix(id, "5") }

// child returns the command that appends, run by the words before it.
func child(t testing.TB, before []string, path, prefix string, count int) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), childName)
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	line := append(slices.Clone(before), link, path, prefix, strconv.Itoa(count))
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Stderr = os.Stderr
	return cmd
}

// acknowledged runs a child and returns the IDs that it has printed.
func acknowledged(cmd *exec.Cmd) (ids []string, err error) {
	output, err := cmd.Output()
	lines := bufio.NewScanner(strings.NewReader(string(output)))
	for lines.Scan() {
		ids = append(ids, lines.Text())
	}
	return ids, err
}
