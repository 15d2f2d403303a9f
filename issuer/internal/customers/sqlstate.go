package customers

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customersession/customersession/issuer/internal/remote"
)

// stateError is an error that the database answers with. Of that it keeps only the
// SQLSTATE (PostgreSQL, Appendix A): the database's text may quote what it was
// asked for, which can be a secret in the place of an ID.
type stateError struct {
	code       string
	connecting bool // there is no connection
}

// Error says what the SQLSTATE means.
func (e *stateError) Error() string {
	what := "it refuses the query"
	if e.connecting {
		what = "it refuses the connection"
	}
	if meaning := e.meaning(); meaning != "" {
		return fmt.Sprintf("%s: %s (SQLSTATE %s)", what, meaning, e.code)
	}
	return fmt.Sprintf("%s (SQLSTATE %s)", what, e.code)
}

func (e *stateError) meaning() string {
	switch e.code {
	case "28P01":
		return "wrong user or password"
	case "28000":
		return "this user may not connect from here; see pg_hba.conf"
	case "3D000":
		return "there is no such database"
	case "3F000":
		return "there is no such schema"
	case "42P01":
		return "a table does not exist"
	case "42703":
		return "a column does not exist"
	case "42883":
		return "values of different types are compared"
	case "42P18":
		return "it does not use all of $1 and $2, or their types are unclear"
	case "42501":
		return "the user may not SELECT there"
	case "42601":
		return "syntax error; it must be one SELECT"
	case "53300":
		return "too many connections"
	case "57014":
		return "it took too long"
	}
	if e.badValue() {
		return "an ID does not fit the type of a column"
	}
	return ""
}

// badValue reports whether a value of the query does not fit its type: class 22,
// Data Exception.
func (e *stateError) badValue() bool { return !e.connecting && strings.HasPrefix(e.code, "22") }

// lasting reports whether the answer stays the same until a setting or the database
// changes: no access, no such thing, a wrong query.
func (e *stateError) lasting() bool {
	switch e.code[:min(2, len(e.code))] {
	case "22", "28", "3D", "3F", "42":
		return true
	default:
		return false
	}
}

// databaseError returns an error of pgx in words of ours, nil for nil.
func databaseError(err error) error {
	if err == nil {
		return nil
	}
	connecting := remote.ConnectionRefused(err)
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		err = &stateError{code: answer.Code, connecting: connecting}
		if connecting || remote.ShutsDown(answer) {
			err = &outageError{err}
		}
		return err
	}
	return &outageError{remote.Describe(err)}
}
