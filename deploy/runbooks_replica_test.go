package deploy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// What a production server needs beside its keys, and what it is asked.
const (
	runbookOrganizations = `{"organizations":[{"id":"1dbfc517-0bbf-4301-9ba8-555ca42b9737",` +
		`"slug":"acme","portal_url":"https://portal.example.com/","api_keys":[%s]}]}`
	runbookCustomer = `{"customer_id":"992fae2a-2a17-4b7a-8d9e-e287cf90131b","customer":{"email":"ada@example.com"},"expires_in":86400}`
)

// replica starts the production server, whose public listener the page knows as
// 127.0.0.1:8080, and the other one as 127.0.0.1:9090. Its clock may be ahead of
// that of the others, and it may have more settings:
//
//	replica MANIFEST [AHEAD] [NAME=VALUE…]
func (r *rehearsal) replica(_ *testscript.TestScript, _ bool, args []string) error {
	if err := r.organization(); err != nil {
		return err
	}
	r.ahead, r.settings = 0, []string{"CUSTOMERSESSION_KEYS_FILE=" + args[0]}
	for _, arg := range args[1:] {
		if strings.Contains(arg, "=") {
			r.settings = append(r.settings, arg)
			continue
		}
		var err error
		if r.ahead, err = time.ParseDuration(arg); err != nil {
			return err
		}
	}
	return r.start()
}

// organization makes the files of the replica, once.
func (r *rehearsal) organization() error {
	if r.secret != "" {
		return nil
	}
	output, err := exec.Command(r.program, "apikey", "new", "--name", "checkout", "--json").Output()
	if err != nil {
		return err
	}
	var made struct {
		Secret string          `json:"secret"`
		Entry  json.RawMessage `json:"entry"`
	}
	if err := json.Unmarshal(output, &made); err != nil {
		return err
	}
	r.secret = made.Secret
	return os.WriteFile(filepath.Join(r.folder, ".organizations.json"), fmt.Appendf(nil, runbookOrganizations, made.Entry), 0o600)
}

// start starts the replica anew and waits until it listens.
func (r *rehearsal) start() error {
	r.stop()
	command := exec.Command(r.program, "serve")
	command.Dir = r.folder
	command.Env = append([]string{
		r.clockAt(r.passed + r.ahead),
		"CUSTOMERSESSION_ISSUER=http://" + r.public, "CUSTOMERSESSION_ADDR=" + r.public,
		"CUSTOMERSESSION_OPERATIONS_ADDR=" + r.operations,
		"CUSTOMERSESSION_ORGANIZATIONS_FILE=.organizations.json", "CUSTOMERSESSION_CUSTOMERS=request",
	}, r.settings...)
	pipe, err := command.StderrPipe()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(r.folder, "customersession.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	log := io.TeeReader(pipe, file)
	if err := command.Start(); err != nil {
		return err
	}
	r.running = command
	var written strings.Builder
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if strings.Contains(lines.Text(), `"msg":"listening"`) {
			go func() {
				_, _ = io.Copy(io.Discard, log)
				_ = file.Close()
			}()
			return nil
		}
		written.WriteString(lines.Text() + "\n")
	}
	return fmt.Errorf("the replica did not start: %s", written.String())
}

// stop ends the replica, if there is one.
func (r *rehearsal) stop() {
	if r.running != nil {
		_ = r.running.Process.Kill() // it may have ended already
		_ = r.running.Wait()
		r.running = nil
	}
}

// session asks the replica for a session, and keeps its token under a name:
//
//	[!] session NAME
func (r *rehearsal) session(ts *testscript.TestScript, neg bool, args []string) error {
	request, err := http.NewRequest(http.MethodPost, "http://"+r.public+"/v1/customer-sessions/", strings.NewReader(runbookCustomer))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+r.secret)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true // the replica is started again and again
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	want := http.StatusCreated
	if neg {
		want = http.StatusServiceUnavailable
	}
	if response.StatusCode != want {
		return fmt.Errorf("creating a session: got %s, want %d", response.Status, want)
	}
	var session struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&session); err != nil {
		return err
	}
	ts.Setenv("SESSION_"+args[0], session.Token)
	return nil
}

// accepted verifies the token of a session as a consumer would that has no keys
// yet. Where it is to be refused, for a reason:
//
//	accepted NAME
//	! accepted NAME REASON…
func (r *rehearsal) accepted(ts *testscript.TestScript, neg bool, args []string) error {
	inspect := exec.Command(r.program, "token", "inspect", "--issuer", "http://"+r.public)
	inspect.Stdin = strings.NewReader(ts.Getenv("SESSION_" + args[0]))
	inspect.Env = []string{r.clockAt(r.passed)}
	output, err := inspect.CombinedOutput()
	switch reason := strings.Join(args[1:], " "); {
	case !neg && err != nil:
		return fmt.Errorf("session %s is refused: %s", args[0], output)
	case neg && (err == nil || reason == "" || !strings.Contains(string(output), reason)):
		return fmt.Errorf("session %s: want it refused, since %q; got %s", args[0], reason, output)
	}
	return nil
}
