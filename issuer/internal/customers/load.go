package customers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	maxLine   = 64 << 10 // bytes of one customer
	maxListed = 10       // bad lines that an error describes
)

// FileError lists the bad lines of a file of customers.
type FileError struct {
	Lines []BadLine // the first ten
	Count int       // how many there are
}

// BadLine is a line that is not a customer, or repeats one.
type BadLine struct {
	Number int    // of the line, from 1
	Reason string // never repeats anything of the line
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

// add adds a bad line.
func (e *FileError) add(number int, reason string) {
	if e.Count++; e.Count <= maxListed {
		e.Lines = append(e.Lines, BadLine{number, reason})
	}
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
	f := &File{byID: map[idKey]*Customer{}, byExternal: map[externalKey]*Customer{}}
	refused := &FileError{}
	lines := bufio.NewReaderSize(r, maxLine+len("\r\n"))
	defaults := Defaults{CreatedAt: time.Now()}
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading customers: %w", err)
		}
		if reason := f.addLine(line, defaults); reason != "" {
			refused.add(number, reason)
		}
		if err != nil {
			break
		}
	}
	if refused.Count > 0 {
		return nil, refused
	}
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
// or an empty string.
func (f *File) addLine(line []byte, defaults Defaults) (reason string) {
	if len(line) == 0 {
		return ""
	}
	if len(line) > maxLine {
		return fmt.Sprintf("line is longer than %d bytes", maxLine)
	}
	c, err := Parse(line, defaults)
	if err != nil {
		return err.Error()
	}
	if duplicate := f.add(c); duplicate != "" {
		return "another line has the same " + duplicate
	}
	return ""
}
