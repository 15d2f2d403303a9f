package revocations

import (
	"slices"
	"sort"
	"strconv"
	"time"
)

// records are those of a log, in order, in memory.
type records struct {
	list []Record
	// next is when the next one may be dropped; zero if none is there.
	next time.Time
}

func (r *records) add(record Record) {
	r.list = append(r.list, record)
	if r.next.IsZero() || record.DropAt.Before(r.next) {
		r.next = record.DropAt
	}
}

// drop drops what may be forgotten at a time.
func (r *records) drop(now time.Time) {
	if r.next.IsZero() || now.Before(r.next) {
		return
	}
	kept := highest(r.list)
	r.next = time.Time{}
	r.list = slices.DeleteFunc(r.list, func(record Record) bool {
		if record.Seq == kept {
			return false
		}
		if !now.Before(record.DropAt) {
			return true
		}
		if r.next.IsZero() || record.DropAt.Before(r.next) {
			r.next = record.DropAt
		}
		return false
	})
}

// highest returns the number of the record with the highest version of the
// manifest, which is never dropped; 0 if there is none.
func highest(list []Record) int64 {
	var seq int64
	var version uint64
	for _, record := range list {
		if record.Scope != Manifest {
			continue
		}
		if v, err := strconv.ParseUint(record.ID, 10, 63); err == nil && v >= version {
			seq, version = record.Seq, v
		}
	}
	return seq
}

// page answers a Read of a log whose newest record, dropped or not, is at a
// position.
func (r *records) page(newest, after Position, now time.Time) Page {
	r.drop(now)
	page := Page{Position: newest, Complete: !after.continues(newest), Clock: now}
	from := 0
	if !page.Complete {
		from = sort.Search(len(r.list), func(i int) bool { return r.list[i].Seq > after.Seq })
	}
	page.Records = slices.Clone(r.list[from:])
	return page
}

// continues reports whether all that follows p is what p lacks of a log whose
// newest record is at a position.
func (p Position) continues(newest Position) bool {
	return p.Log == newest.Log && p.Seq > 0 && p.Seq <= newest.Seq
}
