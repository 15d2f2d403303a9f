package customers

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	chunkSize = 1 << 20  // bytes that are read and parsed together
	maxLine   = 64 << 10 // bytes of one customer
	maxListed = 10       // bad lines that an error describes
)

// FileError says which lines of a file of customers are bad.
type FileError struct {
	Lines []BadLine // the first ten
	Count int       // how many there are
}

// BadLine is a line that is not a customer, or not a new one.
type BadLine struct {
	Number int    // of the line, from 1
	Reason string // never holds anything of the line itself
}

// Error lists the first lines and counts the others.
func (e *FileError) Error() string {
	var b strings.Builder
	for i, line := range e.Lines {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "line %d: %s", line.Number, line.Reason)
	}
	if more := e.Count - len(e.Lines); more > 0 {
		fmt.Fprintf(&b, "; and %d more bad lines", more)
	}
	return b.String()
}

// LoadFile reads customers from JSON Lines: one object a line, as [Parse]
// describes it, of at most 64 KiB; empty lines are allowed. Each line needs an
// id, an organization_id and, for an individual, an email; a missing created_at
// is the time of loading.
//
// A file with a bad line, or with two customers of one organization that share
// an ID or an external ID, is refused as a whole with a [*FileError]. Other
// errors are those of r.
func LoadFile(r io.Reader) (*File, error) {
	f := &File{seed: maphash.MakeSeed()}
	chunks, err := f.parseChunks(r)
	if err != nil {
		return nil, fmt.Errorf("reading customers: %w", err)
	}
	var bad []badPlace
	count, customers, external := 0, 0, 0
	for _, c := range chunks {
		f.packed = append(f.packed, c.packed)
		bad = append(bad, c.bad...)
		count += c.badCount
		customers += len(c.byID)
		external += len(c.byExternal)
	}
	f.byID = make([]place, 0, customers)
	f.byExternal = make([]place, 0, external)
	for _, c := range chunks {
		f.byID = append(f.byID, c.byID...)
		f.byExternal = append(f.byExternal, c.byExternal...)
		c.byID, c.byExternal = nil, nil
	}
	twice := f.sort()
	bad, count = append(bad, twice...), count+len(twice)
	if count > 0 {
		return nil, refuse(bad, count, chunks)
	}
	return f, nil
}

// parseChunks cuts the input into chunks of whole lines and parses them, as
// many at a time as there are processors.
func (f *File) parseChunks(r io.Reader) ([]*chunk, error) {
	var (
		now    = time.Now()
		chunks []*chunk
		group  errgroup.Group
		buffer = make([]byte, chunkSize)
		kept   = 0 // bytes of a line that goes on in the next chunk
	)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for last := false; !last; {
		n, err := io.ReadFull(r, buffer[kept:])
		last = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return nil, errors.Join(err, group.Wait())
		}
		filled := kept + n
		end := filled
		if !last {
			// A line without an end in sight is too long; the next chunk
			// begins in the middle of it, and both report it.
			if newline := bytes.LastIndexByte(buffer[:filled], '\n'); newline >= 0 {
				end = newline + 1
			}
		}
		c := &chunk{number: uint32(len(chunks))} //nolint:gosec // 2³² chunks are 4 PiB
		chunks = append(chunks, c)
		text := bytes.Clone(buffer[:end])
		group.Go(func() error {
			c.parse(text, f.seed, now)
			return nil
		})
		kept = copy(buffer, buffer[end:filled])
	}
	return chunks, group.Wait()
}

// chunk is what was found in some lines of the file.
type chunk struct {
	number           uint32
	lines            int // line breaks
	packed           string
	byID, byExternal []place
	bad              []badPlace // the first ones
	badCount         int
}

// badPlace is a bad line before its number in the file is known.
type badPlace struct {
	chunk  uint32
	line   int // from 0
	reason string
}

func (c *chunk) parse(text []byte, seed maphash.Seed, now time.Time) {
	packed := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		customer, reason := parseLine(line, now)
		if reason != "" {
			c.refuse(reason)
		}
		if customer != nil {
			c.add(seed, customer, len(packed))
			packed = pack(packed, customer, c.lines)
		}
		if bytes.HasSuffix(line, []byte("\n")) {
			c.lines++
		}
	}
	c.packed = string(packed)
}

// parseLine returns a customer, or what is wrong with the line, or nothing for
// an empty one.
func parseLine(line []byte, now time.Time) (c *Customer, reason string) {
	line = bytes.TrimRight(line, " \t\r\n")
	if len(line) == 0 {
		return nil, ""
	}
	if len(line) > maxLine {
		return nil, fmt.Sprintf("line is longer than %d bytes", maxLine)
	}
	c, err := Parse(line, Defaults{CreatedAt: now})
	if err != nil {
		return nil, err.Error()
	}
	return c, ""
}

// add files a customer who stands at offset of the packed ones.
func (c *chunk) add(seed maphash.Seed, customer *Customer, offset int) {
	p := place{chunk: c.number, offset: uint32(offset)} //nolint:gosec // few MiB
	p.hash = hashID(seed, customer.OrganizationID, customer.ID)
	c.byID = append(c.byID, p)
	if customer.ExternalID != nil {
		p.hash = hashExternalID(seed, customer.OrganizationID, *customer.ExternalID)
		c.byExternal = append(c.byExternal, p)
	}
}

func (c *chunk) refuse(reason string) {
	c.badCount++
	if len(c.bad) < maxListed {
		c.bad = append(c.bad, badPlace{c.number, c.lines, reason})
	}
}

// sort orders the indexes and returns the lines of customers that an earlier
// line has already named.
func (f *File) sort() []badPlace {
	twice := f.sortIndex(f.byID, "id", func(a, b *Customer) bool {
		return a.ID == b.ID
	})
	return append(twice, f.sortIndex(f.byExternal, "external_id", func(a, b *Customer) bool {
		return b.hasExternalID(*a.ExternalID)
	})...)
}

func (f *File) sortIndex(list []place, member string, same func(a, b *Customer) bool) []badPlace {
	slices.SortFunc(list, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash),
			cmp.Compare(a.chunk, b.chunk), cmp.Compare(a.offset, b.offset))
	})
	var twice []badPlace
	for i := 1; i < len(list); i++ {
		if list[i].hash != list[i-1].hash {
			continue
		}
		a, _ := f.customer(list[i-1])
		b, line := f.customer(list[i])
		if a.OrganizationID == b.OrganizationID && same(a, b) {
			twice = append(twice, badPlace{list[i].chunk, line, "another line has the same " + member})
		}
	}
	return twice
}

// refuse describes the first of the bad lines.
func refuse(bad []badPlace, count int, chunks []*chunk) *FileError {
	slices.SortStableFunc(bad, func(a, b badPlace) int {
		return cmp.Or(cmp.Compare(a.chunk, b.chunk), cmp.Compare(a.line, b.line))
	})
	e := &FileError{Count: count}
	number, next := 1, uint32(0) // of the next chunk's first line, and of that chunk
	for _, b := range bad[:min(len(bad), maxListed)] {
		for ; next < b.chunk; next++ {
			number += chunks[next].lines
		}
		e.Lines = append(e.Lines, BadLine{number + b.line, b.reason})
	}
	return e
}
