package revocations

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customersession/customersession/issuer/internal/remote"
)

var (
	errNotReplicated = errors.New("the server committed the entry, but warned that it may not be on the standby")
	errStandby       = errors.New("the server is a standby; name the primary, or all hosts with target_session_attrs=read-write")
	errNameless      = errors.New("the first row of the table, with its name, is missing; run the INSERT of customersession revocations init --print")
	errNotDurable    = errors.New("synchronous_commit is off, so that a commit may be lost; set it to on for this role: ALTER ROLE … SET synchronous_commit = on")
)

// lost reports whether err means that an established connection ended, as after a
// restart of the server.
func lost(err error) bool {
	for _, ours := range []error{pgx.ErrNoRows, errNotReplicated, errStandby, errNameless} {
		if errors.Is(err, ours) {
			return false
		}
	}
	return remote.ConnectionLost(err)
}

// A table is what an error of the database is about.
type table struct {
	name, rights string
}

// databaseError returns an error of pgx about the log in words of ours.
func databaseError(err error) error {
	return table{"customersession_revocations", "SELECT from customersession_revocations and to INSERT into it"}.describe(err)
}

// describe returns an error of pgx in words of ours, as ErrUnavailable or
// ErrRefused. Of the server's answer it keeps only the SQLSTATE (PostgreSQL,
// Appendix A): the text may quote what was sent.
func (t table) describe(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: %w", ErrRefused, errNotDurable)
	}
	if errors.Is(err, errStandby) || errors.Is(err, errNameless) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if errors.Is(err, errNotReplicated) {
		return fmt.Errorf("%w: %w", ErrUnavailable, errNotReplicated)
	}
	answer, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return fmt.Errorf("%w: %w", ErrUnavailable, remote.Describe(err))
	}
	kind, meaning := ErrUnavailable, "the database refuses"
	switch answer.Code {
	case "25006":
		return fmt.Errorf("%w: %w (SQLSTATE 25006)", ErrRefused, errStandby)
	case "42P01":
		kind, meaning = ErrRefused, "there is no table "+t.name+"; customersession revocations init makes it"
	case "42501":
		kind, meaning = ErrRefused, "the user must be allowed to "+t.rights
	case "28P01":
		kind, meaning = ErrRefused, "wrong user or password"
	case "28000":
		kind, meaning = ErrRefused, "this user may not connect from here; see pg_hba.conf"
	case "3D000":
		kind, meaning = ErrRefused, "there is no such database"
	case "53300":
		meaning = "too many connections"
	case "53100":
		meaning = "its disk is full"
	case "55P03":
		meaning = "other appends take too long; a synchronous standby may be away"
	case "57014":
		meaning = "it took too long"
	case "57P01", "57P02", "57P03":
		meaning = "it starts or shuts down"
	default:
		if answer.Code[:min(2, len(answer.Code))] == "42" {
			kind, meaning = ErrRefused, "the table "+t.name+" is not as this version needs it"
		}
	}
	return fmt.Errorf("%w: %s (SQLSTATE %s)", kind, meaning, answer.Code)
}
