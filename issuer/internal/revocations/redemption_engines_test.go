//go:build unix

package revocations_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/deploy/rig/postgres"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// newRedemptionsFile makes a log with redemptions beside it, and returns the paths of
// both.
func newRedemptionsFile(t testing.TB, folder string) (log, redemptions string) {
	t.Helper()
	log = filepath.Join(folder, "revocations.jsonl")
	if err := revocations.Init(t.Context(), revocations.Config{Engine: revocations.EngineFile, File: log}); err != nil {
		t.Fatal(err)
	}
	return log, log + ".redemptions"
}

func openRedemptionsFile(t testing.TB, log string) revocations.Redemptions {
	t.Helper()
	store := revocations.NewFileRedemptions(log)
	t.Cleanup(store.Close)
	return store
}

func TestFileRedemptions(t *testing.T) {
	t.Parallel()
	log, _ := newRedemptionsFile(t, t.TempDir())
	conformRedemptions(t, func() revocations.Redemptions { return openRedemptionsFile(t, log) })
}

func TestFileRedemptionsTime(t *testing.T) {
	t.Parallel()
	log, _ := newRedemptionsFile(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) { testRepeatTime(t, openRedemptionsFile(t, log)) })
}

// redeems makes a child redeem the codes of sharedCode, and print the number of each
// one that it has got.
const redeems = "redeem"

const sharedCodes = 100

func sharedCode(i int) uuid.UUID { return uuid.NewSHA1(acme, []byte(strconv.Itoa(i))) }

func redeemAll(path string) {
	store := revocations.NewFileRedemptions(path)
	for i := range sharedCodes {
		outcome, err := store.Redeem(context.Background(), redemptionOf(sharedCode(i), strconv.Itoa(os.Getpid())))
		if err != nil {
			panic(err)
		}
		if outcome == revocations.Redeemed {
			fmt.Println(i)
		}
	}
}

// Several processes redeem the same codes: each code has one winner.
func TestFileRedemptionsProcesses(t *testing.T) {
	t.Parallel()
	log, _ := newRedemptionsFile(t, t.TempDir())
	var mu sync.Mutex
	winners := map[string]int{}
	var running sync.WaitGroup
	for range 3 {
		cmd := child(t, nil, log, redeems, 0)
		running.Go(func() {
			list, err := acknowledged(cmd)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, number := range list {
				winners[number]++
			}
		})
	}
	running.Wait()
	for i := range sharedCodes {
		if n := winners[strconv.Itoa(i)]; n != 1 {
			t.Errorf("code %d has %d winners", i, n)
		}
	}
	store := openRedemptionsFile(t, log)
	wantOutcome(t, store, redemptionOf(sharedCode(7), "late"), revocations.Used)
}

