package ijson

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The limits of a file, generous for one that people write.
const (
	fileDepth   = 16
	fileMembers = 100_000
)

// Unmarshal fills v, a pointer to a struct, from a file. Besides what [Members]
// refuses, it refuses members that v has no field for, and names with
// upper-case letters, which encoding/json would match to a field. The caller
// bounds the length of data.
func Unmarshal(data []byte, v any) error {
	s := scanner{data: data, limits: Limits{Depth: fileDepth, Members: fileMembers}, lowerCase: true}
	if err := s.document(nil); err != nil {
		line, column := position(data, s.pos)
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// position converts an offset to a line and a column, counted in bytes from 1.
func position(data []byte, offset int) (line, column int) {
	before := data[:offset]
	line = 1 + bytes.Count(before, []byte{'\n'})
	return line, offset - bytes.LastIndexByte(before, '\n')
}
