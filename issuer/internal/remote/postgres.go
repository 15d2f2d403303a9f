package remote

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/customersession/customersession/issuer/internal/loopback"
	"github.com/customersession/customersession/issuer/internal/secret"
)

// ParseDSN parses a connection string for PostgreSQL: a URL (postgres://…) or a
// list of key=value pairs. Unless insecure is set, it refuses one that allows a
// connection over a network without TLS, or with a certificate that is not
// verified. The setting is the name of the one that allows it.
func ParseDSN(dsn secret.Text, insecure bool, setting string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn.Reveal())
	if err != nil || dsn == "" {
		// The cause is not wrapped: it repeats the string, in which a password
		// cannot be found reliably.
		return nil, errors.New("the connection string is neither " +
			"a postgres:// URL nor a list of key=value pairs (it may hold a password, so it is not shown)")
	}
	if !insecure && !secure(config.ConnConfig) {
		return nil, fmt.Errorf("the connection crosses a network without TLS, or "+
			"does not verify the server's certificate; add sslmode=verify-full to the connection string, or set "+
			"%s=true if nobody else is on the path", setting)
	}
	return config, nil
}

// secure reports whether each connection that may be made stays on this machine, or
// has TLS with a verified certificate.
func secure(config *pgx.ConnConfig) bool {
	first := pgconn.FallbackConfig{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}
	for _, c := range append([]*pgconn.FallbackConfig{&first}, config.Fallbacks...) {
		network, _ := pgconn.NetworkAddress(c.Host, c.Port)
		// With sslmode=verify-ca, pgx verifies the certificate by itself.
		verified := c.TLSConfig != nil && (!c.TLSConfig.InsecureSkipVerify || c.TLSConfig.VerifyPeerCertificate != nil)
		if network != "unix" && !loopback.Host(c.Host) && !verified {
			return false
		}
	}
	return true
}

// ConnectionRefused reports whether err means that PostgreSQL did not accept a
// connection.
func ConnectionRefused(err error) bool {
	_, ok := errors.AsType[*pgconn.ConnectError](err)
	return ok
}

// ConnectionLost reports whether err means that an established connection ended:
// it is not the database's answer to the query, or says that the database shuts
// down.
func ConnectionLost(err error) bool {
	if err == nil || ConnectionRefused(err) {
		return false
	}
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || ShutsDown(answer)
}

// ShutsDown reports whether the database ends all connections: class 57P, Operator
// Intervention.
func ShutsDown(answer *pgconn.PgError) bool { return strings.HasPrefix(answer.Code, "57P") }
