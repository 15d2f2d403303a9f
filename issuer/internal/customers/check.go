package customers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// Check asks the database with both queries for a customer that there is not, and
// returns what is wrong with the connection string, a query, or the columns that
// it returns. The error is [ErrUnavailable] if the database cannot be asked now.
func (p *Postgres) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if err := p.pool.Ping(ctx); err != nil {
		return fmt.Errorf("asking the customer database: %w", checked(err))
	}
	key := uuid.NewString()
	byID := p.checkQuery(ctx, p.byID, key)
	if refused, ok := errors.AsType[*stateError](byID); ok && refused.badValue() {
		byID = fmt.Errorf("%w; IDs of organizations and customers must be UUIDs", byID)
	}
	byExternalID := p.checkQuery(ctx, p.byExternalID, key)
	if refused, ok := errors.AsType[*stateError](byExternalID); ok && refused.badValue() {
		byExternalID = p.checkQuery(ctx, p.byExternalID, "0") // external IDs may be numbers
	}
	return errors.Join(
		inQuery("by ID", "CUSTOMERSESSION_CUSTOMERS_QUERY_ID", byID),
		inQuery("by external ID", "CUSTOMERSESSION_CUSTOMERS_QUERY_EXTERNAL_ID", byExternalID),
	)
}

func inQuery(name, setting string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("asking the customer database %s (the query of %s, or its default): %w", name, setting, err)
}

// checkQuery runs a query as [Postgres.Find] does, and looks at its columns.
func (p *Postgres) checkQuery(ctx context.Context, query, key string) error {
	organization := uuid.NewString()
	if _, err := p.ask(ctx, query, organization, key); err != nil {
		return checked(err)
	}
	rows, err := p.pool.Query(ctx, "SELECT *"+subquery(query)+"LIMIT 0", pgx.QueryExecModeExec, organization, key)
	if err != nil {
		return checked(err)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return checked(err)
	}
	return checkColumns(rows.FieldDescriptions())
}

// checkColumns names what keeps every row from being a customer.
func checkColumns(columns []pgconn.FieldDescription) error {
	types := map[string]uint32{}
	for _, column := range columns {
		types[column.Name] = column.DataTypeOID
	}
	number := []uint32{pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.NumericOID}
	switch {
	case types["id"] == 0:
		return errors.New("it returns no column id")
	case slices.Contains(number, types["id"]):
		return errors.New("its column id has numbers; the ID of a customer must be a UUID")
	case slices.Contains(number, types["external_id"]):
		return errors.New("its column external_id has numbers; return it as text, with external_id::text AS external_id")
	case types["email"] == 0 && types["type"] == 0:
		return errors.New("it returns no column email, which every individual needs")
	}
	return nil
}

// checked returns an error of pgx as Check does.
func checked(err error) error {
	err = databaseError(err)
	if state, ok := errors.AsType[*stateError](err); ok && state.lasting() {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
