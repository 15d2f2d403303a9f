package feed

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/bits"
	"sync"

	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify/wire"
)

const (
	// smallAnswer is how many entries an answer may have to be as cheap as any
	// other: less than 16 KiB.
	smallAnswer = 150
	// compressed is from how many bytes on an answer is compressed.
	compressed = 512
	// keptAnswers is how many answers of an edition are kept beside the complete
	// one. Nearly all who wait have heard the same.
	keptAnswers = 64
)

// An edition is what is known at one time, for consumers. It does not change.
type edition struct {
	issuer   string
	enabled  bool
	maxAge   int64
	position revocations.Position
	news     int64 // the number of the last entry that consumers are to hear of
	entries  []entry
	keys     []string

	mu   sync.Mutex
	made map[variant]*answer
}

// A variant is what is different between the answers of an edition.
type variant struct {
	after, pause int64
	gzip         bool
}

// An answer is made once, for every consumer that asks for it.
type answer struct {
	once sync.Once
	body []byte
	gzip bool
	err  error
}

// find returns which answer is for a query, and its entries. A consumer gets more
// rather than less, so that there are few different large ones: 20 milliseconds go
// into each.
func (e *edition) find(q *Query) (after int64, entries []entry) {
	seq := q.After
	if q.Log != e.position.Log || seq > e.position.Seq {
		seq = 0
	}
	entries, after = seqAfter(e.entries, seq)
	if len(entries) > smallAnswer {
		rounded := 1 << bits.Len(uint(len(entries)-1))
		if rounded > len(e.entries)/2 {
			return 0, e.entries
		}
		first := len(e.entries) - rounded
		entries, after = e.entries[first:], e.entries[first-1].seq
	}
	if after == 0 {
		return 0, e.entries
	}
	return after, entries
}

// answer returns the answer for a variant, whose entries find returned.
func (e *edition) answer(v variant, entries []entry) *answer {
	e.mu.Lock()
	a := e.made[v]
	if a == nil {
		a = &answer{}
		e.keep(v, a)
	}
	e.mu.Unlock()
	a.once.Do(func() { a.body, a.gzip, a.err = e.encode(v, entries) })
	return a
}

// keep keeps an answer for others. The caller holds mu.
func (e *edition) keep(v variant, a *answer) {
	if e.made == nil {
		e.made = map[variant]*answer{}
	}
	for other := range e.made {
		if len(e.made) < keptAnswers {
			break
		}
		if other.after != 0 {
			delete(e.made, other)
		}
	}
	e.made[v] = a
}

func (e *edition) encode(v variant, entries []entry) (body []byte, packed bool, err error) {
	document := wire.Revocations{
		Issuer: e.issuer, Enabled: e.enabled, Log: e.position.Log, Seq: e.position.Seq, After: v.after,
		MaxAge: e.maxAge, Pause: v.pause,
		Revoked: make([]wire.Revocation, 0, len(entries)), RevokedKeys: e.keys,
	}
	if document.RevokedKeys == nil {
		document.RevokedKeys = []string{}
	}
	for _, entry := range entries {
		document.Revoked = append(document.Revoked, wire.Revocation{
			Scope: entry.scope, ID: entry.id, IssuedBefore: entry.issuedBefore, DropAt: entry.dropAt,
		})
	}
	body, err = json.Marshal(document)
	if err != nil || !v.gzip || len(body) < compressed {
		return body, false, err
	}
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := w.Write(body); err != nil {
		return nil, false, err
	}
	if err := w.Close(); err != nil {
		return nil, false, err
	}
	return buffer.Bytes(), true, nil
}