// A process that was killed while it wrote has redeemed nothing, one that had
// written has, and so it is after a restore.
func TestFileRedemptionsTorn(t *testing.T) {
	t.Parallel()
	log, path := newRedemptionsFile(t, t.TempDir())
	store := openRedemptionsFile(t, log)
	whole, torn := uuid.New(), uuid.New()
	wantOutcome(t, store, redemptionOf(whole, "a"), revocations.Redeemed)
	text := contents(t, path)
	line := text[bytes.IndexByte(text, '\n')+1:]
	write(t, path, strings.ReplaceAll(string(line[:len(line)/2]), whole.String(), torn.String()))
	wantOutcome(t, openRedemptionsFile(t, log), redemptionOf(whole, "a"), revocations.Repeated)
	wantOutcome(t, openRedemptionsFile(t, log), redemptionOf(torn, "a"), revocations.Redeemed)
	wantOutcome(t, store, redemptionOf(whole, "b"), revocations.Used)
	wantOutcome(t, store, redemptionOf(torn, "b"), revocations.Used)

	if err := os.WriteFile(path+".copy", contents(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".copy", path); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, store, redemptionOf(whole, "b"), revocations.Used)
	if err := os.WriteFile(path, contents(t, log), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openRedemptionsFile(t, log).Redeem(t.Context(), redemptionOf(whole, "b")); !errors.Is(err, revocations.ErrRefused) {
		t.Errorf("a log in place of the redemptions: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantNoStore(t, store)
}

// wantNoStore fails unless the errors of a store that is missing say what to do.
func wantNoStore(t testing.TB, store revocations.Redemptions) {
	t.Helper()
	const command = "customersession revocations init makes"
	if err := store.Check(t.Context()); !errors.Is(err, revocations.ErrRefused) || !strings.Contains(err.Error(), command) {
		t.Errorf("the check says %v", err)
	}
	if _, err := store.Redeem(t.Context(), redemptionOf(uuid.New(), "a")); err == nil || !strings.Contains(err.Error(), command) {
		t.Errorf("redeeming says %v", err)
	}
}

// The file does not grow with what may be forgotten.
func TestFileRedemptionsGrowth(t *testing.T) {
	t.Parallel()
	log, path := newRedemptionsFile(t, t.TempDir())
	var old strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&old, `{"seq":%d,"scope":"redemption","id":"%s","drop_at":1000000000,"attempt":"%s","redeemed_at":999999999}`+"\n",
			i+1, sharedCode(i), strings.Repeat("A", 43)+"=")
	}
	write(t, path, old.String())
	store := openRedemptionsFile(t, log)
	code := uuid.New()
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Redeemed)
	if lines := bytes.Count(contents(t, path), []byte("\n")); lines != 2 {
		t.Errorf("the file has %d lines, want the header and an entry", lines)
	}
	wantOutcome(t, openRedemptionsFile(t, log), redemptionOf(code, "b"), revocations.Used)
}

// On a full disk nothing that was acknowledged is lost, and redeeming goes on as soon
// as there is room.
func TestFileRedemptionsFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		needs.Missing(t, "the right to mount", "run as root")
	}
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=48k"); err != nil {
		needs.Missing(t, "a small file system", "allow mount: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	log, _ := newRedemptionsFile(t, folder)
	store := openRedemptionsFile(t, log)
	entered := 0
	for ; ; entered++ {
		outcome, err := store.Redeem(t.Context(), redemptionOf(sharedCode(entered), "a"))
		if err == nil && outcome == revocations.Redeemed {
			continue
		}
		if !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("after %d entries: %d, %v", entered, outcome, err)
		}
		break
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, store, redemptionOf(sharedCode(entered), "b"), revocations.Redeemed)
	fresh := openRedemptionsFile(t, log)
	for i := range entered + 1 {
		wantOutcome(t, fresh, redemptionOf(sharedCode(i), "c"), revocations.Used)
	}
}

