// Package jsontext appends the values that the API's answers and tokens are made
// of. Nil becomes null.
package jsontext

import (
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// AppendUUID appends a UUID in the form of RFC 9562, Section 4.
func AppendUUID(dst []byte, id *uuid.UUID) []byte {
	if id == nil {
		return append(dst, "null"...)
	}
	text, _ := id.MarshalText() // never fails
	dst = append(append(dst, '"'), text...)
	return append(dst, '"')
}

// AppendTime appends a time in UTC (RFC 3339).
func AppendTime(dst []byte, t *time.Time) []byte {
	if t == nil {
		return append(dst, "null"...)
	}
	dst = t.UTC().AppendFormat(append(dst, '"'), time.RFC3339Nano)
	return append(dst, '"')
}

// AppendString appends a string.
func AppendString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return ijson.AppendString(dst, *s)
}
