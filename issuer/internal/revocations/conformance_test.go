package revocations_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

var acme = uuid.MustParse("0c0ffee0-0000-4000-8000-000000000001")

// A maker makes an empty log, and returns what opens it: each time as another
// process would.
type maker func(t *testing.T) (open func() revocations.Log)

func session(id string) revocations.Entry {
	return revocations.Entry{Scope: revocations.Session, OrganizationID: acme, ID: id}
}

// dropped is an entry that may be forgotten at once.
func dropped(id string) revocations.Entry {
	entry := session(id)
	entry.DropAt = time.Now().Add(-time.Hour)
	return entry
}

func appendTo(t testing.TB, log revocations.Log, entry revocations.Entry) revocations.Record {
	t.Helper()
	record, err := log.Append(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func readFrom(t testing.TB, log revocations.Log, after revocations.Position) revocations.Page {
	t.Helper()
	page, err := log.Read(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func ids(records []revocations.Record) []string {
	list := []string{}
	for _, record := range records {
		list = append(list, record.ID)
	}
	return list
}

func TestMemory(t *testing.T) {
	t.Parallel()
	conform(t, func(*testing.T) func() revocations.Log {
		log := revocations.NewMemory()
		return func() revocations.Log { return log }
	})
}

// conform holds an engine to the contract of a log.
func conform(t *testing.T, begin maker) {
	t.Helper()
	tests := []struct {
		name string
		test func(*testing.T, func() revocations.Log)
	}{
		{"concurrent", testConcurrent},
		{"immediate", testImmediate},
		{"complete", testComplete},
		{"dropped", testDropped},
		{"manifest", testManifest},
		{"repeated", testRepeated},
		{"until now", testUntilNow},
		{"drop at", testDropAt},
		{"IDs", testIDs},
		{"no entries", testNoEntries},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			open := begin(t)
			test.test(t, func() revocations.Log {
				log := open()
				t.Cleanup(log.Close)
				return log
			})
		})
	}
}

// testConcurrent: a reader that asks for what follows its position misses nothing,
// whatever is appended meanwhile.
func testConcurrent(t *testing.T, open func() revocations.Log) {
	t.Helper()
	const writers, each = 4, 25
	var appends sync.WaitGroup
	for writer := range writers {
		log := open()
		appends.Go(func() {
			for i := range each {
				if _, err := log.Append(t.Context(), session(strconv.Itoa(writer*each+i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all := make(chan struct{})
	go func() { appends.Wait(); close(all) }()

	reader := open()
	position := readFrom(t, reader, revocations.Position{}).Position
	var got []revocations.Record
	if first := readFrom(t, reader, revocations.Position{}); first.Position.Seq > 0 {
		position, got = first.Position, first.Records
	}
	for last := false; !last; {
		select {
		case <-all:
			last = true
		default:
		}
		page := readFrom(t, reader, position)
		if page.Complete && position.Seq > 0 || page.Position.Log != position.Log || page.Position.Seq < position.Seq {
			t.Fatalf("after %v comes %v, complete: %t", position, page.Position, page.Complete)
		}
		if page.Complete {
			got = nil
		}
		got, position = append(got, page.Records...), page.Position
	}
	if !slices.IsSortedFunc(got, func(a, b revocations.Record) int { return int(a.Seq - b.Seq) }) {
		t.Error("records are not in order")
	}
	list := ids(got)
	slices.Sort(list)
	if got := len(slices.Compact(list)); got != writers*each || len(list) != writers*each {
		t.Errorf("the reader has %d records of %d entries, want %d of each", len(list), got, writers*each)
	}
	if complete := readFrom(t, open(), revocations.Position{}); !slices.Equal(ids(complete.Records), ids(got)) {
		t.Error("who reads everything at once gets something else")
	}
}

// testImmediate: a Read that begins after an Append returned has it.
func testImmediate(t *testing.T, open func() revocations.Log) {
	t.Helper()
	writer, reader := open(), open()
	position := readFrom(t, reader, revocations.Position{}).Position
	for i := range 30 {
		record := appendTo(t, writer, session(strconv.Itoa(i)))
		page := readFrom(t, reader, position)
		if len(page.Records) == 0 || page.Records[len(page.Records)-1].Seq != record.Seq || page.Position.Seq != record.Seq {
			t.Fatalf("the record %d is not in %v", record.Seq, page)
		}
		position = page.Position
	}
}

// testComplete: a position that the log does not know gets everything.
func testComplete(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	if page := readFrom(t, log, revocations.Position{}); !page.Complete || page.Position.Log == "" || len(page.Records) != 0 {
		t.Errorf("an empty log is %v", page)
	}
	first, second := appendTo(t, log, session("first")), appendTo(t, log, session("second"))
	here := readFrom(t, log, revocations.Position{}).Position
	if here.Seq != second.Seq {
		t.Errorf("the position is %v, want that of %v", here, second)
	}
	both := []string{"first", "second"}
	for _, test := range []struct {
		name     string
		after    revocations.Position
		complete bool
		want     []string
	}{
		{"zero", revocations.Position{}, true, both},
		{"zero of this log", revocations.Position{Log: here.Log}, true, both},
		{"first", revocations.Position{Log: here.Log, Seq: first.Seq}, false, []string{"second"}},
		{"newest", here, false, []string{}},
		{"beyond", revocations.Position{Log: here.Log, Seq: here.Seq + 1}, true, both},
		{"negative", revocations.Position{Log: here.Log, Seq: -1}, true, both},
		{"another log", revocations.Position{Log: "another", Seq: first.Seq}, true, both},
	} {
		page := readFrom(t, log, test.after)
		if page.Complete != test.complete || page.Position != here || !slices.Equal(ids(page.Records), test.want) {
			t.Errorf("%s: got %v, want complete %t with %q", test.name, page, test.complete, test.want)
		}
		if off := time.Since(page.Clock).Abs(); off > 10*time.Second {
			t.Errorf("the log's clock is %v off", off)
		}
	}
}

// testDropped: what may be forgotten is not there, but its number is not given
// again.
func testDropped(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	kept := appendTo(t, log, session("kept"))
	last := appendTo(t, log, dropped("dropped"))
	page := readFrom(t, log, revocations.Position{})
	if got := ids(page.Records); !slices.Equal(got, []string{"kept"}) || page.Position.Seq != last.Seq {
		t.Errorf("got %q at %v, want kept at %d", got, page.Position, last.Seq)
	}
	page = readFrom(t, open(), revocations.Position{Log: page.Position.Log, Seq: kept.Seq})
	if len(page.Records) != 0 || page.Complete || page.Position.Seq != last.Seq {
		t.Errorf("after %d comes %v", kept.Seq, page)
	}
	if next := appendTo(t, open(), session("next")); next.Seq <= last.Seq {
		t.Errorf("the number %d follows %d", next.Seq, last.Seq)
	}
}

// testManifest: the highest version is remembered for ever, and no other.
func testManifest(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	for _, version := range []string{"9", "12", "10"} {
		entry := dropped(version)
		entry.Scope, entry.OrganizationID = revocations.Manifest, uuid.Nil
		appendTo(t, log, entry)
	}
	for _, log := range []revocations.Log{log, open()} {
		if got := ids(readFrom(t, log, revocations.Position{}).Records); !slices.Equal(got, []string{"12"}) {
			t.Errorf("got %q, want the version 12", got)
		}
	}
}

// testRepeated: repeating an entry does no harm.
func testRepeated(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	first := appendTo(t, log, session("same"))
	appendTo(t, open(), session("same"))
	records := readFrom(t, log, revocations.Position{}).Records
	if len(records) == 0 || records[0].ID != "same" || records[0].Seq != first.Seq {
		t.Errorf("got %v, want %v to stay", records, first)
	}
}

// testUntilNow: what ends "until now" ends at the log's clock, rounded up, and 2 s.
func testUntilNow(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	for scope, until := range map[revocations.Scope]bool{
		revocations.Session: false, revocations.SigningKey: false,
		revocations.Customer: true, revocations.Member: true, revocations.APIKey: true, revocations.Organization: true,
	} {
		before := readFrom(t, log, revocations.Position{}).Clock
		record := appendTo(t, log, revocations.Entry{Scope: scope, OrganizationID: acme, ID: string(scope)})
		page := readFrom(t, log, revocations.Position{})
		if got := record.IssuedBefore; got.IsZero() == until || until && (got.Nanosecond() != 0 ||
			got.Before(before.Add(2*time.Second)) || !got.Before(page.Clock.Add(3*time.Second))) {
			t.Errorf("%s: issued before %v, appended between %v and %v", scope, got, before, page.Clock)
		}
		if read := page.Records[len(page.Records)-1]; !same(read, record) {
			t.Errorf("read %v, want %v", read, record)
		}
	}
}

func same(a, b revocations.Record) bool {
	return a.Seq == b.Seq && a.Scope == b.Scope && a.OrganizationID == b.OrganizationID && a.ID == b.ID &&
		a.IssuedBefore.Equal(b.IssuedBefore) && a.DropAt.Equal(b.DropAt)
}

// testDropAt: an entry is kept for the retention, or until its time if that is
// earlier, in whole seconds rounded up.
func testDropAt(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, test := range []struct {
		name  string
		entry revocations.Entry
		want  func(revocations.Record, time.Time) bool
	}{
		{"retention", session("a"), func(r revocations.Record, now time.Time) bool {
			kept := r.DropAt.Sub(now)
			return kept >= revocations.Retention-time.Minute && kept < revocations.Retention+time.Minute
		}},
		{"retention after until now", revocations.Entry{Scope: revocations.Customer, OrganizationID: acme, ID: "b"}, func(r revocations.Record, _ time.Time) bool {
			return r.DropAt.Equal(r.IssuedBefore.Add(revocations.Retention))
		}},
		{"earlier", revocations.Entry{Scope: revocations.Session, ID: "c", DropAt: soon}, func(r revocations.Record, _ time.Time) bool {
			return r.DropAt.Equal(soon)
		}},
		{"rounded up", revocations.Entry{Scope: revocations.Session, ID: "d", DropAt: soon.Add(time.Millisecond)}, func(r revocations.Record, _ time.Time) bool {
			return r.DropAt.Equal(soon.Add(time.Second))
		}},
		{"never later", revocations.Entry{Scope: revocations.Session, ID: "e", DropAt: soon.AddDate(1, 0, 0)}, func(r revocations.Record, now time.Time) bool {
			return r.DropAt.Sub(now) < revocations.Retention+time.Minute
		}},
	} {
		record := appendTo(t, log, test.entry)
		page := readFrom(t, log, revocations.Position{})
		if !test.want(record, page.Clock) || record.DropAt.Nanosecond() != 0 {
			t.Errorf("%s: dropped at %v, now %v", test.name, record.DropAt, page.Clock)
		}
		if read := page.Records[len(page.Records)-1]; !same(read, record) {
			t.Errorf("%s: read %v, want %v", test.name, read, record)
		}
	}
}

// testIDs: an ID comes back as it was.
func testIDs(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	odd := []string{
		"", " ", "'", `"`, `\`, "\n", "\r\n", "\t", "$1", "%s", "--", "{}", "null", "<&>",
		"\u2028", "\ufeff", "\ufffd", "ü", "u\u0308", "\U0001f512", "\x01\x7f", strings.Repeat("x", 255),
	}
	for _, id := range odd {
		if record := appendTo(t, log, session(id)); record.ID != id {
			t.Errorf("appended %q, want %q", record.ID, id)
		}
	}
	if got := ids(readFrom(t, open(), revocations.Position{}).Records); !slices.Equal(got, odd) {
		t.Errorf("read %q, want %q", got, odd)
	}
}

// testNoEntries: what cannot be kept is refused, and is not in the log.
func testNoEntries(t *testing.T, open func() revocations.Log) {
	t.Helper()
	log := open()
	for _, entry := range []revocations.Entry{
		session(strings.Repeat("x", 256)), session("a\x00b"), session("\xff"),
		{},
		{Scope: revocations.Manifest, ID: "one"},
		{Scope: revocations.Manifest, ID: "-1"},
		{Scope: revocations.Manifest, ID: ""},
	} {
		if _, err := log.Append(t.Context(), entry); !errors.Is(err, revocations.ErrEntry) {
			t.Errorf("%q: error is %v, want ErrEntry", entry.ID, err)
		}
	}
	if page := readFrom(t, log, revocations.Position{}); len(page.Records) != 0 {
		t.Errorf("the log has %v", page.Records)
	}
}
