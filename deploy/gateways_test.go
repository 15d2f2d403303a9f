package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/authz"
	"github.com/customersession/customersession/verify/verifytest"
)

// gatewayIdentity is what a service behind a gateway is told of a customer.
var gatewayIdentity = map[string]string{
	"X-Customer-Id": verifytest.CustomerID, "X-Session-Id": verifytest.SessionID, "X-Organization-Id": verifytest.OrganizationID,
}

// gatewayMember is what it is told of a member of a team.
var gatewayMember = map[string]string{
	"X-Customer-Id": verifytest.CustomerID, "X-Session-Id": verifytest.SessionID, "X-Organization-Id": verifytest.OrganizationID,
	"X-Member-Id": memberID, "X-Member-Role": "billing_manager",
}

const memberID = "7b8a1f52-6c0e-4d5b-8f3a-2e9d4c6b1a07"

// memberToken returns the token of gatewayMember.
func memberToken(issuer *verifytest.Issuer) string {
	return issuer.Token(verifytest.TokenSpec{Claims: map[string]any{"member_id": memberID, "role": "billing_manager"}})
}

// gatewayLies are headers that a client sends and that a service must not see.
// Many services take names with _ for ours.
var gatewayLies = []string{
	"X-Customer-Id", "X-Session-Id", "X-Organization-Id", "X_Customer_Id", "X-Customer_Id", "X_Customer-Id",
	"x_session_id", "X_Organization_ID", "X-Member-Id", "X-Member-Role", "X_Member_Id", "x-member_role",
}

// A gateway is a real one in front of a service that tells what reaches it.
type gateway struct {
	rotating

	// service is where the service is, and authz where customersession authz
	// is, for those gateways that ask it.
	service, authz string
	// ready is the verdict of a gateway that has started.
	ready  string
	url    string
	client *http.Client
	// socket is where it listens, if that is not an address.
	socket string
}

// newGateway makes what is around a gateway.
func newGateway(t *testing.T, issuer *verifytest.Issuer) *gateway {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(r.Header) // the gateway is gone when this fails
	}))
	t.Cleanup(service.Close)
	g := &gateway{
		ready: accepted, service: service.Listener.Addr().String(), url: "http://" + freePort(t) + "/account?lang=de",
		client: &http.Client{Timeout: runbookLimit, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	g.rotating = rotating{issuer: issuer, verdict: g.judge}
	return g
}

// address is where the gateway listens.
func (g *gateway) address() string {
	host, _, _ := strings.Cut(strings.TrimPrefix(g.url, "http://"), "/")
	return host
}

// startAuthz runs authz for the gateway until the test ends, or stop is called.
func (g *gateway) startAuthz(t *testing.T, config authz.Config) (stop func()) {
	t.Helper()
	v, err := verify.New(g.issuer.Config())
	if err != nil {
		t.Fatal(err)
	}
	config.Verifier = v
	server, err := authz.New(config)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, authz.RunConfig{Public: listener}) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		v.Close()
		ended <- nil // for the next call
	}
	t.Cleanup(stop)
	g.authz = listener.Addr().String()
	g.learn = func(t *testing.T) {
		t.Helper()
		if err := v.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return stop
}

// config returns a file of deploy/gateways with pairs of old and new replaced
// in it. Each must be about something.
func gatewayConfig(t *testing.T, name string, oldnew ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("gateways", name))
	if err != nil {
		t.Fatal(err)
	}
	config := string(text)
	for pair := range slices.Chunk(oldnew, 2) {
		if !strings.Contains(config, pair[0]) {
			t.Fatalf("gateways/%s says nothing of %q", name, pair[0])
		}
		config = strings.ReplaceAll(config, pair[0], pair[1])
	}
	return config
}

// run runs the program of a gateway until the test ends, and waits for it.
func (g *gateway) run(t *testing.T, folder, program string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = folder
	command.Env = append(command.Environ(), "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	// The first process has children, which must end with it.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	said := &strings.Builder{}
	command.Stdout, command.Stderr = said, said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Wait() // it was told to end, which is an error to some
		if t.Failed() {
			t.Logf("%s said:\n%s", program, said)
		}
	})
	g.waitFor(t, g.ready, g.issuer.Token(verifytest.TokenSpec{}))
}

// A gatewayAnswer is what a client got, and the header that the service saw if
// the request came that far.
type gatewayAnswer struct {
	status       int
	header, seen http.Header
}

// ask sends a request with a token, unless that is empty, and with lies.
func (g *gateway) ask(method, token string, header ...string) (gatewayAnswer, error) {
	request, err := http.NewRequest(method, g.url, http.NoBody)
	if err != nil {
		return gatewayAnswer{}, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for _, name := range gatewayLies {
		request.Header[name] = []string{"somebody"}
	}
	for pair := range slices.Chunk(header, 2) {
		request.Header.Add(pair[0], pair[1])
	}
	response, err := g.client.Do(request)
	if err != nil {
		return gatewayAnswer{}, err
	}
	defer response.Body.Close()
	answer := gatewayAnswer{status: response.StatusCode, header: response.Header}
	body, err := io.ReadAll(response.Body)
	if err != nil || answer.status != http.StatusOK {
		return answer, err
	}
	return answer, json.Unmarshal(body, &answer.seen)
}

// judge returns what becomes of a token: accepted, when the service is told
// exactly whose it is, refused, unavailable or something that nobody wants.
func (g *gateway) judge(token string) string {
	answer, err := g.ask(http.MethodGet, token)
	switch {
	case err != nil:
		return err.Error()
	case answer.status == http.StatusUnauthorized && strings.HasPrefix(answer.header.Get("WWW-Authenticate"), "Bearer"):
		return refused
	case answer.status == http.StatusServiceUnavailable && answer.header.Get("Retry-After") != "":
		return unavailable
	case answer.status != http.StatusOK:
		return fmt.Sprint("status ", answer.status)
	}
	identity, verdict := gatewayIdentity, accepted
	if answer.seen.Get("X-Member-Id") != "" {
		identity, verdict = gatewayMember, asMemberOfTeam
	}
	for name, value := range identity {
		if got := answer.seen[name]; len(got) != 1 || got[0] != value {
			return fmt.Sprintf("the service saw %s: %q", name, got)
		}
	}
	for name, values := range answer.seen {
		if slices.Contains(values, "somebody") {
			return "the service saw a lie in " + name
		}
	}
	return verdict
}
