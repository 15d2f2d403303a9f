//go:build unix

package issuer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/customersession/customersession/deploy/rig/clock"
	"github.com/customersession/customersession/deploy/rig/postgres"
)

// TestScriptPostgres runs commands on a PostgreSQL server; see
// testdata/script-postgres. $OWNER_DSN_FILE and $DSN_FILE connect the owner of the
// database, and a role that may do nothing yet. The command sql FILE runs
// statements as the owner.
func TestScriptPostgres(t *testing.T) {
	t.Parallel()
	path := binary(t)
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

// With a clock that is ahead of the database's, the command does not say that
// sessions have ended that have not.
func TestRevokeAheadOfTheLog(t *testing.T) {
	t.Parallel()
	server := postgres.New(t)
	server.Start(t)
	program := clock.Build(t, "github.com/customersession/customersession")
	file := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(file, []byte(server.DSN("postgres", "public")), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(ahead time.Duration, args ...string) (string, error) {
		command := exec.CommandContext(t.Context(), program, append(args, "--dsn-file", file)...)
		command.Env = []string{clock.Clock{Base: time.Now(), Scale: 1, Offset: ahead}.Env()}
		output, err := command.CombinedOutput()
		return string(output), err
	}
	if output, err := run(0, "revocations", "init"); err != nil {
		t.Fatal(err, output)
	}
	const organization = "1dbfc517-0bbf-4301-9ba8-555ca42b9737"
	if output, err := run(0, "revoke", "organization", organization); err != nil || !strings.Contains(output, "Ended: ") {
		t.Errorf("with the same clock: %v\n%s", err, output)
	}
	output, err := run(10*time.Minute, "revoke", "organization", organization)
	if err == nil || strings.Contains(output, "Ended: ") || !strings.Contains(output, "sessions of the last ") {
		t.Errorf("ten minutes ahead: %v\n%s", err, output)
	}
}
