package customers

import (
	"context"
	"hash/maphash"
	"iter"
	"slices"

	"github.com/google/uuid"
)

// File is the [Directory] of a JSON Lines file: an immutable snapshot of what
// the file held when [LoadFile] read it. To follow a file that changes, load it
// again and use the new File.
//
// It is made for a million customers. They are kept packed and are read again
// at each look-up, and the indexes are sorted lists of hashes: few large
// objects without pointers, which cost the garbage collector nothing.
type File struct {
	packed     []string // the customers of each chunk of the file
	byID       []place
	byExternal []place
	seed       maphash.Seed
}

// place says where a customer is. Lists of places are sorted by hash; equal
// hashes are told apart by looking at the customer.
type place struct {
	hash   uint64 // of the organization and one of the customer's IDs
	chunk  uint32
	offset uint32
}

// Len is the number of customers.
func (f *File) Len() int { return len(f.byID) }

// Find looks the customer up in memory; it never returns [ErrUnavailable].
func (f *File) Find(_ context.Context, q Query) (*Customer, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if q.ID != uuid.Nil {
		hash := hashID(f.seed, q.OrganizationID, q.ID)
		for p := range placesOf(f.byID, hash) {
			c, _ := f.customer(p)
			if c.OrganizationID == q.OrganizationID && c.ID == q.ID {
				return q.answer(c)
			}
		}
		return nil, ErrNotFound
	}
	hash := hashExternalID(f.seed, q.OrganizationID, q.ExternalID)
	for p := range placesOf(f.byExternal, hash) {
		c, _ := f.customer(p)
		if c.OrganizationID == q.OrganizationID && c.hasExternalID(q.ExternalID) {
			return q.answer(c)
		}
	}
	return nil, ErrNotFound
}

// customer reads the customer at a place, and its line in the chunk. It is read
// anew each time, and strings are immutable, so that callers may do what they
// like with it.
func (f *File) customer(p place) (c *Customer, line int) {
	return unpack(f.packed[p.chunk][p.offset:])
}

// placesOf yields the places of one hash.
func placesOf(list []place, hash uint64) iter.Seq[place] {
	return func(yield func(place) bool) {
		i, _ := slices.BinarySearchFunc(list, hash, func(p place, hash uint64) int {
			switch {
			case p.hash < hash:
				return -1
			case p.hash > hash:
				return 1
			}
			return 0
		})
		for ; i < len(list) && list[i].hash == hash; i++ {
			if !yield(list[i]) {
				return
			}
		}
	}
}

func hashID(seed maphash.Seed, organization, id uuid.UUID) uint64 {
	var key [32]byte
	copy(key[:16], organization[:])
	copy(key[16:], id[:])
	return maphash.Bytes(seed, key[:])
}

func hashExternalID(seed maphash.Seed, organization uuid.UUID, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.Write(organization[:]) // never fails
	_, _ = h.WriteString(id)
	return h.Sum64()
}
