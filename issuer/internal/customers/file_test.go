package customers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

func load(t testing.TB, r io.Reader) *customers.File {
	t.Helper()
	f, err := customers.LoadFile(r)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFile(t *testing.T) {
	t.Parallel()
	data := population()
	tests := []struct {
		name string
		r    io.Reader
	}{
		{"as it is", bytes.NewReader(data)},
		{"byte by byte", iotest.OneByteReader(bytes.NewReader(data))},
		{"end with the data", iotest.DataErrReader(bytes.NewReader(data))},
		{"no last line break", bytes.NewReader(bytes.TrimSpace(data))},
		{"line ends of Windows, empty lines", bytes.NewReader(
			append([]byte("\r\n \r\n"), bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n\n"))...))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := load(t, test.r)
			if f.Len() != 4 {
				t.Errorf("Len is %d, want 4", f.Len())
			}
			testDirectory(t, f)
		})
	}
}

// TestFileKeepsEverything compares what a file gives with what [customers.Parse]
// makes of the same line.
func TestFileKeepsEverything(t *testing.T) {
	t.Parallel()
	alive := everything()
	alive.DeletedAt = nil
	long := everything()
	name := strings.Repeat("é\\\"", 5000)
	long.DeletedAt, long.Name, long.BillingAddress, long.TaxID = nil, &name, nil, []string{"", ""}
	tests := []struct{ name, line string }{
		{"every member", string(alive.AppendJSON(nil))},
		{"as few as can be", strings.ReplaceAll(minimal, "\n", "")},
		{"long and short texts", string(long.AppendJSON(nil))},
		{"before 1970", strings.ReplaceAll(with(t, map[string]string{
			"created_at": `"0001-01-01T00:00:01Z"`, "modified_at": `"9999-12-31T23:59:59Z"`,
			"first_user_event_at": `"1970-01-01T00:00:00Z"`,
		}), "\n", "")},
		{"team", strings.ReplaceAll(with(t, map[string]string{"type": `"team"`, "email": "null"}), "\n", "")},
		{"picture", strings.ReplaceAll(with(t, map[string]string{"avatar_url": `"http://a"`, "metadata": `{"a": "b"}`}), "\n", "")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want, err := customers.Parse([]byte(test.line), customers.Defaults{})
			if err != nil {
				t.Fatal(err)
			}
			f := load(t, strings.NewReader(test.line))
			got := find(t.Context(), t, f, customers.Query{OrganizationID: want.OrganizationID, ID: want.ID})
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %s\nwant %s", got.AppendJSON(nil), want.AppendJSON(nil))
			}
		})
	}
}

