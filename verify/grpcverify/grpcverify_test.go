package grpcverify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/grpcverify"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

// A service tells who called, once or for each message of a stream.
type service struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (service) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	session, _ := verify.FromContext(ctx)
	if !hasToken(ctx) {
		return nil, errors.New("the context has another token than the call, or none")
	}
	return &grpc_testing.SimpleResponse{Username: session.CustomerID}, nil
}

// hasToken reports whether the context of a call has the call's token.
func hasToken(ctx context.Context) bool {
	token, ok := verify.Token(ctx)
	sent := metadata.ValueFromIncomingContext(ctx, "authorization")
	return ok && len(sent) == 1 && strings.EqualFold(sent[0], "Bearer "+token)
}

func (service) FullDuplexCall(stream grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		session, _ := verify.FromContext(stream.Context())
		if !hasToken(stream.Context()) {
			return errors.New("the context has another token than the call, or none")
		}
		body := []byte(session.CustomerID)
		err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: body}})
		if err != nil {
			return err
		}
	}
}

// newClient returns a client of a real server behind both interceptors.
func newClient(t testing.TB, v *verify.Verifier, scopes ...string) grpc_testing.TestServiceClient {
	t.Helper()
	server := grpc.NewServer(
		grpc.UnaryInterceptor(grpcverify.UnaryServerInterceptor(v, scopes...)),
		grpc.StreamInterceptor(grpcverify.StreamServerInterceptor(v, scopes...)),
	)
	grpc_testing.RegisterTestServiceServer(server, service{})
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///in-memory",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return grpc_testing.NewTestServiceClient(conn)
}

func newVerifier(t testing.TB, issuer *verifytest.Issuer, changes ...func(*verify.Config)) *verify.Verifier {
	t.Helper()
	config := issuer.Config()
	for _, change := range changes {
		change(&config)
	}
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// unary and stream make one call each, and return who the service says called.
func unary(ctx context.Context, client grpc_testing.TestServiceClient) (string, error) {
	answer, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	return answer.GetUsername(), err
}

func stream(ctx context.Context, client grpc_testing.TestServiceClient) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := client.FullDuplexCall(ctx)
	if err != nil {
		return "", err
	}
	// When the server has ended the stream already, Recv tells why.
	_ = call.Send(&grpc_testing.StreamingOutputCallRequest{})
	answer, err := call.Recv()
	return string(answer.GetPayload().GetBody()), err
}

func TestInterceptors(t *testing.T) {
	t.Parallel()
	issuer, down := verifytest.NewIssuer(t, verifytest.Config{}), verifytest.NewIssuer(t, verifytest.Config{})
	down.Fail(verifytest.Down)
	client := newClient(t, newVerifier(t, issuer))
	scoped := newClient(t, newVerifier(t, issuer), wire.Scope)
	admin := newClient(t, newVerifier(t, issuer), wire.Scope, "admin")
	outage := newClient(t, newVerifier(t, down))
	silent, ended := verifytest.NewIssuer(t, verifytest.Config{}), verifytest.NewIssuer(t, verifytest.Config{})
	silent.FailFeed(verifytest.FeedDown)
	blind := newClient(t, newVerifier(t, silent))
	ended.RevokeSession(verifytest.SessionID)
	after := newClient(t, newVerifier(t, ended))
	good := issuer.Token(verifytest.TokenSpec{})
	for _, tc := range []struct {
		name   string
		client grpc_testing.TestServiceClient
		values []string
		want   codes.Code
	}{
		{"good", client, []string{"Bearer " + good}, codes.OK},
		{"scheme in lower case", client, []string{"bearer " + good}, codes.OK},
		{"with its scope", scoped, []string{"Bearer " + good}, codes.OK},
		{"without a scope", admin, []string{"Bearer " + good}, codes.PermissionDenied},
		{"no metadata", client, nil, codes.Unauthenticated},
		{"twice", client, []string{"Bearer " + good, "Bearer " + good}, codes.Unauthenticated},
		{"two in one", client, []string{"Bearer " + good + ", Bearer " + good}, codes.Unauthenticated},
		{"other scheme", client, []string{"Basic " + good}, codes.Unauthenticated},
		{"no scheme", client, []string{good}, codes.Unauthenticated},
		{"empty", client, []string{""}, codes.Unauthenticated},
		{"bad token", client, []string{"Bearer x.y.z"}, codes.Unauthenticated},
		{"expired", client, []string{"Bearer " + issuer.Token(verifytest.TokenSpec{
			IssuedAt: time.Now().Add(-2 * time.Hour),
		})}, codes.Unauthenticated},
		{"keys unavailable", outage, []string{"Bearer " + good}, codes.Unavailable},
		{"revocations unavailable", blind, []string{"Bearer " + silent.Token(verifytest.TokenSpec{})}, codes.Unavailable},
		{"revoked", after, []string{"Bearer " + ended.Token(verifytest.TokenSpec{})}, codes.Unauthenticated},
	} {
		for kind, call := range map[string]func(context.Context, grpc_testing.TestServiceClient) (string, error){
			"unary": unary, "stream": stream,
		} {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"authorization": tc.values})
				who, err := call(ctx, tc.client)
				if status.Code(err) != tc.want || (who == verifytest.CustomerID) != (tc.want == codes.OK) {
					t.Errorf("got %q, %v, want %v", who, err, tc.want)
				}
				if err != nil && strings.Contains(err.Error(), "expired") {
					t.Errorf("the client learns the reason: %v", err)
				}
			})
		}
	}
}

// A fakeStream is what gRPC gives an interceptor, without a connection.
type fakeStream struct {
	grpc.ServerStream
	ctx     context.Context //nolint:containedctx // a fake of an interface that hands it out by a method
	receive func() error    // nil: there is always a message
}

func (f *fakeStream) Context() context.Context { return f.ctx }
func (f *fakeStream) SendMsg(any) error        { return nil }
func (f *fakeStream) RecvMsg(any) error {
	if f.receive != nil {
		return f.receive()
	}
	return nil
}

// intercept calls a handler for a stream of the given session, and returns the
// status of the call.
func intercept(t *testing.T, v *verify.Verifier, token string, stream *fakeStream, handler func(grpc.ServerStream) error) codes.Code {
	t.Helper()
	ctx := stream.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	stream.ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
	return status.Code(grpcverify.StreamServerInterceptor(v)(nil, stream, nil, func(_ any, s grpc.ServerStream) error {
		return handler(s)
	}))
}

// A stream ends with its session, by the verifier's own leeway.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	for _, leeway := range []time.Duration{time.Second, 30 * time.Second, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			issuer := verifytest.NewIssuer(t, verifytest.Config{})
			v := newVerifier(t, issuer, func(c *verify.Config) { c.Leeway = leeway })
			token := issuer.Token(verifytest.TokenSpec{Lifetime: time.Minute})
			got := intercept(t, v, token, &fakeStream{}, func(s grpc.ServerStream) error {
				time.Sleep(time.Minute + leeway - 1)
				if err := errors.Join(s.SendMsg(nil), s.RecvMsg(nil), s.Context().Err()); err != nil {
					t.Errorf("just before the end: %v", err)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if s.Context().Err() == nil {
					t.Error("the context has not ended")
				}
				if err := s.RecvMsg(nil); status.Code(err) != codes.Unauthenticated {
					t.Errorf("receiving after the end: got %v", err)
				}
				return s.SendMsg(nil)
			})
			if got != codes.Unauthenticated {
				t.Errorf("sending after the end: got %v", got)
			}
		})
	}
}

// withdraw makes another key the issuer's only one.
func withdraw(issuer *verifytest.Issuer) {
	old := issuer.KeyID()
	issuer.Activate(issuer.Publish(jwk.ES256))
	issuer.Remove(old)
}

// Whatever a handler makes of the end, the client learns whether to try again.
func TestStreamEndStatus(t *testing.T) {
	t.Parallel()
	down := func(issuer *verifytest.Issuer) { issuer.Fail(verifytest.Down) }
	silent := func(issuer *verifytest.Issuer) { issuer.FailFeed(verifytest.FeedHang) }
	ended := func(issuer *verifytest.Issuer) { issuer.RevokeCustomer(verifytest.CustomerID) }
	for name, test := range map[string]struct {
		event func(*verifytest.Issuer)
		want  codes.Code
	}{
		"expired":                 {func(*verifytest.Issuer) {}, codes.Unauthenticated},
		"key withdrawn":           {withdraw, codes.Unauthenticated},
		"keys unavailable":        {down, codes.Unavailable},
		"revoked":                 {ended, codes.Unauthenticated},
		"revocations unavailable": {silent, codes.Unavailable},
	} {
		for kind, outcome := range map[string]func(grpc.ServerStream) error{
			"returns the error of the context": func(s grpc.ServerStream) error { return s.Context().Err() },
			"returns no error":                 func(grpc.ServerStream) error { return nil },
			"returns another error":            func(grpc.ServerStream) error { return status.Error(codes.Internal, "oops") },
			"returns the error of receiving":   func(s grpc.ServerStream) error { return s.RecvMsg(nil) },
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					issuer := verifytest.NewIssuer(t, verifytest.Config{})
					token := issuer.Token(verifytest.TokenSpec{Lifetime: 3 * time.Hour})
					got := intercept(t, newVerifier(t, issuer), token, &fakeStream{}, func(s grpc.ServerStream) error {
						test.event(issuer)
						<-s.Context().Done()
						return outcome(s)
					})
					if got != test.want {
						t.Errorf("got %v, want %v", got, test.want)
					}
				})
			})
		}
	}
}

// A server that waits for a silent client does not wait longer than the session
// lasts.
func TestStreamEndsWhileReceiving(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	v := newVerifier(t, issuer)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+issuer.Token(verifytest.TokenSpec{}))
	call, err := newClient(t, v).FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The answer shows that the handler waits for the next message.
	if err := call.Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); err != nil {
		t.Fatal(err)
	}
	withdraw(issuer)
	if err := v.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
}

// A call that its client has given up keeps the status that gRPC gives it.
func TestStreamGivenUp(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	ctx, hangUp := context.WithCancel(t.Context())
	fake := &fakeStream{ctx: ctx, receive: func() error {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}}
	got := intercept(t, newVerifier(t, issuer), issuer.Token(verifytest.TokenSpec{}), fake, func(s grpc.ServerStream) error {
		hangUp()
		return s.RecvMsg(nil)
	})
	if got != codes.Canceled {
		t.Errorf("got %v, want Canceled", got)
	}
}

// What panics while a message is read can be recovered, as without us.
func TestStreamPanics(t *testing.T) {
	t.Parallel()
	issuer := verifytest.NewIssuer(t, verifytest.Config{})
	fake := &fakeStream{receive: func() error { panic("a codec") }}
	intercept(t, newVerifier(t, issuer), issuer.Token(verifytest.TokenSpec{}), fake, func(s grpc.ServerStream) (err error) {
		defer func() {
			if p := recover(); p != "a codec" {
				t.Errorf("the handler recovers %v", p)
			}
		}()
		return s.RecvMsg(nil)
	})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for kind, call := range map[string]func(context.Context, grpc_testing.TestServiceClient) (string, error){
		"unary": unary, "stream": stream,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, newVerifier(t, verifytest.ConformanceIssuer(t)))
			verifytest.RunConformance(t, func(ctx context.Context, token string) error {
				who, err := call(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), client)
				switch {
				case err == nil && who != verifytest.CustomerID:
					t.Errorf("got the session of %q", who)
				// A client sends no metadata that is not printable ASCII.
				case err != nil && status.Code(err) != codes.Unauthenticated && isPrintable(token):
					t.Errorf("got %v, want Unauthenticated", err)
					return verify.ErrKeysUnavailable
				}
				return err
			})
		})
	}
}

func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

func ExampleUnaryServerInterceptor() {
	issuer := verifytest.NewIssuer(nil, verifytest.Config{})
	v, err := verify.New(issuer.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	interceptor := grpcverify.UnaryServerInterceptor(v)
	server := grpc.NewServer(
		grpc.UnaryInterceptor(interceptor),
		grpc.StreamInterceptor(grpcverify.StreamServerInterceptor(v)),
	)
	defer server.Stop()

	// What the server does with a call:
	whoAmI := func(ctx context.Context, _ any) (any, error) {
		session, _ := verify.FromContext(ctx)
		return "customer " + session.CustomerID, nil
	}
	for _, token := range []string{issuer.Token(verifytest.TokenSpec{}), "forged"} {
		ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+token))
		answer, err := interceptor(ctx, nil, nil, whoAmI)
		fmt.Println(answer, status.Code(err))
	}
	// Output:
	// customer 992fae2a-2a17-4b7a-8d9e-e287cf90131b OK
	// <nil> Unauthenticated
}
