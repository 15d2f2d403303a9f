// Package howto_test runs the code of the pages in this folder.
package howto_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// pageIssuer stands for the issuer on the pages.
	pageIssuer = "https://sessions.example.com"
	cookieName = "__Host-customer_session"
)

// marked finds the blocks of a page that tests run.
var marked = regexp.MustCompile(`<!-- run: deploy/howto (\S+) -->\n` + "```\\w*\n((?s:.*?))```\n")

// blocks returns the blocks of a page by name, with pairs of old and new replaced.
func blocks(t *testing.T, page string, oldnew ...string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, match := range marked.FindAllStringSubmatch(string(text), -1) {
		found[match[1]] = strings.NewReplacer(oldnew...).Replace(match[2])
	}
	if len(found) == 0 {
		t.Fatalf("%s has no block to run", page)
	}
	return found
}

// write writes files below a new folder, and returns its path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// The Go code of each page is what this package compiles and tests.
func TestGoCode(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("code_test.go")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range marked.FindAllStringSubmatch(string(text), -1) {
			if filepath.Ext(match[1]) != ".go" {
				continue
			}
			checked++
			if !bytes.Contains(code, []byte(match[2])) {
				t.Errorf("%s: %s differs from code_test.go", page, match[1])
			}
		}
	}
	if checked < 6 {
		t.Errorf("only %d blocks of Go were found", checked)
	}
}

// build builds the program once for all tests.
var build = sync.OnceValues(func() (program string, err error) {
	folder, err := os.MkdirTemp("", "howto")
	if err != nil {
		return "", err
	}
	program = filepath.Join(folder, "customersession")
	output, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, output)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	m.Run()
	if program, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(program))
	}
}

// A dev is a running development server.
type dev struct{ base, apiKey string }

// startDev starts a development server, which stops with the test.
func startDev(t *testing.T) dev {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), program, "dev", "--addr", "127.0.0.1:0")
	server.Env = append(server.Environ(), "TMPDIR="+t.TempDir())
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() })
	var d dev
	lines := bufio.NewScanner(output)
	for (d.base == "" || d.apiKey == "") && lines.Scan() {
		if match := regexp.MustCompile(`running at (http://\S+)`).FindStringSubmatch(lines.Text()); match != nil {
			d.base = match[1]
		}
		if match := regexp.MustCompile(`API_KEY=(\S+)`).FindStringSubmatch(lines.Text()); match != nil {
			d.apiKey = match[1]
		}
	}
	if d.apiKey == "" {
		t.Fatal("the development server did not say its API key")
	}
	go func() { _, _ = io.Copy(io.Discard, output) }()
	return d
}

// create creates a session of a demo customer, and returns its token.
func (d dev) create(t *testing.T, externalID string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.base+"/v1/customer-sessions/",
		strings.NewReader(`{"external_customer_id":"`+externalID+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+d.apiKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var session struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&session); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("got %s, %v", response.Status, err)
	}
	return session.Token
}

// accepts reports whether the issuer accepts a token.
func (d dev) accepts(t *testing.T, token string) bool {
	t.Helper()
	answer := send(t, http.MethodGet, d.base+"/v1/customer-portal/customer-session/introspect", http.Header{"Authorization": {"Bearer " + token}}, "")
	return answer.status == http.StatusOK
}

