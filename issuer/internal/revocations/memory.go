package revocations

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// Memory is a log that lives as long as its process, for development.
type Memory struct {
	mu      sync.Mutex
	newest  Position
	records records
}

// NewMemory returns an empty log.
func NewMemory() *Memory { return &Memory{newest: Position{Log: rand.Text()}} }

// Append implements [Log].
func (m *Memory) Append(_ context.Context, entry Entry) (Record, error) {
	if err := entry.check(); err != nil {
		return Record{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest.Seq++
	record := entry.record(m.newest.Seq, time.Now())
	m.records.add(record)
	return record, nil
}

// Read implements [Log].
func (m *Memory) Read(_ context.Context, after Position) (Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records.page(m.newest, after, time.Now()), nil
}

// Close implements [Log].
func (*Memory) Close() {}
