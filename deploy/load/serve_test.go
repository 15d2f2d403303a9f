package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const (
	customerID     = "992fae2a-2a17-4b7a-8d9e-cf287e90131b"
	organizationID = "1dbfc517-0bbf-4301-9ba8-555ca42b9737"
)

// A short run against the production server, with none that fails.
func TestRun(t *testing.T) {
	t.Parallel()
	base, keyFile := serve(t)
	args := []string{"--url", base, "--api-key-file", keyFile, "--customer-id", customerID, "--duration", "2s"}
	var out, talk strings.Builder
	if err := run(t.Context(), args, &out, &talk); err != nil {
		t.Errorf("got error %v", err)
	}
	t.Logf("\n%s", &out)
	rows := regexp.MustCompile(`(?m)^\| (create a session|JWK Set|JWK Set, unchanged) \| (this one|bare Echo) \| [1-9]\d* \| 0 \| [1-9]\d* \| [1-9]\d* µs \| [1-9]\d* µs \| [1-9]\d* µs \|$`)
	if n := len(rows.FindAllString(out.String(), -1)); n != 6 {
		t.Errorf("%d rows have figures, want 6:\n%s", n, &out)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String()+talk.String(), string(key)) {
		t.Error("the API key is printed")
	}

	t.Run("wrong key", func(t *testing.T) {
		wrong := filepath.Join(t.TempDir(), "key")
		write(t, wrong, strings.Repeat("x", 40))
		args[3] = wrong
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "trying to create a session: the server answers 401") {
			t.Errorf("got error %v, want one about 401", err)
		}
	})
}

// serve starts the production server as the README does.
func serve(t *testing.T) (base, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	command(t, "go", "build", "-o", path("customersession"), "github.com/customersession/customersession")
	command(t, path("customersession"), "keys", "init", "--file", path("keys.json"), "--bootstrap")
	var made struct {
		Secret string          `json:"secret"`
		Entry  json.RawMessage `json:"entry"`
	}
	output := command(t, path("customersession"), "apikey", "new", "--name", "load", "--scope", "customer_sessions:write", "--json")
	if err := json.Unmarshal(output, &made); err != nil {
		t.Fatal(err)
	}
	write(t, path("key"), made.Secret)
	write(t, path("organizations.json"), `{"organizations":[{"id":"`+organizationID+`","slug":"acme",`+
		`"portal_url":"https://portal.example.com/{slug}/portal","api_keys":[`+string(made.Entry)+`]}]}`)
	write(t, path("customers.jsonl"), `{"id":"`+customerID+`","organization_id":"`+organizationID+`","email":"ada@example.com"}`+"\n")
	return start(t, path("customersession"),
		"CUSTOMERSESSION_ISSUER=https://sessions.example.com", "CUSTOMERSESSION_ADDR=127.0.0.1:0",
		"CUSTOMERSESSION_OPERATIONS_ADDR=localhost:0", "CUSTOMERSESSION_KEY_RATE=0", "CUSTOMERSESSION_DRAIN_DELAY=0s",
		"CUSTOMERSESSION_KEYS_FILE="+path("keys.json"), "CUSTOMERSESSION_ORGANIZATIONS_FILE="+path("organizations.json"),
		"CUSTOMERSESSION_CUSTOMERS=file", "CUSTOMERSESSION_CUSTOMERS_FILE="+path("customers.jsonl"),
	), path("key")
}

// start runs serve until the test ends, and returns its URL.
func start(t *testing.T, program string, env ...string) (base string) {
	t.Helper()
	server := exec.CommandContext(t.Context(), program, "serve")
	server.Env = env
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	lines, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	listening := regexp.MustCompile(`"msg":"listening","addr":"([^"]+)"`)
	log := bufio.NewScanner(lines)
	for base == "" && log.Scan() {
		if found := listening.FindStringSubmatch(log.Text()); found != nil {
			base = "http://" + found[1]
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines)
	}()
	t.Cleanup(func() { // after t.Context is done
		<-drained
		if err := server.Wait(); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		used := server.ProcessState
		t.Logf("the server used %v of a processor", used.UserTime()+used.SystemTime())
	})
	if base == "" {
		t.Fatal("the server does not listen")
	}
	return base
}

func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	output, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, args[0], err)
	}
	return output
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
