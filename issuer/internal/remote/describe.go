// Package remote has what the clients of other services share: how to connect to
// PostgreSQL and over HTTP, and what to say when a service does not answer.
package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// Describe says why there was no answer, in words of ours and of the operating
// system. The error itself may quote what came over the network, and that what was
// sent: a customer's ID, or a secret in its place.
func Describe(err error) error {
	if TimedOut(err) {
		return errors.New("it does not answer in time")
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	for _, known := range []error{io.EOF, io.ErrUnexpectedEOF, http.ErrSchemeMismatch} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errors.New("the connection to it failed")
}

// TimedOut reports whether err means that time ran out.
func TimedOut(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && network.Timeout()
}