func openRedemptions(t testing.TB, dsn string) *revocations.PostgresRedemptions {
	t.Helper()
	store, err := revocations.NewPostgresRedemptions(t.Context(), revocations.PostgresConfig{DSN: secret.Text(dsn)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// testRedemptions holds the redemptions in a table to their contract, as a role with
// the documented permissions and no others.
func testRedemptions(t *testing.T, server *postgres.Server) {
	t.Helper()
	schema := newTable(t, server)
	open := func() revocations.Redemptions { return openRedemptions(t, server.DSN("customersession", schema)) }
	conformRedemptions(t, open)
	code, store := uuid.New(), open()
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Redeemed)
	move := func(column, by string) {
		server.Exec(t, schema, "UPDATE customersession_redemptions SET "+column+" = "+column+" - interval '"+by+"' WHERE session_id = '"+code.String()+"'")
	}
	move("redeemed_at", "58 s")
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Repeated)
	move("redeemed_at", "2 s")
	wantOutcome(t, store, redemptionOf(code, "a"), revocations.Used)
	move("drop_at", "1 h")
	wantOutcome(t, store, redemptionOf(uuid.New(), "a"), revocations.Redeemed)
	watch := server.Connect(t, schema)
	if left := count(t, watch, "SELECT count(*)::int FROM customersession_redemptions WHERE session_id = '"+code.String()+"'"); left != 0 {
		t.Error("what may be forgotten stays in the table")
	}
}

// testRedemptionsRefused: a store that cannot keep its promise says what to do.
func testRedemptionsRefused(t *testing.T, server *postgres.Server) {
	t.Helper()
	schema := newTable(t, server)
	dsn := server.DSN("customersession", schema)
	loose := openRedemptions(t, dsn+"&options=-csynchronous_commit%3Doff")
	_, err := loose.Redeem(t.Context(), redemptionOf(uuid.New(), "a"))
	for _, err := range []error{err, loose.Check(t.Context())} {
		if !errors.Is(err, revocations.ErrRefused) || !strings.Contains(err.Error(), "synchronous_commit is off") {
			t.Errorf("not durable: %v", err)
		}
	}
	server.Exec(t, schema, "REVOKE DELETE ON customersession_redemptions FROM customersession")
	store := openRedemptions(t, dsn)
	_, err = store.Redeem(t.Context(), redemptionOf(uuid.New(), "a"))
	for _, err := range []error{err, store.Check(t.Context())} {
		if !errors.Is(err, revocations.ErrRefused) || !strings.Contains(err.Error(), "must be allowed to SELECT, INSERT, UPDATE and DELETE") {
			t.Errorf("without a right: %v", err)
		}
	}
	// As an older version has made it.
	server.Exec(t, schema, "DROP TABLE customersession_redemptions")
	wantNoStore(t, store)
	owner := revocations.PostgresConfig{DSN: secret.Text(server.DSN("postgres", schema))}
	if err := revocations.InitPostgres(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, schema, revocations.PostgresGrants)
	wantOutcome(t, store, redemptionOf(uuid.New(), "a"), revocations.Redeemed)
}

// cancelWait ends one wait for a synchronous standby.
func cancelWait(t *testing.T, watch *pgx.Conn) {
	t.Helper()
	eventually(t, "the wait is cancelled", func() bool {
		return count(t, watch, "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1
	})
}

// redeemCancelled: while the standby is away no code is redeemed, neither by an
// attempt whose wait for it was cancelled nor by its repetition. The entry is there.
func redeemCancelled(t *testing.T, server *postgres.Server, schema string, watch *pgx.Conn) {
	t.Helper()
	store, code := openRedemptions(t, server.DSN("customersession", schema)), uuid.New()
	for range 2 {
		done := make(chan error)
		go func() { _, err := store.Redeem(t.Context(), redemptionOf(code, "a")); done <- err }()
		cancelWait(t, watch)
		if err := <-done; !errors.Is(err, revocations.ErrUnavailable) || !strings.Contains(err.Error(), "may not be on the standby") {
			t.Errorf("the error is %v", err)
		}
	}
	if n := count(t, watch, "SELECT count(*)::int FROM customersession_redemptions WHERE session_id = '"+code.String()+"'"); n != 1 {
		t.Errorf("there are %d entries", n)
	}
}

// A redeemer redeems code after code, and keeps which ones were acknowledged.
type redeemer struct {
	store revocations.Redemptions
	codes []uuid.UUID
}

func (r *redeemer) next(t *testing.T) {
	t.Helper()
	code := uuid.New()
	if outcome, err := r.store.Redeem(t.Context(), redemptionOf(code, "a")); err == nil && outcome == revocations.Redeemed {
		r.codes = append(r.codes, code)
	}
}

// wantAll fails if an acknowledged entry is lost.
func (r *redeemer) wantAll(t *testing.T) {
	t.Helper()
	for _, code := range r.codes {
		wantOutcome(t, r.store, redemptionOf(code, "b"), revocations.Used)
	}
	t.Logf("%d redemptions were acknowledged", len(r.codes))
}
