package issuer_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/jwk"
)

// withDatabase makes a server's files name a database.
func withDatabase(t *testing.T, dsn string) *opened {
	t.Helper()
	o := newFiles(t, newManifest(t, jwk.ES256))
	o.settings.Customers, o.settings.CustomersFile = "postgres", ""
	o.settings.CustomersDSNFile = filepath.Join(t.TempDir(), "dsn")
	write(t, o.settings.CustomersDSNFile, dsn)
	return o
}

// A database that is away keeps no server from starting.
func TestOpenWithoutDatabase(t *testing.T) {
	t.Parallel()
	listener := listen(t)
	address := listener.Addr().String()
	_ = listener.Close()
	o := withDatabase(t, "postgres://issuer:do-not-echo@"+address+"/shop")
	o.start(t, nil)
	o.await(t, `"level":"WARN","msg":"customer database is unavailable; starting without it","error":".*connection refused`)
	checkUnavailable(t, o.post(t, o.secret, `{"customer_id":"`+customerID+`"}`), "The customer directory is unavailable")
	if strings.Contains(o.logs.String(), "do-not-echo") {
		t.Error("the log has the password")
	}
}

// A database that refuses the password will refuse it tomorrow.
func TestOpenWithWrongPassword(t *testing.T) {
	t.Parallel()
	listener := listen(t)
	t.Cleanup(func() { _ = listener.Close() })
	go refusePasswords(listener)
	o := withDatabase(t, "postgres://issuer:do-not-echo@"+listener.Addr().String()+"/shop?sslmode=disable")
	server, err := issuer.Open(context.WithoutCancel(t.Context()), o.settings, nil, nil)
	const want = "loading customers: asking the customer database: it refuses the connection: wrong user or password (SQLSTATE 28P01)"
	if err == nil || server != nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// refusePasswords answers as PostgreSQL does to a wrong password.
func refusePasswords(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		backend := pgproto3.NewBackend(connection, connection)
		if _, err := backend.ReceiveStartupMessage(); err == nil {
			backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: `do-not-echo`})
			_ = backend.Flush()
		}
		_ = connection.Close()
	}
}
