// Package issuer is the service that issues customer sessions: its HTTP API,
// and the act of issuing.
//
// # The way of a create request
//
// A request for a session passes these files, in this order:
//
//   - run.go and routes.go: the HTTP server, the middleware and the routes;
//   - observe.go: the request ID and, in the end, the log line and the metrics;
//   - sessions.go: the handler, which takes the steps below in this order;
//   - auth.go: check the API key and the rate limits;
//   - body.go and request.go: read and decode the body;
//   - lookup.go: find the customer;
//   - issue.go and token.go: decide when the session ends, and sign the token.
//     Neither knows HTTP;
//   - sessions.go again: the audit event and the answer.
//
// Every error on the way is a plain Go error. The table in errors.go is the one
// place that turns it into status, body and headers.
//
// # Making a server
//
// [LoadSettings] reads the environment of the production server, and [Open]
// makes a server of the settings. [New] makes one of its parts, for tests and
// for the development server of package demo. [Server.Run] serves.
package issuer
