package organizations

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Why a secret does not authenticate.
var (
	// ErrUnknownKey means that no API key has this secret, or that it does not
	// have the form of a secret.
	ErrUnknownKey = errors.New("unknown API key")
	// ErrExpiredKey means that the API key has expired.
	ErrExpiredKey = errors.New("expired API key")
)

// Registry holds the organizations of one version of the file. It never
// changes and is safe for concurrent use.
type Registry struct {
	organizations []*Organization
	// keys holds the API keys by the first bytes of their hash, nearly always
	// one in each list.
	keys map[uint64][]*APIKey
}

// Authenticate returns the API key that has this secret.
//
// Any error is [ErrUnknownKey] or [ErrExpiredKey]. Only the form and the SHA-256
// of the secret are compared, so the time that this takes reveals nothing about
// other secrets. It does not allocate.
func (r *Registry) Authenticate(secret string, now time.Time) (*APIKey, error) {
	if !WellFormed(secret) {
		return nil, ErrUnknownKey
	}
	var text [secretLength]byte // on the stack, unlike []byte(secret)
	copy(text[:], secret)
	hash := sha256.Sum256(text[:])
	for _, key := range r.keys[prefix(&hash)] {
		if subtle.ConstantTimeCompare(key.hash[:], hash[:]) == 1 {
			if key.expired(now) {
				return nil, ErrExpiredKey
			}
			return key, nil
		}
	}
	return nil, ErrUnknownKey
}

// Organizations yields all organizations in the order of the file.
func (r *Registry) Organizations() iter.Seq[*Organization] {
	return slices.Values(r.organizations)
}

// Organization returns the organization with an ID, or nil.
func (r *Registry) Organization(id uuid.UUID) *Organization {
	for _, organization := range r.organizations {
		if organization.ID == id {
			return organization
		}
	}
	return nil
}

// add files a key under its hash.
func (r *Registry) add(key *APIKey) {
	at := prefix(&key.hash)
	r.keys[at] = append(r.keys[at], key)
}

// prefix returns the part of a hash by which keys are filed.
func prefix(hash *[sha256.Size]byte) uint64 {
	return binary.BigEndian.Uint64(hash[:8])
}
