// Package grpcverify provides gRPC server interceptors that pass on only calls
// with a customer session.
//
//	server := grpc.NewServer(
//		grpc.UnaryInterceptor(grpcverify.UnaryServerInterceptor(v)),
//		grpc.StreamInterceptor(grpcverify.StreamServerInterceptor(v)),
//	)
//
// Methods get the session from [verify.FromContext]. A client sends exactly one
// token, as over HTTP: in the metadata "authorization: Bearer …".
//
// Install both interceptors: gRPC calls one for unary calls and the other for
// streams. Calls that are not passed on fail with
//
//   - Unauthenticated: no token, more than one, or an invalid one. The client
//     does not learn why a token is invalid;
//   - PermissionDenied: the session lacks a required scope;
//   - Unavailable: without keys, the token cannot be verified. Try again.
//
// A stream does not outlive its session: see [StreamServerInterceptor].
package grpcverify

import (
	"context"
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/customersession/customersession/verify"
)

// UnaryServerInterceptor returns an interceptor for unary calls. The session
// must have all the given scopes.
func UnaryServerInterceptor(v *verify.Verifier, scopes ...string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		session, err := authenticate(ctx, v, scopes)
		if err != nil {
			return nil, err
		}
		return handler(verify.NewContext(ctx, session), req)
	}
}

// leeway is the default of verify.Config.
const leeway = 30 * time.Second

// StreamServerInterceptor returns an interceptor for streams. The session must
// have all the given scopes.
//
// When the session expires, plus [verify.DefaultLeeway] for a clock that is
// ahead, the stream's context is done, and the stream no longer sends or
// receives messages.
func StreamServerInterceptor(v *verify.Verifier, scopes ...string) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		session, err := authenticate(stream.Context(), v, scopes)
		if err != nil {
			return err
		}
		end := session.ExpiresAt.Add(leeway)
		ctx, cancel := context.WithDeadline(verify.NewContext(stream.Context(), session), end)
		defer cancel()
		return handler(srv, &sessionStream{stream, ctx, end})
	}
}

// authenticate returns the session of a call, or a status error.
func authenticate(ctx context.Context, v *verify.Verifier, scopes []string) (verify.Session, error) {
	// BearerToken parses the value the same way for HTTP and gRPC.
	token, err := verify.BearerToken(http.Header{"Authorization": metadata.ValueFromIncomingContext(ctx, "authorization")})
	if err != nil {
		return verify.Session{}, status.Error(codes.Unauthenticated, "one bearer token is required")
	}
	session, err := v.Verify(ctx, token)
	switch {
	case errors.Is(err, verify.ErrKeysUnavailable):
		return verify.Session{}, status.Error(codes.Unavailable, "tokens cannot be verified at the moment")
	case err != nil:
		return verify.Session{}, status.Error(codes.Unauthenticated, "the token is not valid here")
	}
	for _, scope := range scopes {
		if !session.HasScope(scope) {
			return verify.Session{}, status.Error(codes.PermissionDenied, "the session does not allow this")
		}
	}
	return session, nil
}

// A sessionStream is a stream that stops when its session expires.
type sessionStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream returns its context from a method
	end time.Time
}

// Context returns the stream's context with the session in it.
func (s *sessionStream) Context() context.Context { return s.ctx }

// SendMsg sends m unless the session has ended.
func (s *sessionStream) SendMsg(m any) error {
	if err := s.ended(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg receives into m, and refuses messages that arrive after the session
// has ended.
func (s *sessionStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.ended()
}

func (s *sessionStream) ended() error {
	if time.Now().Before(s.end) {
		return nil
	}
	return status.Error(codes.Unauthenticated, "the session has ended")
}