func TestFileFindAllocatesNothing(t *testing.T) {
	f := load(t, bytes.NewReader(population()))
	query := customers.Query{OrganizationID: home, ID: grace}
	got := testing.AllocsPerRun(100, func() {
		if _, err := f.Find(t.Context(), query); err != nil {
			t.Error(err)
		}
	})
	if got > 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func TestFileWithoutCustomers(t *testing.T) {
	t.Parallel()
	f := load(t, strings.NewReader("\n"))
	if _, err := f.Find(t.Context(), customers.Query{OrganizationID: home, ID: ada}); !errors.Is(err, customers.ErrNotFound) {
		t.Errorf("error is %v, want ErrNotFound", err)
	}
}

func TestLoadFileRefuses(t *testing.T) {
	t.Parallel()
	const secret = "do-not-echo"
	line := func(n int, externalID string) string {
		return fmt.Sprintf(`{"id":"11111111-1111-4111-8111-%012d","organization_id":"%s","external_id":%q,"email":"a@b"}`+"\n",
			n, home, externalID)
	}
	foreign := func(n int, externalID string) string {
		return strings.Replace(line(n, externalID), home.String(), abroad.String(), 1)
	}
	many := func(n, from int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(from+i, ""))
		}
		return b.String()
	}
	tests := []struct{ name, data, want string }{
		{"not JSON", line(1, "a") + secret + "\n\n" + line(2, "b"), "line 2, column 1: Input should be one JSON object in UTF-8"},
		{"two on a line", line(1, "a") + strings.ReplaceAll(line(2, "")+line(3, ""), "\n", ""), "line 2, column 134: Input should be one JSON object in UTF-8"},
		{"bad members", "\n" + `{"id":"` + secret + `","organization_id":7,"metadata":{"` + secret + `":null}}`, "line 2, column 7: id: Input should be a valid UUID of 36 characters; " +
			"column 39: organization_id: Input should be a valid string; " +
			"column 52: metadata: Input should be a string, a number or a boolean; column 1: email: Field required"},
		{"ID twice", line(1, "a") + line(2, "b") + foreign(1, "a") + line(1, "c"), "line 4, column 7: id: another line has the same value"},
		{"external ID twice", line(1, "a") + foreign(2, "a") + line(3, "") + line(4, "") + line(5, "a"), "line 5, column 117: external_id: another line has the same value"},
		{"ID thrice", line(1, "a") + line(1, "b") + line(1, "c"), "line 2, column 7: id: another line has the same value; line 3, column 7: id: another line has the same value"},
		{"far down", many(20000, 1) + "x\n" + many(20000, 30001) + line(7, ""), "line 20001, column 1: Input should be one JSON object in UTF-8 (byte 1: not a JSON object); line 40002, column 7: id: another line has the same value"},
		{"too long", line(1, "a") + line(2, strings.Repeat("x", 70000)) + line(3, "b"), "line 2: line is longer than 65536 bytes"},
		{"too long and blank", line(1, "a") + strings.Repeat(" ", 70000) + "\n" + line(2, "b"), "line 2: line is longer than 65536 bytes"},
		{"byte order mark", "\ufeff" + line(1, "a"), "line 1, column 1: Input should be one JSON object in UTF-8 (byte 1: not a JSON object: it begins with a byte order mark"},
		{"camel case", line(1, "a") + strings.Replace(line(2, "b"), "external_id", "externalId", 1), "line 2, column 116: externalId: Input should be named external_id"},
		{
			"capitals and hyphens", `{"ID":"x","organization-id":"y","E_Mail":"z","billing_address":{"postalCode":"1","country":"GB"}}`,
			"line 1, column 7: ID: Input should be named id; column 29: organization-id: Input should be named organization_id; column 42: E_Mail: Input should be named email; " +
				"column 64: billing_address.postalCode: Input should be named postal_code; column 1: id: Field required",
		},
		{"eleven", strings.Repeat("x\n", 9) + line(1, "a") + "x\nx\n", "line 1, column 1: … and 1 more bad lines"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, err := customers.LoadFile(strings.NewReader(test.data))
			if err == nil || f != nil {
				t.Fatalf("LoadFile = %v, %v, want an error", f, err)
			}
			from, to, _ := strings.Cut(test.want, "…")
			if got := err.Error(); !strings.HasPrefix(got, from) || !strings.HasSuffix(got, to) || strings.Count(got, "; line ") >= 10 {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%v repeats what was given", err)
			}
		})
	}
}

// Members that are nothing like a known one may be there, whatever they are.
func TestLoadFileTakesOtherMembers(t *testing.T) {
	t.Parallel()
	line := strings.Replace(strings.ReplaceAll(minimal, "\n", ""), "{", `{"active_meters":[],"emails":["a@b"],"Notes":"externalId","metadata":{"externalId":"1"},`, 1)
	if f := load(t, strings.NewReader(line)); f.Len() != 1 {
		t.Errorf("%d customers, want 1", f.Len())
	}
	if _, err := customers.Parse([]byte(strings.Replace(line, "Notes", "externalId", 1)), customers.Defaults{}); err != nil {
		t.Errorf("a record of another source: %v", err)
	}
}

