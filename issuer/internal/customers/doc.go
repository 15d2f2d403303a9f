// Package customers finds the customers that may get a session, by ID or by the
// ID in the merchant's own system (the external ID).
//
// # Directories
//
// A [Directory] is a source of customers. There are four, which follow the rules
// documented at [Directory]:
//
//   - [File]: a snapshot of a JSON Lines file, one customer a line;
//   - [HTTP]: a server with Polar's customer API;
//   - [Postgres]: a database, with one query for each kind of ID and one for members;
//   - [Request]: no look-up; the request states the customer.
//
// # Customers
//
// [Parse] reads the customers of every source. It is strict: whatever it accepts
// can be written into an answer, by [Customer.AppendJSON].
//
// A customer may have members: the people of a team. Each belongs to one customer.
//
// # Outages
//
// A directory that cannot answer returns [ErrUnavailable], in bounded time, and
// recovers by itself once its source is back. It never returns [ErrNotFound] for a
// customer that it could not look up. Outages and connections count for each
// organization by itself, so that none takes the directory from the others. Errors
// repeat nothing that a server or a database says, which may quote what it was asked.
package customers
