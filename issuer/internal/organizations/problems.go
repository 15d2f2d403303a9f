package organizations

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/customersession/customersession/issuer/internal/secret"
)

// maxProblems limits how many problems are listed. A file of another kind could
// have thousands.
const maxProblems = 50

// problems collects all problems of a file.
type problems struct {
	found []error
	more  int
}

// add adds a problem with the value at a path.
func (p *problems) add(at, format string, args ...any) {
	if len(p.found) == maxProblems {
		p.more++
		return
	}
	problem := fmt.Errorf(format, args...)
	if at != "" {
		problem = fmt.Errorf("%s: %w", at, problem)
	}
	p.found = append(p.found, problem)
}

// err returns all problems, one a line, or nil when there is none.
func (p *problems) err() error {
	if p.more == 0 {
		return errors.Join(p.found...)
	}
	return errors.Join(errors.Join(p.found...), fmt.Errorf("and %d more", p.more))
}

// member returns the path of the member name of the object at a path.
func member(at, name string) string {
	name = strings.Trim(quote(name), `"`)
	if at == "" {
		return name
	}
	return at + "." + name
}

// element returns the path of the element i of the list at a path.
func element(at string, i int) string {
	return at + "[" + strconv.Itoa(i) + "]"
}

// quote quotes text of the file for an error, short and printable. It hides text
// that may be a misplaced secret.
func quote(text string) string {
	const enough = 64
	if strings.Contains(text, secretPrefix) {
		return `"` + secret.Redacted + `"`
	}
	if len(text) > enough {
		cut := enough
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return strconv.Quote(text)
}
