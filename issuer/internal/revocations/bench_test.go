//go:build unix

package revocations_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// live is the number of entries in force in benchmarks.
const live = 100_000

// benchmarks runs one on each engine that is not in memory.
func benchmarks(b *testing.B, run func(*testing.B, revocations.Log)) {
	b.Helper()
	b.Run("file", func(b *testing.B) {
		path := newFile(b)
		var text strings.Builder
		for seq := range live {
			line, err := json.Marshal(map[string]any{
				"seq": seq + 1, "scope": "session", "organization_id": acme,
				"id": fmt.Sprintf("0c0ffee0-0000-4000-8000-%012d", seq), "drop_at": time.Now().Add(12 * time.Hour).Unix(),
			})
			if err != nil {
				b.Fatal(err)
			}
			text.Write(append(line, '\n'))
		}
		write(b, path, text.String())
		run(b, openFile(b, path))
	})
	b.Run("postgres", func(b *testing.B) {
		server := newServer(b, "fsync=on")
		schema := newTable(b, server)
		server.Exec(b, schema, fmt.Sprintf(`
			INSERT INTO customersession_revocations (scope, organization_id, id, drop_at, appended_at)
			SELECT 'session', '%s', gen_random_uuid(), now() + '12 hours', now() FROM generate_series(1, %d)`, acme, live))
		server.Exec(b, schema, "ANALYZE customersession_revocations")
		run(b, openPostgres(b, server.DSN("customersession", schema)))
	})
}

// BenchmarkAppend measures one entry on a log with 100,000 in force, on the disk
// of temporary files.
func BenchmarkAppend(b *testing.B) {
	benchmarks(b, func(b *testing.B, log revocations.Log) {
		b.Helper()
		readFrom(b, log, revocations.Position{})
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			appendTo(b, log, session("0c0ffee0-0000-4000-8000-000000000000"))
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	})
}

// BenchmarkRead measures reading everything, one new entry, and nothing.
func BenchmarkRead(b *testing.B) {
	benchmarks(b, func(b *testing.B, log revocations.Log) {
		b.Helper()
		start := time.Now()
		position := readFrom(b, log, revocations.Position{}).Position
		first := time.Since(start)
		b.Run("everything", func(b *testing.B) {
			for b.Loop() {
				readFrom(b, log, revocations.Position{})
			}
			b.ReportMetric(float64(first.Microseconds())/1000, "first-ms")
		})
		b.Run("nothing", func(b *testing.B) {
			for b.Loop() {
				readFrom(b, log, position)
			}
		})
		b.Run("one", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				appendTo(b, log, session("new"))
				b.StartTimer()
				position = readFrom(b, log, position).Position
			}
		})
	})
}
