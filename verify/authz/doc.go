// Package authz answers gateways that ask whether a request may pass: nginx
// with auth_request, Caddy with forward_auth, Traefik with ForwardAuth, Envoy
// with ext_authz over HTTP. It is for gateways that cannot verify a customer
// session themselves. [NewCommand] is `customersession authz`, which runs beside
// the gateway; a program of your own can run a [Server] instead.
//
//	server, err := authz.New(authz.Config{Verifier: v})
//	…
//	err = server.Run(ctx, authz.RunConfig{Public: listener})
//
// # What it answers
//
// Any method on any path is the same question: is there a good token in the
// Authorization header? If there is, the answer is 204 without a body, and its
// headers say whose it is:
//
//	X-Customer-Id: 992fae2a-2a17-4b7a-8d9e-e287cf90131b
//	X-Session-Id: 3f6c1a7e-0b52-4d4e-9a53-6f0d3a1f8b11
//	X-Organization-Id: 1dbfc517-0bbf-4301-9ba8-555ca42b9737
//
// If there is not, it is what [verify.Verifier.NewMiddleware] answers, which a
// gateway can hand to the client as it is: 401 with a challenge, 400, 403 for
// a scope that the session lacks, or 503 with Retry-After when keys cannot be
// had, so that nothing can be told of the token.
//
// # What the gateway must do
//
// The three headers mean something only when a client cannot send them itself.
// This package never reads them; the gateway must replace what a client sent
// by what is answered here, also where that is nothing, and the service behind
// it must be reachable in no other way.
package authz
