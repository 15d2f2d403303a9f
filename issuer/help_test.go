package issuer_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// subcommands returns the names of the commands below one, as completion has
// them.
func subcommands(t *testing.T, path []string) []string {
	t.Helper()
	p := start(t, nil, slices.Concat([]string{"__complete"}, path, []string{""})...)
	if code := p.wait(t); code != 0 {
		t.Fatalf("completing %q: exit code %d: %s", path, code, p.stderr)
	}
	var names []string
	for line := range strings.Lines(p.stdout.String()) {
		if name, _, described := strings.Cut(line, "\t"); described {
			names = append(names, name)
		}
	}
	return names
}

// checkHelp looks at the help of a command and of all below it, and returns how
// many these are.
func checkHelp(t *testing.T, path []string) (count int) {
	t.Helper()
	typed := strings.Join(append([]string{"customersession"}, path...), " ")
	p := start(t, nil, append(slices.Clone(path), "--help")...)
	if code := p.wait(t); code != 0 || p.stderr.String() != "" {
		t.Errorf("%s --help: exit code %d: %s", typed, code, p.stderr)
	}
	text := p.stdout.String()
	if !strings.Contains(text, "\nUsage:\n  "+typed) {
		t.Errorf("%s --help does not say how it is used:\n%s", typed, text)
	}
	for line := range strings.Lines(text) {
		if width := utf8.RuneCountInString(line) - 1; width > 100 {
			t.Errorf("%s --help has a line of %d columns: %s", typed, width, line)
		}
	}
	count = 1
	for _, name := range subcommands(t, path) {
		if name == "help" {
			continue // below it is everything again
		}
		count += checkHelp(t, append(slices.Clone(path), name))
	}
	return count
}

// Every command explains itself on standard output, in 100 columns.
func TestCommandHelp(t *testing.T) {
	t.Parallel()
	if count := checkHelp(t, nil); count < 24 {
		t.Errorf("found %d commands, want all of them", count)
	}
}

// Exit codes: 0 done, 1 failed, 2 misused. What was misused is said in one line,
// and a second one leads to the help.
func TestCommandExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		code int
	}{
		{"", 0},
		{"help", 0},
		{"help keys rotate", 0},
		{"keys", 0},
		{"--version", 0},
		{"serve -h", 0},
		{"version --json", 0},
		{"probe --url http://127.0.0.1:1/readyz", 1},
		{"keys status --file /nowhere/keys.json", 1},
		{"keys check /nowhere/a.json /nowhere/b.json", 1},
		{"token inspect", 1},
		{"serv", 2},
		{"keys rotat", 2},
		{"help serv", 2},
		{"config now", 2},
		{"dev --nonsense", 2},
		{"dev --log-level loud", 2},
		{"dev --addr 0.0.0.0:0", 2},
		{"apikey new --name x --scope admin", 2},
		{"token inspect --issuer http://sessions.example.com", 2},
		{"revoke session 0b6f2c4e-5d0c-4c5e-9a43-6f2f6a1b7c1d --organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737 --file /nowhere/log", 1},
		{"revoke session --file /nowhere/log", 2},
		{"revoke session 1 --organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737 --file /nowhere/log", 2},
		{"revoke session 0b6f2c4e-5d0c-4c5e-9a43-6f2f6a1b7c1d --file /nowhere/log", 2},
		{"revoke session 0b6f2c4e-5d0c-4c5e-9a43-6f2f6a1b7c1d --organization acme --file /nowhere/log", 2},
		{"revoke api-key --organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737 --file /nowhere/log", 2},
		{"revoke api-key checkout --organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737 --file /nowhere/log", 2},
		{"revoke api-key --client-id checkout2 --organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737 --file /nowhere/log", 2},
		{"revoke organization 1dbfc517-0bbf-4301-9ba8-555ca42b9737", 2},
		{"revocations status --file /nowhere/log", 1},
		{"revocations status", 2},
		{"revocations list --file /nowhere/log --dsn-file /nowhere/dsn", 2},
		{"revocations list --file /nowhere/log --organization acme", 2},
		{"authz", 2},
		{"authz --issuer https://sessions.example.com --status 302", 2},
		{"keys init", 2},
		{"keys init --file a --kubernetes-secret b/c", 2},
		{"keys init --file /nowhere/keys.json --algorithm HS256", 2},
		{"keys init --file /nowhere/keys.json --signer pkcs11:token=t", 2},
		{"keys rotate --kubernetes-secret no-slash", 2},
		{"keys activate a b --file /nowhere/keys.json", 2},
		{"keys revoke --file /nowhere/keys.json", 2},
		{"keys import --file /nowhere/keys.json --for 1h", 2},
		{"keys import --file /nowhere/keys.json old.pem", 2},
		{"keys check one", 2},
		{"keys export --file /nowhere/keys.json", 2},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil, strings.Fields(test.args)...)
			if code := p.wait(t); code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, p.stderr)
			}
			said := strings.SplitAfter(p.stderr.String(), "\n")
			if test.code == 0 && len(said) > 1 || test.code != 0 && p.stdout.String() != "" {
				t.Errorf("results belong to stdout, messages to stderr; got\n%s---\n%s", p.stdout, p.stderr)
			}
			if test.code == 2 && (len(said) != 3 || !strings.HasPrefix(said[0], "customersession: ") || !strings.HasSuffix(said[1], " --help' for usage.\n")) {
				t.Errorf("want the mistake, and where to find help; got\n%s", p.stderr)
			}
		})
	}
}

// An error never has what a terminal obeys.
func TestErrorsArePrintable(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "keys", "status", "--file", "/nowhere/\x1b[2J\u009b\u202e\r.json")
	p.wait(t)
	if text := p.stderr.String(); strings.ContainsAny(text, "\x1b\r\u009b\u202e") || !strings.Contains(text, "/nowhere/\uFFFD[2J") {
		t.Errorf("got %q", text)
	}
}
