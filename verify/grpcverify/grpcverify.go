// Package grpcverify lets only calls with a customer session through to the
// methods of a gRPC server.
//
//	server := grpc.NewServer(
//		grpc.UnaryInterceptor(grpcverify.UnaryServerInterceptor(v)),
//		grpc.StreamInterceptor(grpcverify.StreamServerInterceptor(v)),
//	)
//
// Methods find the session with [verify.FromContext]. A client sends its token
// as it would over HTTP, in the metadata "authorization: Bearer …", once.
//
// Both interceptors are needed: gRPC gives a unary one no streams, and the
// other way round. Calls that are not let through end with
//
//   - Unauthenticated: no token, more than one, or one that is not valid. The
//     reason is nobody's business but the operator's;
//   - PermissionDenied: the session lacks a required scope;
//   - Unavailable: keys are unavailable, so nobody can tell. Try again.
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

// UnaryServerInterceptor returns an interceptor for calls that are not
// streams. The session must have all of scopes.
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
// have all of scopes.
//
// When the session ends, the context of the stream does, and messages are
// neither sent nor received any more: a client that has signed out for long
// should not go on listening. The verifier's default leeway is added, for a
// clock that is ahead.
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

// authenticate returns the session of a call, or the status to end it with.
func authenticate(ctx context.Context, v *verify.Verifier, scopes []string) (verify.Session, error) {
	// One way to read the value of an Authorization header, whatever brought it.
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

// A sessionStream is a stream that ends with its session.
type sessionStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream hands out its context by a method
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

// RecvMsg receives into m. What arrives after the session has ended is
// refused.
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
