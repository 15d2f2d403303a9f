package issuer_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/deploy/rig/postgres"
	"github.com/customersession/customersession/verify/wire"
)

// A server that is killed after a code's redemption is in the file, before it answers,
// loses neither the code nor the session: the portal's second try, at another server,
// gets the session, and nobody else does.
func TestServeExchangeKilled(t *testing.T) {
	t.Parallel()
	strace := needs.Program(t, "strace", "install strace")
	i := install(t, "https://sessions.example.com")
	linkCodes(t, i)
	env := withLogFile(t, i)
	one, two := serve(t, i, env...), serve(t, i, env...)
	code := codeOf(t, one.public.create(t, `{"customer_id":"`+customerID+`"}`))
	file := filepath.Join(i.dir, "revocations.jsonl.redemptions")
	before := size(t, file)
	killer := startProgram(t, strace, nil, "-f", "-p", strconv.Itoa(one.cmd.Process.Pid), "-P", file,
		"-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:signal=SIGKILL")
	killer.find(t, killer.stderr, "attached")
	request := one.public.request(t, http.MethodPost, wire.ExchangePath, `{"code":"`+code+`","redemption":"`+anAttempt+`"}`,
		"Authorization", "Bearer "+i.secret, "Content-Type", "application/json")
	if a, err := http.DefaultClient.Do(request); err == nil {
		_ = a.Body.Close()
		t.Fatalf("the server answered with %s", a.Status)
	}
	one.wait(t)
	if size(t, file) == before {
		t.Fatal("the redemption is not in the file")
	}
	wantRefused(t, "another attempt", two.public.exchangeCode(t, i.secret, code, anAttempt+"X"), "code_used")
	if a := two.public.exchangeCode(t, i.secret, code, anAttempt); a.status != http.StatusOK {
		t.Errorf("the second try: got %d %s", a.status, a.body)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// linkCodes makes the links of an installation's organization hold codes.
func linkCodes(t *testing.T, i *installation) {
	t.Helper()
	path := filepath.Join(i.dir, "organizations.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.Replace(string(text), `"slug"`, `"link":"code","slug"`, 1))
}

// Two servers share redemptions: a code is good at one of them, once. A server that
// is killed after it has redeemed a code does not lose the session: the same attempt
// gets it from the other one.
func TestServeExchange(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(t *testing.T, i *installation) []string{
		"file":     func(t *testing.T, i *installation) []string { t.Helper(); return withLogFile(t, i) },
		"postgres": withLogTable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := install(t, "https://sessions.example.com")
			linkCodes(t, i)
			env := place(t, i)
			one, two := serve(t, i, env...), serve(t, i, env...)
			create := func() string { return codeOf(t, one.public.create(t, `{"customer_id":"`+customerID+`"}`)) }
			kept := create()
			first := two.public.exchangeCode(t, i.secret, create(), anAttempt)
			if first.status != http.StatusOK {
				t.Fatalf("got %d %s", first.status, first.body)
			}
			one.public.wantActive(t, "the session", first.text(t, "token"), true)
			if a := one.public.exchangeCode(t, i.secret, kept, anAttempt); a.status != http.StatusOK {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if err := one.cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			one.wait(t)
			if a := two.public.exchangeCode(t, i.secret, kept, anAttempt); a.status != http.StatusOK {
				t.Errorf("the same attempt at the other server: got %d %s", a.status, a.body)
			}
			wantRefused(t, "another attempt", two.public.exchangeCode(t, i.secret, kept, anAttempt+"X"), "code_used")
			check := startProgram(t, binary(t), append(i.env, env...), "serve", "--check")
			if code := check.wait(t); code != 0 || !strings.Contains(check.stdout.String(), "redemptions") {
				t.Errorf("the check: exit code %d, %s %s", code, check.stdout, check.stderr)
			}
		})
	}
}

// withLogTable puts the log of an installation into a database of its own.
func withLogTable(t *testing.T, i *installation) []string {
	t.Helper()
	server := postgres.New(t)
	server.Start(t)
	path := filepath.Join(i.dir, "revocations.dsn")
	write(t, path, server.DSN("postgres", "public"))
	if p := start(t, nil, "revocations", "init", "--dsn-file", path); p.wait(t) != 0 {
		t.Fatal(p.stderr)
	}
	return []string{"CUSTOMERSESSION_REVOCATIONS=postgres", "CUSTOMERSESSION_REVOCATIONS_DSN_FILE=" + path}
}

// Links hold codes only where codes can be exchanged: otherwise a server does not
// start, and one that runs keeps the organizations that it has.
func TestServeCodesRefused(t *testing.T) {
	t.Parallel()
	const needsLog = `organization acme has "link": "code", which needs a revocation log`
	i := install(t, "https://sessions.example.com")
	running := serve(t, i)
	linkCodes(t, i)
	running.find(t, running.stderr, `"msg":"(file refused)"`)
	if a := running.operations.do(t, http.MethodGet, "/readyz", ""); !strings.Contains(string(a.body), "which needs a revocation log") {
		t.Errorf("readiness: %s", a.body)
	}
	log := withLogFile(t, i)
	path := filepath.Join(i.dir, "revocations.jsonl.redemptions")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string][]string{
		needsLog: nil,
		`with CUSTOMERSESSION_CUSTOMERS=request the customer of a code cannot be looked up`: append([]string{
			"CUSTOMERSESSION_CUSTOMERS=request", "CUSTOMERSESSION_CUSTOMERS_FILE=",
		}, log...),
		"CUSTOMERSESSION_AUDIENCE must differ from CUSTOMERSESSION_ISSUER":         append([]string{"CUSTOMERSESSION_AUDIENCE=https://sessions.example.com"}, log...),
		"there is no file " + path + "; customersession revocations init makes it": log,
	} {
		p := startProgram(t, binary(t), append(i.env, env...), "serve")
		if code := p.wait(t); code != 2 || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("exit code %d, %s; want %s", code, p.stderr, want)
		}
	}
}
