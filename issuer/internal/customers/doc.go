// Package customers knows who may get a session: it finds a customer by ID or
// by the ID that the merchant's own system uses (the external ID).
//
// # Directories
//
// A [Directory] is a place where customers come from. There are four, and they
// obey the same rules, written at [Directory]:
//
//   - [File]: a snapshot of a JSON Lines file, one customer a line;
//   - [HTTP]: any server that speaks Polar's customer API;
//   - [Postgres]: a database, asked with one query for each kind of ID;
//   - [Request]: no look-up at all; the caller states the customer.
//
// # Customers
//
// Wherever a customer comes from, it is read by [Parse], which is strict: what
// it accepts can be written into an answer as it is. [Customer.AppendJSON]
// writes it.
//
// # Outages
//
// A directory that cannot answer says so with [ErrUnavailable], in bounded
// time, and heals by itself once its source is back. It never says "not found"
// for a customer that it could not look up.
package customers
