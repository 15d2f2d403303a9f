package revocations

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// Memory is a log that lives as long as its process, for development.
type Memory struct {
	log string

	mu      sync.Mutex
	seq     int64
	records []Record
}

// NewMemory returns an empty log.
func NewMemory() *Memory { return &Memory{log: rand.Text()} }

// Append implements [Log].
func (m *Memory) Append(_ context.Context, entry Entry) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	record := entry.record(m.seq, time.Now())
	m.records = append(m.records, record)
	return record, nil
}

// Read implements [Log].
func (m *Memory) Read(_ context.Context, after Position) (Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.records = slices.DeleteFunc(m.records, func(r Record) bool { return !now.Before(r.DropAt) })
	page := Page{Position: Position{Log: m.log, Seq: m.seq}, Clock: now}
	page.Complete = after.Log != m.log || after.Seq <= 0 || after.Seq > m.seq
	for _, r := range m.records {
		if page.Complete || r.Seq > after.Seq {
			page.Records = append(page.Records, r)
		}
	}
	return page, nil
}

// Close implements [Log].
func (*Memory) Close() {}
