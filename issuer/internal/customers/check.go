package customers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Check asks the server for a customer that there is not, by a random ID and a
// random external ID, and returns what is wrong with the settings or the server.
// The error is [ErrUnavailable] if the server cannot be asked now.
func (h *HTTP) Check(ctx context.Context) error {
	byID, _ := customerPath(Query{ID: uuid.New()})
	byExternalID, _ := customerPath(Query{ExternalID: uuid.NewString()})
	if err := h.checkPath(ctx, "by ID", byID); err != nil {
		return err
	}
	err := h.checkPath(ctx, "by external ID", byExternalID)
	if errors.Is(err, errRefusedID) {
		return nil // its external IDs may have another form
	}
	return err
}

func (h *HTTP) checkPath(ctx context.Context, name, path string) error {
	_, err := h.get(ctx, uuid.Nil, path)
	_, transient := errors.AsType[*transientError](err)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil:
		return fmt.Errorf("asking the customer server %s: it has a customer with a random ID; check the base URL", name)
	case transient || ctx.Err() != nil:
		return fmt.Errorf("asking the customer server %s: %w: %w", name, ErrUnavailable, err)
	default:
		return fmt.Errorf("asking the customer server %s: %w", name, err)
	}
}

// Check asks the database with each query for a customer or a member that there is
// not, and returns what is wrong with the connection string, a query, or the columns
// that it returns. The error is [ErrUnavailable] if the database cannot be asked now.
func (p *Postgres) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if err := p.pool.Ping(ctx); err != nil {
		return fmt.Errorf("asking the customer database: %w", checked(err))
	}
	key := uuid.NewString()
	byID := withUUIDs(p.checkQuery(ctx, p.byID, key))
	byExternalID := p.checkQuery(ctx, p.byExternalID, key)
	if refused, ok := errors.AsType[*stateError](byExternalID); ok && refused.badValue() {
		byExternalID = p.checkQuery(ctx, p.byExternalID, "0") // external IDs may be numbers
	}
	return errors.Join(
		inQuery("by ID", "the query of CUSTOMERSESSION_CUSTOMERS_QUERY_ID, or its default", byID),
		inQuery("by external ID", "the query of CUSTOMERSESSION_CUSTOMERS_QUERY_EXTERNAL_ID, or its default", byExternalID),
		inQuery("for members", "the query of CUSTOMERSESSION_CUSTOMERS_QUERY_MEMBERS", withUUIDs(p.checkMembers(ctx))),
	)
}

// withUUIDs adds what to do to the error of a query that takes only other IDs.
func withUUIDs(err error) error {
	if refused, ok := errors.AsType[*stateError](err); ok && refused.badValue() {
		return fmt.Errorf("%w; IDs of organizations and customers must be UUIDs", err)
	}
	return err
}

func inQuery(name, query string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("asking the customer database %s (%s): %w", name, query, err)
}

// checkQuery runs a query as [Postgres.Find] does, and looks at its columns.
func (p *Postgres) checkQuery(ctx context.Context, query, key string) error {
	arguments := []any{pgx.QueryExecModeExec, uuid.NewString(), key}
	if _, err := p.ask(ctx, customerRows(query), arguments); err != nil {
		return checked(err)
	}
	types, err := p.columns(ctx, query, arguments)
	if err == nil && types["email"] == 0 && types["type"] == 0 {
		err = errors.New("it returns no column email, which every individual needs")
	}
	return err
}

// checkMembers runs the query for members as [Postgres.FindMember] does, and looks at
// its columns.
func (p *Postgres) checkMembers(ctx context.Context) error {
	if p.members == "" {
		return nil
	}
	arguments := []any{pgx.QueryExecModeExec, uuid.NewString(), uuid.NewString()}
	if _, err := p.ask(ctx, memberRows(p.members, "id"), append(arguments, uuid.NewString())); err != nil {
		return checked(err)
	}
	types, err := p.columns(ctx, p.members, arguments)
	if err == nil && types["email"] == 0 {
		err = errors.New("it returns no column email, which every member needs")
	}
	return err
}

// columns returns the types of the columns of a query. The error names what keeps
// every row from being a customer or a member.
func (p *Postgres) columns(ctx context.Context, query string, arguments []any) (types map[string]uint32, err error) {
	rows, err := p.pool.Query(ctx, "SELECT *"+subquery(query)+"LIMIT 0", arguments...)
	if err != nil {
		return nil, checked(err)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, checked(err)
	}
	types = map[string]uint32{}
	for _, column := range rows.FieldDescriptions() {
		types[column.Name] = column.DataTypeOID
	}
	number := []uint32{pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.NumericOID}
	switch {
	case types["id"] == 0:
		return nil, errors.New("it returns no column id")
	case slices.Contains(number, types["id"]):
		return nil, errors.New("its column id has numbers; the ID of a customer or a member must be a UUID")
	case slices.Contains(number, types["external_id"]):
		return nil, errors.New("its column external_id has numbers; return it as text, with external_id::text AS external_id")
	}
	return types, nil
}

// checked returns an error of pgx as Check does.
func checked(err error) error {
	err = databaseError(err)
	if state, ok := errors.AsType[*stateError](err); ok && state.lasting() {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
