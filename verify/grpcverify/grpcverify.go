// Package grpcverify provides gRPC server interceptors that pass on only calls
// with a customer session.
//
//	server := grpc.NewServer(
//		grpc.UnaryInterceptor(grpcverify.UnaryServerInterceptor(v)),
//		grpc.StreamInterceptor(grpcverify.StreamServerInterceptor(v)),
//	)
//
// Methods get the session from [verify.FromContext], and its token from
// [verify.Token]. A client sends exactly one
// token, as over HTTP: in the metadata "authorization: Bearer …".
//
// Install both interceptors: gRPC calls one for unary calls and the other for
// streams. Calls that are not passed on fail with
//
//   - Unauthenticated: no token, more than one, or an invalid one. The client
//     does not learn why a token is invalid;
//   - PermissionDenied: the session lacks a required scope;
//   - Unavailable: without keys, or without knowing which sessions have ended, the
//     token cannot be verified. Try again.
//
// A stream does not outlive its session: see [StreamServerInterceptor].
package grpcverify

import (
	"cmp"
	"context"
	"errors"
	"net/http"

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
		session, token, err := authenticate(ctx, v, scopes)
		if err != nil {
			return nil, err
		}
		return handler(verify.NewContextWithToken(ctx, session, token), req)
	}
}

// StreamServerInterceptor returns an interceptor for streams. The session must
// have all the given scopes.
//
// A stream ends with its session: its context is that of
// [verify.Verifier.SessionContext]. Once it is done, the stream neither sends nor
// receives messages, a handler that waits for one gets an error immediately, and
// the call fails with Unauthenticated, or with Unavailable if the session can no
// longer be judged, whatever the handler returns. A handler that waits for
// something else must watch the context. One that waits in SendMsg for a client
// that does not read goes on waiting, but sends no other message.
func StreamServerInterceptor(v *verify.Verifier, scopes ...string) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		session, token, err := authenticate(stream.Context(), v, scopes)
		if err != nil {
			return err
		}
		ctx, cancel := v.SessionContext(stream.Context(), session)
		defer cancel()
		limited := &sessionStream{stream, verify.NewContextWithToken(ctx, session, token)}
		err = handler(srv, limited)
		// A handler that returns the context's error, or none, would make the end
		// of the session look like something else.
		return cmp.Or(limited.ended(), err)
	}
}

// authenticate returns the session of a call and its token, or a status error.
func authenticate(ctx context.Context, v *verify.Verifier, scopes []string) (session verify.Session, token string, err error) {
	// BearerToken parses the value the same way for HTTP and gRPC.
	token, err = verify.BearerToken(http.Header{"Authorization": metadata.ValueFromIncomingContext(ctx, "authorization")})
	if err != nil {
		return verify.Session{}, "", status.Error(codes.Unauthenticated, "one bearer token is required")
	}
	session, err = v.Verify(ctx, token)
	if err != nil {
		return verify.Session{}, "", refusal(err, "the token is not valid here")
	}
	for _, scope := range scopes {
		if !session.HasScope(scope) {
			return verify.Session{}, "", status.Error(codes.PermissionDenied, "the session does not allow this")
		}
	}
	return session, token, nil
}

// refusal returns the status for an error of the verifier. The client learns
// whether to try again, and no reason.
func refusal(err error, message string) error {
	if errors.Is(err, verify.ErrKeysUnavailable) || errors.Is(err, verify.ErrRevocationsUnavailable) {
		return status.Error(codes.Unavailable, "tokens cannot be verified at the moment")
	}
	return status.Error(codes.Unauthenticated, message)
}

// A sessionStream is a stream that stops when its session ends.
type sessionStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream returns its context from a method
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

// RecvMsg receives into m. It waits no longer than the session lasts, and refuses
// messages that arrive later. gRPC itself stops waiting only at the end of the
// call, so a goroutine waits, until the handler has returned.
func (s *sessionStream) RecvMsg(m any) error {
	if err := s.ended(); err != nil {
		return err
	}
	received := make(chan func() error, 1)
	go func() {
		// What panics here, such as a codec, panics where it can be recovered.
		defer func() {
			if p := recover(); p != nil {
				received <- func() error { panic(p) }
			}
		}()
		err := s.ServerStream.RecvMsg(m)
		received <- func() error { return err }
	}()
	select {
	case outcome := <-received:
		return cmp.Or(s.ended(), outcome())
	case <-s.ctx.Done():
		if err := s.ended(); err != nil {
			return err
		}
		return (<-received)() // the client is gone, which ends the wait
	}
}

// ended returns the status of a stream whose session has ended, or nil. A call
// that ended for another reason has the status that gRPC gives it.
func (s *sessionStream) ended() error {
	cause := context.Cause(s.ctx)
	if cause == nil || errors.Is(cause, context.Cause(s.ServerStream.Context())) {
		return nil
	}
	return refusal(cause, "the session has ended")
}