// left returns how many seconds are left of a session.
func (d dev) left(t *testing.T, token string) int {
	t.Helper()
	answer := send(t, http.MethodGet, d.base+"/v1/customer-portal/customer-session/introspect", http.Header{"Authorization": {"Bearer " + token}}, "")
	var session struct {
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal([]byte(answer.body), &session); err != nil {
		t.Fatal(err)
	}
	return int(time.Until(session.ExpiresAt).Seconds())
}

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// cookie returns the value of the session's cookie that an answer sets.
func (a answer) cookie() (value string, set bool) {
	for _, line := range a.header.Values("Set-Cookie") {
		if cookie, err := http.ParseSetCookie(line); err == nil && strings.HasSuffix(cookie.Name, "customer_session") {
			return cookie.Value, true
		}
	}
	return "", false
}

// send sends a request, follows no redirect, and waits for a server that starts.
func send(t *testing.T, method, address string, header http.Header, body string) answer {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = header
		response, err := client.Do(request)
		if err != nil {
			if !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond) // it is not listening yet
			continue
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return answer{response.StatusCode, response.Header, string(text)}
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run starts a program that the test stops.
func run(t *testing.T, folder string, program string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = folder
	command.Env = append(command.Environ(), "NEXT_TELEMETRY_DISABLED=1")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.WaitDelay = time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s: %s", program, &output)
		}
	})
}

// checkPortal walks through a portal as browsers, scanners and other sites do.
func checkPortal(t *testing.T, d dev, landing, portal, signOut string) {
	t.Helper()
	token := d.create(t, "user_ada")
	link := landing + "?customer_session_token=" + token
	form := func(site, cookie string) http.Header {
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {site}, "Origin": {origin(t, landing)}}
		if cookie != "" {
			h.Set("Cookie", cookieName+"="+cookie)
		}
		return h
	}
	with := func(cookie string) http.Header { return http.Header{"Cookie": {cookieName + "=" + cookie}} }

	opened := send(t, http.MethodGet, link, nil, "")
	if _, set := opened.cookie(); set || opened.status != http.StatusOK || !strings.Contains(opened.body, "<button") {
		t.Fatalf("opening the link: got %d, %v, %s", opened.status, opened.header, opened.body)
	}
	if policy := strings.Join(opened.header.Values("Content-Security-Policy"), ", "); !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("other sites may frame the button: %q", policy)
	}
	crossing := form("cross-site", "")
	crossing.Set("Origin", "https://evil.example.com")
	if forged := send(t, http.MethodPost, link, crossing, "redemption=x"); forged.status != http.StatusForbidden {
		t.Errorf("another site's form: got %d", forged.status)
	}
	pressed := send(t, http.MethodPost, link, form("same-origin", ""), "redemption=x")
	cookie, _ := pressed.cookie()
	if pressed.status != http.StatusSeeOther || cookie != token || strings.Contains(pressed.header.Get("Location"), token) {
		t.Fatalf("pressing the button: got %d, %v", pressed.status, pressed.header)
	}
	if page := send(t, http.MethodGet, portal, with(cookie), ""); page.status != http.StatusOK || !strings.Contains(page.body, "Ada Lovelace") {
		t.Errorf("the portal: got %d, %s", page.status, page.body)
	}
	crossing.Set("Cookie", cookieName+"="+cookie)
	if forged := send(t, http.MethodPost, signOut, crossing, ""); forged.status != http.StatusForbidden || !d.accepts(t, token) {
		t.Errorf("another site signs out: got %d", forged.status)
	}
	ended := send(t, http.MethodPost, signOut, form("same-origin", cookie), "")
	if value, set := ended.cookie(); !set || value != "" && value != "deleted" {
		t.Errorf("signing out: got %d, %v", ended.status, ended.header)
	}
	if d.accepts(t, token) {
		t.Error("signing out did not end the session")
	}
	if page := send(t, http.MethodGet, portal, with(cookie), ""); strings.Contains(page.body, "Ada Lovelace") {
		t.Errorf("after signing out: got %d, %s", page.status, page.body)
	}
	for name, token := range map[string]string{"garbage": "garbage", "header": "a%0d%0aX:%20b"} {
		if bad := send(t, http.MethodPost, landing+"?customer_session_token="+token, form("same-origin", ""), ""); bad.status == http.StatusSeeOther {
			t.Errorf("%s: got %d, %v", name, bad.status, bad.header)
		}
	}
}

func origin(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Scheme + "://" + u.Host
}
