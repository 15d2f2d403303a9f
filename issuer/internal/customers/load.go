package customers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

const (
	maxLine   = 64 << 10 // bytes of one customer
	maxListed = 10       // bad lines that an error describes
)

// badLines are the lines of a file that are not customers, or repeat one.
type badLines struct {
	listed []string
	count  int
}

// add adds a line, counted from 1. The reason repeats no value of the line.
func (b *badLines) add(number int, reason string) {
	if b.count++; b.count <= maxListed {
		b.listed = append(b.listed, fmt.Sprintf("line %d%s", number, reason))
	}
}

// err lists the first lines and counts the others.
func (b *badLines) err() error {
	if more := b.count - maxListed; more > 0 {
		return fmt.Errorf("%s; and %d more bad lines", strings.Join(b.listed, "; "), more)
	}
	if b.count > 0 {
		return errors.New(strings.Join(b.listed, "; "))
	}
	return nil
}

// LoadFile reads customers from JSON Lines: one object a line, as [Parse]
// describes it, of at most 64 KiB; empty lines are allowed. Each line needs an
// id, an organization_id and, for an individual, an email; a missing created_at
// is the time of loading. A member that is a known one but for capital letters,
// underscores and hyphens, such as externalId, is a mistake.
//
// The member "members" lists the people of a team, as objects with id and email, and
// perhaps external_id, name and role: see [Member].
//
// A file with a bad line, or with two customers of one organization that share
// an ID, an external ID or the ID of a member, is refused as a whole. The error then lists the first
// ten such lines, with the column of each mistake, counted in bytes from 1.
func LoadFile(r io.Reader) (*File, error) {
	f := &File{
		byID: map[idKey]*Customer{}, byExternal: map[externalKey]*Customer{}, places: map[uuid.UUID]Place{},
		members: map[idKey][]Member{}, memberIDs: map[idKey]struct{}{},
		loadedAt: wholeSeconds(time.Now()),
	}
	var bad badLines
	lines := bufio.NewReaderSize(r, maxLine+len("\r\n"))
	defaults := Defaults{CreatedAt: f.loadedAt}
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading customers: %w", err)
		}
		if reason := f.addLine(number, line, defaults); reason != "" {
			bad.add(number, reason)
		}
		if err != nil {
			break
		}
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	f.memberIDs = nil
	return f, nil
}

// readLine returns the next line without white space at its end. It is valid
// until the next call. Of a line that r cannot hold only the length counts: it is
// longer than maxLine. The error is [io.EOF] with the last line.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return bytes.TrimRight(line, " \t\r\n"), err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return line, err
}

// addLine adds the customer of a line. It returns what is wrong with the line,
// beginning with the column, or an empty string.
func (f *File) addLine(number int, line []byte, defaults Defaults) (reason string) {
	if len(line) == 0 {
		return ""
	}
	if len(line) > maxLine {
		return fmt.Sprintf(": line is longer than %d bytes", maxLine)
	}
	c, members, problems := parseLine(line, defaults)
	if len(problems) > 0 {
		return describeLine(line, problems)
	}
	if duplicate := f.add(c, members); duplicate != nil {
		return describeLine(line, []Problem{{Loc: duplicate, Msg: "another line has the same value"}})
	}
	f.place(number, line, c.OrganizationID)
	return ""
}

// place notes where an organization is first, and that it has one more customer.
func (f *File) place(number int, line []byte, organization uuid.UUID) {
	place, found := f.places[organization]
	if !found {
		place = Place{Line: number, Column: column(line, "organization_id")}
	}
	place.Customers++
	f.places[organization] = place
}

// describeLine says what is wrong with a line, and where.
func describeLine(line []byte, problems []Problem) string {
	var b strings.Builder
	for i, p := range problems {
		separator := ", "
		if i > 0 {
			separator = "; "
		}
		var name string
		if len(p.Loc) > 0 {
			name, _ = p.Loc[0].(string)
		}
		fmt.Fprintf(&b, "%scolumn %d: %s", separator, column(line, name), p.text())
	}
	return b.String()
}

// column returns where the value of a member of a line is, or else where the line
// stops being JSON, or else where it begins. It counts bytes from 1.
func column(line []byte, name string) int {
	var value ijson.Value
	end, err := ijson.Members(line, limits(), func(n []byte, v ijson.Value) error {
		if string(n) == name {
			value = v
			return io.EOF
		}
		return nil
	})
	if err == nil {
		return 1
	}
	return end - len(value) + 1
}
