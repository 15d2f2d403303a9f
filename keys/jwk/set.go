package jwk

import (
	"fmt"
	"slices"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// MediaType is the media type of a JWK Set (RFC 7517, Section 8.5.2).
const MediaType = "application/jwk-set+json"

const maxKeys = 64

// limits allow 64 keys with 32 members each.
func limits() ijson.Limits { return ijson.Limits{Depth: 8, Members: maxKeys * 32} }

// A Set is an immutable JWK Set (RFC 7517, Section 5) of sound keys, safe for
// concurrent use.
type Set struct {
	keys    []*Key
	byID    map[string]*Key
	skipped []Skipped
}

// Skipped is a key of a JWK Set that [ParseSet] left out.
type Skipped struct {
	// Index is the key's position in the document, from 0.
	Index int
	// Reason is one of the errors of this package or of package ijson.
	Reason error
}

// NewSet returns the set of the given keys, in that order. Two keys with the
// same key ID are ErrAmbiguous, even if they are the same key. The set may be
// empty.
func NewSet(keys ...*Key) (*Set, error) {
	s := &Set{keys: slices.Clone(keys), byID: make(map[string]*Key, len(keys))}
	for _, k := range keys {
		if s.byID[k.id] != nil {
			return nil, ErrAmbiguous
		}
		s.byID[k.id] = k
	}
	return s, nil
}

// ParseSet reads a JWK Set of any origin. It refuses the document with
// ErrNotASet (not strict JSON, or no "keys" list), ErrTooManyKeys, ErrAmbiguous
// or ErrEmptySet (no usable key). Otherwise it leaves out keys that cannot be
// used, and [Set.Skipped] lists them. The caller bounds the length of data.
func ParseSet(data []byte) (*Set, error) {
	list, err := keysMember(data)
	if err != nil {
		return nil, err
	}
	s := &Set{byID: map[string]*Key{}}
	seen := map[string]string{}
	index := 0
	list.Elements(func(v ijson.Value) bool {
		err = s.add(index, v, seen)
		index++
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if len(s.keys) == 0 {
		return nil, ErrEmptySet
	}
	return s, nil
}

func keysMember(data []byte) (list ijson.Value, err error) {
	offset, err := ijson.Members(data, limits(), func(name []byte, v ijson.Value) error {
		if string(name) == "keys" {
			list = v
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w at byte %d", ErrNotASet, err, offset)
	}
	if list.Kind() != ijson.Array {
		return nil, fmt.Errorf(`%w: no list "keys"`, ErrNotASet)
	}
	return list, nil
}

// add adds one element of the list. For each key ID, seen holds the identity of
// its key.
func (s *Set) add(index int, v ijson.Value, seen map[string]string) error {
	if index == maxKeys {
		return ErrTooManyKeys
	}
	var m members
	err := m.read(v)
	var k *Key
	if err == nil {
		k, err = m.key()
	}
	if m.kid != "" {
		identity := m.identity(v)
		if other, ok := seen[m.kid]; ok && other != identity {
			return ErrAmbiguous
		}
		seen[m.kid] = identity
	}
	switch {
	case err != nil:
		s.skipped = append(s.skipped, Skipped{Index: index, Reason: err})
	case s.byID[k.id] == nil:
		s.keys = append(s.keys, k)
		s.byID[k.id] = k
	}
	return nil
}

// identity returns what is equal for two entries of the same key: the
// thumbprint, or the text of an entry without one.
func (m *members) identity(v ijson.Value) string {
	if public, err := m.public(); err == nil {
		if k, err := New(public); err == nil {
			return k.id
		}
	}
	return string(v)
}

// Key returns the key with the given ID, or nil.
func (s *Set) Key(id string) *Key { return s.byID[id] }

// Keys returns the keys in the order of the document.
func (s *Set) Keys() []*Key { return slices.Clone(s.keys) }

// Len returns the number of keys.
func (s *Set) Len() int { return len(s.keys) }

// Skipped returns the keys of the document that were left out, and why.
func (s *Set) Skipped() []Skipped { return slices.Clone(s.skipped) }

// AppendJSON appends the set as a JSON document to dst.
func (s *Set) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"keys":[`...)
	for i, k := range s.keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = k.AppendJSON(dst)
	}
	return append(dst, `]}`...)
}

// MarshalJSON returns what [Set.AppendJSON] appends.
func (s *Set) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }
