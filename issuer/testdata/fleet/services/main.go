// Command services is a number of services that only customers with a session may
// use, each with a verifier and a listener of its own. An argument describes one:
// its kind, a comma, and the URL where it gets keys, such as
//
//	services -issuer https://sessions.example.com echo,https://sessions.example.com/.well-known/jwks.json
//
// The kinds are http, echo and grpc, the last one with grpc_testing.TestService.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/echoverify"
	"github.com/customersession/customersession/verify/grpcverify"
)

func main() {
	issuer := flag.String("issuer", "", "`URL` of the issuer")
	flag.Parse()
	if err := run(*issuer, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
		os.Exit(1)
	}
}

// run starts the services and prints the address of each, in their order.
func run(issuer string, services []string) error {
	ended := make(chan error, len(services))
	for _, service := range services {
		kind, url, _ := strings.Cut(service, ",")
		v, err := newVerifier(issuer, url)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { ended <- serve(kind, v, listener) }()
		fmt.Printf("listening on %s\n", listener.Addr())
	}
	fmt.Println("ready")
	return <-ended
}

// newVerifier returns a verifier, set up as the README says, that is ready.
func newVerifier(issuer, url string) (*verify.Verifier, error) {
	v, err := verify.New(verify.Config{
		Issuer: issuer, Audience: "customer-portal", JWKSetURL: url, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return v, v.Ready(ctx)
}

func serve(kind string, v *verify.Verifier, listener net.Listener) error {
	switch kind {
	case "http":
		return http.Serve(listener, v.Middleware(http.HandlerFunc(account)))
	case "echo":
		e := echo.New()
		e.Use(echoverify.New(v))
		e.GET("/account", echo.WrapHandler(http.HandlerFunc(account)))
		return http.Serve(listener, e)
	case "grpc":
		server := grpc.NewServer(
			grpc.UnaryInterceptor(grpcverify.UnaryServerInterceptor(v)),
			grpc.StreamInterceptor(grpcverify.StreamServerInterceptor(v)),
		)
		grpc_testing.RegisterTestServiceServer(server, service{})
		return server.Serve(listener)
	default:
		return fmt.Errorf("no kind of service is called %q", kind)
	}
}

// account answers with the customer's ID.
func account(w http.ResponseWriter, r *http.Request) {
	session, _ := verify.FromContext(r.Context())
	_, _ = io.WriteString(w, session.CustomerID)
}

// A service answers each message with the customer's ID.
type service struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (service) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	session, _ := verify.FromContext(ctx)
	return &grpc_testing.SimpleResponse{Username: session.CustomerID}, nil
}

func (service) FullDuplexCall(stream grpc_testing.TestService_FullDuplexCallServer) error {
	session, _ := verify.FromContext(stream.Context())
	answer := &grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: []byte(session.CustomerID)}}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}