func TestFileOrganizations(t *testing.T) {
	t.Parallel()
	line := func(organization uuid.UUID, n int) string {
		return fmt.Sprintf(`{"id":"11111111-1111-4111-8111-%012d","organization_id": "%s","email":"a@b"}`+"\n", n, organization)
	}
	got := maps.Collect(load(t, strings.NewReader("\n"+line(home, 1)+line(abroad, 1)+line(home, 2))).Organizations())
	want := map[uuid.UUID]customers.Place{home: {Line: 2, Column: 65, Customers: 2}, abroad: {Line: 3, Column: 65, Customers: 1}}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFileCompare(t *testing.T) {
	t.Parallel()
	line := func(n int, name string) string {
		return fmt.Sprintf(`{"id":"11111111-1111-4111-8111-%012d","organization_id":"%s","email":"a@b","name":%q}`+"\n", n, home, name)
	}
	synctest.Test(t, func(t *testing.T) {
		old := load(t, strings.NewReader(line(1, "a")+line(2, "b")+line(3, "c")))
		time.Sleep(time.Hour) // customers without a created_at do not change
		next := load(t, strings.NewReader(line(5, "e")+line(3, "c")+line(2, "B")+line(4, "d")))
		if added, changed, removed := old.Compare(next); added != 2 || changed != 1 || removed != 1 {
			t.Errorf("got %d added, %d changed and %d removed, want 2, 1 and 1", added, changed, removed)
		}
		team := strings.Replace(line(3, "c"), "{", `{"members":[{"id":"`+joan.String()+`","email":"a@b"}],`, 1)
		if _, changed, _ := old.Compare(load(t, strings.NewReader(line(1, "a")+line(2, "b")+team))); changed != 1 {
			t.Errorf("with a member more, got %d changed, want 1", changed)
		}
		again := load(t, strings.NewReader(line(3, "c")+line(2, "b")+line(1, "a")))
		if added, changed, removed := old.Compare(again); added != 0 || changed != 0 || removed != 0 {
			t.Errorf("in another order, got %d added, %d changed and %d removed, want none", added, changed, removed)
		}
	})
}

// Whatever a customer has is known by its other spellings.
func TestLoadFileKnowsAllMembers(t *testing.T) {
	t.Parallel()
	var members struct {
		All     map[string]any `json:"all"`
		Address map[string]any `json:"address"`
	}
	c := everything()
	address, err := json.Marshal(c.BillingAddress)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(fmt.Appendf(nil, `{"all":%s,"address":%s}`, c.AppendJSON(nil), address), &members); err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for name := range members.All {
		lines[name] = fmt.Sprintf(`{%q:1}`, strings.ToUpper(name))
	}
	for name := range members.Address {
		lines[name] = fmt.Sprintf(`{"billing_address":{%q:"1"}}`, strings.ToUpper(name))
	}
	for _, name := range []string{"external_id", "deleted_at"} {
		lines[name] = fmt.Sprintf(`{"members":[{%q:"1"}]}`, strings.ToUpper(name))
	}
	lines["members"] = `{"Members":[]}`
	for name, line := range lines {
		if _, err := customers.LoadFile(strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), "Input should be named "+name) {
			t.Errorf("%s: got %v, want it to name %s", line, err, name)
		}
	}
}

