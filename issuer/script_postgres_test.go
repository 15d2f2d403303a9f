//go:build unix

package issuer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/customersession/customersession/deploy/rig/postgres"
)

// TestScriptPostgres runs commands on a PostgreSQL server; see
// testdata/script-postgres. $OWNER_DSN_FILE and $DSN_FILE connect the owner of the
// database, and a role that may do nothing yet. The command sql FILE runs
// statements as the owner.
func TestScriptPostgres(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	server := postgres.New(t)
	server.Start(t)
	server.Exec(t, "public", "CREATE ROLE customersession LOGIN")
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script-postgres",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
			for name, user := range map[string]string{"OWNER_DSN_FILE": "postgres", "DSN_FILE": "customersession"} {
				file := filepath.Join(env.WorkDir, user+".dsn")
				env.Setenv(name, file)
				if err := os.WriteFile(file, []byte(server.DSN(user, "public")), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sql": func(ts *testscript.TestScript, _ bool, args []string) {
				statements := ts.ReadFile(args[0])
				connection, err := pgx.Connect(t.Context(), server.DSN("postgres", "public"))
				ts.Check(err)
				defer connection.Close(t.Context())
				_, err = connection.Exec(t.Context(), statements, pgx.QueryExecModeSimpleProtocol)
				ts.Check(err)
			},
		},
	})
}
