package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// bareArgument makes this program the bare server: it is a process of its own,
// as the server is that it is compared with. In one with the client it would
// be woken up faster, and share its processors.
const bareArgument = "serve-bare"

// Answers are what the bare server says.
type answers struct {
	Session []byte `json:"session"`
	Set     []byte `json:"set"`
}

// A bareServer is the bare server, seen from outside.
type bareServer struct {
	base    string
	process *exec.Cmd
	input   io.Closer
}

func startBare(ctx context.Context, calls []*call) (*bareServer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process := exec.CommandContext(ctx, program, bareArgument) //nolint:gosec // this program
	process.Stderr = os.Stderr
	input, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	b := &bareServer{process: process, input: input}
	if err := json.NewEncoder(input).Encode(answers{calls[0].answer, calls[1].answer}); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if _, err := fmt.Fscanln(output, &b.base); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the bare server: %w", err), b.stop())
	}
	return b, nil
}

// stop ends it and waits for that.
func (b *bareServer) stop() error {
	_ = b.input.Close() // it ends with its input
	return b.process.Wait()
}

// serveBare is the bare server. It serves on loopback what the first line of
// its input says, prints its URL, and ends when the input does.
func serveBare(ctx context.Context, in io.Reader, out io.Writer) error {
	var say answers
	if err := json.NewDecoder(in).Decode(&say); err != nil {
		return err
	}
	handler, err := newBareHandler(say)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Close()
	}()
	if _, err := fmt.Fprintln(out, "http://"+listener.Addr().String()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newBareHandler does about the least that a server can do: it decodes the
// body, makes one ES256 signature and writes a fixed answer, and it writes the
// JWK Set from memory.
func newBareHandler(say answers) (http.Handler, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.POST(sessionsPath, func(c echo.Context) error {
		var request struct {
			CustomerID string `json:"customer_id"`
		}
		if err := json.NewDecoder(c.Request().Body).Decode(&request); err != nil {
			return err
		}
		sum := sha256.Sum256(say.Session)
		if _, err := ecdsa.SignASN1(rand.Reader, key, sum[:]); err != nil {
			return err
		}
		c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(say.Session)))
		return c.Blob(http.StatusCreated, echo.MIMEApplicationJSON, say.Session)
	})
	e.GET(jwkSetPath, func(c echo.Context) error {
		if c.Request().Header.Get("If-None-Match") != "" {
			return c.NoContent(http.StatusNotModified)
		}
		return c.Blob(http.StatusOK, "application/jwk-set+json", say.Set)
	})
	return e, nil
}