func TestLoadFileEndlessLine(t *testing.T) {
	t.Parallel()
	_, err := customers.LoadFile(io.LimitReader(zeros{}, 5<<20))
	if err == nil || err.Error() != "line 1: line is longer than 65536 bytes" {
		t.Errorf("error is %v, want one about line 1", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestLoadFileReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	f, err := customers.LoadFile(io.MultiReader(bytes.NewReader(population()), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || f != nil {
		t.Errorf("LoadFile = %v, %v, want %v", f, err, broken)
	}
}

// crowd is a JSON Lines file of n customers, made while it is read. Lines are
// about 300 bytes long.
type crowd struct {
	next, n int
	rest    []byte
}

func (c *crowd) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.next == c.n {
			return 0, io.EOF
		}
		c.rest = appendMember(c.rest[:0], c.next)
		c.next++
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func memberID(n int) uuid.UUID {
	id := grace
	for i := range 4 {
		id[i] = byte(n >> (8 * i))
	}
	return id
}

func appendMember(dst []byte, n int) []byte {
	return fmt.Appendf(dst, `{"id":"%s","organization_id":"%s","created_at":"2026-01-02T03:04:05Z",`+
		`"external_id":"user_%d","email":"user.%d@example.com","email_verified":true,"name":"Customer Number %d",`+
		`"billing_address":{"country":"DE","city":"Berlin"},"metadata":{"plan":"pro","seats":%d}}`+"\n",
		memberID(n), home, n, n, n, n)
}

// TestFileOfManyCustomers shows the promise: [customers.MaxFile] customers load
// in two seconds and take at most 250 MiB of heap meanwhile; more load, too. It
// runs alone, and counts processor time, since the machine may be busy.
func TestFileOfManyCustomers(t *testing.T) {
	promised := customers.MaxFile
	if raceDetector() {
		promised /= 10
	}
	f, took, peak := loadMeasured(t, promised)
	t.Logf("%d customers of %d bytes in %v; the heap was %d MiB at most",
		f.Len(), len(appendMember(nil, promised/2)), took.Round(time.Millisecond), peak>>20)
	if took > 2*time.Second || peak > 250<<20 {
		t.Errorf("loading took %v and %d MiB, want 2s and 250 MiB", took, peak>>20)
	}
	more, _, _ := loadMeasured(t, promised+promised/2)
	for size, f := range map[int]*customers.File{promised: f, promised + promised/2: more} {
		if f.Len() != size {
			t.Fatalf("loaded %d customers, want %d", f.Len(), size)
		}
		for n := 0; n < size; n += size/100 + 1 {
			c := find(t.Context(), t, f, customers.Query{OrganizationID: home, ID: memberID(n)})
			same := find(t.Context(), t, f, customers.Query{OrganizationID: home, ExternalID: fmt.Sprintf("user_%d", n)})
			if *c.Email != fmt.Sprintf("user.%d@example.com", n) || same.ID != c.ID {
				t.Errorf("customer %d is %s by ID, %s by external ID", n, c.AppendJSON(nil), same.AppendJSON(nil))
			}
		}
	}
}

// raceDetector reports whether the test runs many times slower than programs do.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// processorTime returns what the process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// loadMeasured loads a file of n customers. The heap's peak is of all that the
// process did so far.
func loadMeasured(t *testing.T, n int) (f *customers.File, took time.Duration, peak uint64) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "customers.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.Copy(file, &crowd{n: n}); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	start := processorTime(t)
	f = load(t, file)
	took = processorTime(t) - start
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return f, took, stats.HeapSys
}

func BenchmarkFileFind(b *testing.B) {
	const n = 100_000
	f := load(b, &crowd{n: n})
	queries := make([]customers.Query, 1024)
	b.Run("ID", func(b *testing.B) {
		for i := range queries {
			queries[i] = customers.Query{OrganizationID: home, ID: memberID(i * 7919 % n)}
		}
		benchmarkFind(b, f, queries)
	})
	b.Run("ExternalID", func(b *testing.B) {
		for i := range queries {
			queries[i] = customers.Query{OrganizationID: home, ExternalID: fmt.Sprintf("user_%d", i*7919%n)}
		}
		benchmarkFind(b, f, queries)
	})
	b.Run("unknown", func(b *testing.B) {
		query := customers.Query{OrganizationID: home, ID: nobody}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.Find(b.Context(), query); !errors.Is(err, customers.ErrNotFound) {
				b.Fatal(err)
			}
		}
	})
}

func benchmarkFind(b *testing.B, f *customers.File, queries []customers.Query) {
	b.Helper()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := f.Find(b.Context(), queries[i%len(queries)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// A file that was exported from elsewhere has columns of its own on each line. They
// are compared with the known names, which must not make loading any slower.
func TestUnknownMembersAllocateNothing(t *testing.T) {
	line := strings.ReplaceAll(minimal, "\n", "")
	measure := func(line string) float64 {
		return testing.AllocsPerRun(10, func() { load(t, strings.NewReader(line)) })
	}
	want := measure(line)
	if got := measure(strings.Replace(line, "{", `{"phone":"1","created_by":"a","loyalty-tier":"gold",`, 1)); got > want {
		t.Errorf("got %v allocations with unknown members, want %v as without", got, want)
	}
}

func BenchmarkLoadFile(b *testing.B) {
	const n = 100_000
	data, err := io.ReadAll(&crowd{n: n})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		load(b, bytes.NewReader(data))
	}
}

func BenchmarkParse(b *testing.B) {
	data := appendMember(nil, 1)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := customers.Parse(data, customers.Defaults{}); err != nil {
			b.Fatal(err)
		}
	}
}
