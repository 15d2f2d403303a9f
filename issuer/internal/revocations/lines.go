package revocations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// fileVersion is the version of the format.
const fileVersion = 1

// A fileHeader is the first line of a file.
type fileHeader struct {
	Version int    `json:"version"`
	Log     string `json:"log"`
	// Seq is a number that is not given again, nor is one below it: the records
	// up to it that are not in the file have been dropped.
	Seq int64 `json:"seq"`
	// Inode is that of the file.
	Inode uint64 `json:"inode"`
	// Kind is empty for a log, and says what else is in the file.
	Kind string `json:"kind,omitempty"`
}

// A fileLine is a record in a file, with times in seconds since 1970.
type fileLine struct {
	Seq            int64     `json:"seq"`
	Scope          Scope     `json:"scope"`
	OrganizationID uuid.UUID `json:"organization_id,omitzero"`
	ID             string    `json:"id,omitempty"`
	IssuedBefore   int64     `json:"issued_before,omitempty"`
	DropAt         int64     `json:"drop_at"`
	// In the file of redemptions only.
	Attempt    []byte `json:"attempt,omitempty"`
	RedeemedAt int64  `json:"redeemed_at,omitempty"`
}

func appendLine(text []byte, r Record) []byte {
	line := fileLine{Seq: r.Seq, Scope: r.Scope, OrganizationID: r.OrganizationID, ID: r.ID, DropAt: r.DropAt.Unix()}
	if !r.IssuedBefore.IsZero() {
		line.IssuedBefore = r.IssuedBefore.Unix()
	}
	if r.redeemed != nil {
		line.Attempt, line.RedeemedAt = r.redeemed.attempt[:], r.redeemed.at.Unix()
	}
	return appendJSON(text, line)
}

func appendJSON(text []byte, v any) []byte {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // both types are plain
	}
	return append(append(text, line...), '\n')
}

// parse takes the whole lines that follow what was read. What is after the last of
// them is of a line that is being written, or that a crash tore: it was never
// acknowledged.
func (f *File) parse(text []byte) error {
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n') + 1
		if end == 0 {
			break
		}
		line := text[:end]
		text = text[end:]
		var err error
		if f.newest.Log == "" {
			err = f.parseHeader(line)
		} else {
			err = f.parseRecord(line)
		}
		if err == nil {
			continue
		}
		if len(text) == 0 && bytes.IndexByte(line, 0) >= 0 {
			break // torn where the disk had nothing yet
		}
		number := f.lines + 2
		if f.newest.Log == "" {
			number = 1
		}
		return fmt.Errorf("%w: %s: line %d is damaged: %w; restore the file, or move it away and run customersession revocations init",
			ErrRefused, f.path, number, err)
	}
	if f.newest.Log == "" {
		return fmt.Errorf("%w: %s has no header; move it away and run customersession revocations init", ErrRefused, f.path)
	}
	return nil
}

func (f *File) parseHeader(line []byte) error {
	var h fileHeader
	if err := parseJSON(line, &h); err != nil {
		return err
	}
	if h.Version != fileVersion || h.Kind != f.kind || h.Log == "" || strings.ContainsAny(h.Log, " \n") || h.Seq < 0 {
		return errors.New("it is not the header of this file")
	}
	f.newest, f.inode = Position{Log: h.Log, Seq: h.Seq}, h.Inode
	f.offset, f.last = int64(len(line)), append(f.last[:0], line...)
	return nil
}

func (f *File) parseRecord(line []byte) error {
	var l fileLine
	if err := parseJSON(line, &l); err != nil {
		return err
	}
	record := Record{Seq: l.Seq, Scope: l.Scope, OrganizationID: l.OrganizationID, ID: l.ID, DropAt: time.Unix(l.DropAt, 0)}
	if l.IssuedBefore != 0 {
		record.IssuedBefore = time.Unix(l.IssuedBefore, 0)
	}
	if l.Seq <= f.lastSeq {
		return errors.New("its number is not after that of the line before")
	}
	if l.Scope == "" || l.DropAt <= 0 || l.IssuedBefore < 0 {
		return errors.New("a member is missing")
	}
	if l.Scope == redemption {
		if len(l.Attempt) != len(Attempt{}) || l.RedeemedAt <= 0 {
			return errors.New("a member is missing")
		}
		record.redeemed = &redeemed{Attempt(l.Attempt), time.Unix(l.RedeemedAt, 0), record.DropAt}
	}
	f.take(record, line)
	return nil
}

// parseJSON parses a line. A program that does not know all members could not
// keep them when it compacts the file.
func parseJSON(line []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return errors.New("it is not the JSON of this version") // the error would repeat what is there
	}
	if decoder.InputOffset() < int64(len(bytes.TrimRight(line, "\n"))) {
		return errors.New("more follows the JSON")
	}
	return nil
}
