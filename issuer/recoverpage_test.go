package issuer_test

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// The server on the page about recovery verifies events by the published package
// standardwebhooks, and mails one link that works.
func TestRecoveryPage(t *testing.T) {
	t.Parallel()
	node := needs.Program(t, "node", "install Node.js 20.3 or newer")
	needs.Path(t, "testdata/sdk/node_modules/standardwebhooks", "run npm ci --prefix issuer/testdata/sdk")
	page, err := os.ReadFile("../deploy/howto/recovery.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "<!-- run: issuer recoverpage_test.go -->\n```js\n")
	program, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended {
		t.Fatal("the page has no program")
	}
	reserved := listen(t)
	address := reserved.Addr().String()
	f := newRecovery(t, "http://"+address, "168h")
	mails := runHook(t, node, program, f, reserved)
	tokens := []string{
		f.old(t, time.Hour, map[string]any{wire.ClaimReturnURL: "https://shop.example.com/"}),
		f.old(t, 2*time.Hour, nil), // the same hour's
		f.old(t, time.Hour, map[string]any{wire.ClaimCustomerID: deletedID}),
		f.old(t, time.Hour, map[string]any{wire.ClaimCustomerID: otherCustomerID}),
	}
	for _, token := range tokens {
		if a := f.recover(t, token); a.status != http.StatusAccepted {
			t.Fatalf("got %d %s, want 202", a.status, a.body)
		}
	}
	for _, want := range []string{"To: ada@example.com", "To: alan@example.com"} {
		if got := <-mails; got != want {
			t.Fatalf("the mail begins with %q, want %q", got, want)
		}
		link := strings.TrimPrefix(<-mails, "Your new link: ")
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		if a := f.portal(t, "introspect", u.Query().Get(verify.TokenParameter)); a.status != http.StatusOK {
			t.Errorf("the new link: got %d %s", a.status, a.body)
		}
	}
	// A stranger cannot make it send anything.
	forged, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/hook", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	forged.Header.Set("Webhook-Id", "msg_1")
	forged.Header.Set("Webhook-Timestamp", "1")
	forged.Header.Set("Webhook-Signature", "v1,AAAA")
	if a := roundTrip(t, forged); a.status != http.StatusUnauthorized {
		t.Errorf("a forged event: got %d, want 401", a.status)
	}
}

// runHook runs the program in place of a listener, and returns the lines of its
// mails that are not empty.
func runHook(t *testing.T, node, program string, f *fixture, reserved net.Listener) <-chan string {
	t.Helper()
	modules, err := filepath.Abs("testdata/sdk/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "hook.mjs"), program)
	write(t, filepath.Join(folder, "api-key"), f.secret+"\n")
	write(t, filepath.Join(folder, "recovery-secret"), webhookSecret+"\n")
	_, port, _ := net.SplitHostPort(reserved.Addr().String())
	command := exec.CommandContext(t.Context(), node, "hook.mjs")
	command.Dir = folder
	command.Env = append(command.Environ(), "SESSIONS_URL="+f.base, "PORT="+port)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reserved.Close()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			if scanner.Text() != "" {
				lines <- scanner.Text()
			}
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		for range lines {
			t.Error("there was another mail")
		}
		_ = command.Wait()
	})
	untilListening(t, reserved.Addr().String())
	return lines
}

// untilListening waits until somebody listens on an address.
func untilListening(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = connection.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody listens on " + address)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
