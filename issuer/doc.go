// Package issuer is the service: the HTTP API that hands out customer sessions,
// and the act of issuing one.
//
// The way of a request: [Server] routes it (routes.go), finds out who asks
// (auth.go), reads what is wanted (request.go), issues the session without
// knowing HTTP (issue.go, token.go) and writes it (sessions.go). Whatever goes
// wrong on the way is a plain error until one table turns it into an answer
// (errors.go); whatever happens is one log line and a few metrics (observe.go).
//
// [Settings] is the environment of the production server, [Open] makes a
// server of it. [New] makes one of parts, for tests and for the development
// server of package demo.
package issuer
