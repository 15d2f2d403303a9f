// Package authz answers the authorization requests of gateways that cannot
// verify a customer session themselves: nginx with auth_request, Caddy with
// forward_auth, Traefik with ForwardAuth, Envoy with ext_authz over HTTP.
// [NewCommand] is `customersession authz`, which runs beside the gateway; a
// program of your own can run a [Server] instead.
//
//	server, err := authz.New(authz.Config{Verifier: v})
//	…
//	err = server.Run(ctx, authz.RunConfig{Public: listener})
//
// # What it answers
//
// Any method on any path asks the same: does the Authorization header have a
// good token? If so, the answer is 204 without a body, and its headers identify
// the customer:
//
//	X-Customer-Id: 992fae2a-2a17-4b7a-8d9e-e287cf90131b
//	X-Session-Id: 3f6c1a7e-0b52-4d4e-9a53-6f0d3a1f8b11
//	X-Organization-Id: 1dbfc517-0bbf-4301-9ba8-555ca42b9737
//
// and, if the session is that of a member of a team, the member and the role that
// the member had when the session was issued:
//
//	X-Member-Id: 7b8a1f52-6c0e-4d5b-8f3a-2e9d4c6b1a07
//	X-Member-Role: billing_manager
//
// Otherwise the answer is that of [verify.Verifier.NewMiddleware], which a
// gateway can pass to the client unchanged: 401 with a challenge, 400, 403 for a
// missing scope, or 503 with Retry-After if there are no keys to verify the
// token with, or if it is not known which sessions have ended.
//
// # What it withstands
//
// It has at most 1,024 connections, with headers of 32 KiB: some 120 MiB when all
// of them are hostile, and twice that while the memory of earlier ones waits to
// be collected, unless GOMEMLIMIT is set. `customersession authz` ignores SIGHUP,
// and does not wait for the reader of its log.
//
// # What the gateway must do
//
// The five headers mean something only if clients cannot set them. This package
// never reads them. The gateway must replace a client's headers by those of the
// answer, or remove them if there are none, and the service behind the gateway
// must not be reachable any other way.
package authz
