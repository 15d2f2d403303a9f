package issuer_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

const (
	customerID      = "992fae2a-2a17-4b7a-8d9e-e287cf90131b"
	externalID      = "user/ada lovelace"
	fullID          = "3f1c9a52-7d0e-4c6b-a1d8-5e2b4c6d8f90" // with every member
	timeOrderedID   = "019a1b2c-3d4e-7f60-8a9b-0c1d2e3f4a5b" // UUID version 7
	hostTimeID      = "c232ab00-9414-11ec-b3c8-9f6bdeced846" // UUID version 1
	teamID          = "7a6b5c4d-3e2f-4a1b-9c0d-8e7f6a5b4c3d" // without an e-mail address
	ownerID         = "8b7c6d5e-4f3a-4b2c-8d1e-9f0a1b2c3d4e" // of the team
	colleagueID     = "8b7c6d5e-4f3a-4b2c-8d1e-9f0a1b2c3d4f"
	externalOwnerID = "user/joan clarke"
	otherCustomerID = "0b8f6c1d-53a4-4f0e-9f6b-7d1c2e3f4a5b" // of our organization
	foreignID       = "c2a7d9e4-1b3f-4d5a-8c6e-9f0a1b2c3d4e" // of another one
	foreignMemberID = "8b7c6d5e-4f3a-4b2c-8d1e-9f0a1b2c3d52"
	deletedID       = "d4b8e0f5-2c4a-4e6b-9d7f-0a1b2c3d4e5f"
	unknownID       = "00000000-0000-4000-8000-000000000000"
	orgID           = "1dbfc517-0bbf-4301-9ba8-555ca42b9737"
	foreignOrgID    = "2ecfd628-1ccf-4412-acb9-666db53c0848"

	customerLines = `{"id":"` + customerID + `","organization_id":"` + orgID + `","external_id":"` + externalID + `","email":"ada@example.com","name":"Ada Lovelace","created_at":"2026-01-15T09:00:00Z","metadata":{"plan":"pro","seats":3,"share":0.5,"vip":true},"tax_id":["GB123","gb_vat"],"billing_address":{"country":"GB"}}
{"id":"` + otherCustomerID + `","organization_id":"` + orgID + `","external_id":"user_alan","email":"alan@example.com","created_at":"2026-02-20T10:30:00Z","members":[{"id":"8b7c6d5e-4f3a-4b2c-8d1e-9f0a1b2c3d50","email":"help@example.com","role":"billing_manager"}]}
{"id":"` + fullID + `","organization_id":"` + orgID + `","external_id":"full","email":"Full@Example.com","email_verified":true,"type":"individual","name":"Zo\u00eb \"Z\" <b>","billing_name":"Zoo Ltd","locale":"en-GB","default_payment_method_id":"5d9c1b7e-2f4a-4c8d-9e6b-1a3c5e7f9b2d","created_at":"2026-01-15T09:00:00Z","modified_at":"2026-02-15T10:00:00+01:00","first_user_event_at":"2026-03-15T09:00:00.75Z","deleted_at":null,"metadata":{"plan":"pro","seats":3,"share":0.5,"vip":true},"tax_id":["GB980780684","gb_vat"],"billing_address":{"country":"gb","line1":"12 St James","line2":null,"postal_code":"SW1Y 4JH","city":"London"},"avatar_url":"https://cdn.example.com/zoe.png"}
{"id":"` + timeOrderedID + `","organization_id":"` + orgID + `","email":"seven@example.com"}
{"id":"` + hostTimeID + `","organization_id":"` + orgID + `","email":"one@example.com"}
{"id":"` + teamID + `","organization_id":"` + orgID + `","external_id":"bletchley","type":"team","members":[{"id":"` + ownerID + `","external_id":"` + externalOwnerID + `","email":"joan@example.com","name":"Joan Clarke","role":"owner"},{"id":"` + colleagueID + `","external_id":"user_mavis","email":"mavis@example.com"},{"id":"8b7c6d5e-4f3a-4b2c-8d1e-9f0a1b2c3d51","external_id":"user_hugh","email":"hugh@example.com","deleted_at":"2026-04-01T12:00:00Z"}]}
{"id":"` + foreignID + `","external_id":"user_grace","organization_id":"` + foreignOrgID + `","email":"grace@example.com","created_at":"2026-03-01T12:00:00Z","members":[{"id":"` + foreignMemberID + `","external_id":"user_tommy","email":"tommy@example.com"}]}
{"id":"` + deletedID + `","organization_id":"` + orgID + `","email":"gone@example.com","created_at":"2026-03-01T12:00:00Z","deleted_at":"2026-04-01T12:00:00Z"}
`
)

// A fixture is a running server with known customers and keys.
type fixture struct {
	base, operations string // of the two listeners
	server           *issuer.Server
	ring             *keys.Ring
	logs             *logs              // empty when a test brings its own logger
	link             string             // what the links of the first organization hold
	stop             context.CancelFunc // begins to shut down
	ended            <-chan struct{}    // closed once it has
	// API keys: one that may do everything, one for each scope alone, one that
	// has expired, and one of another organization.
	secret, writeOnly, introspectOnly, revokeOnly, exchangeOnly, expired, foreign string
}

// fixtureOptions are what a test may want to be different.
type fixtureOptions struct {
	directory   customers.Directory
	ring        *keys.Ring
	logger      *slog.Logger
	readTimeout time.Duration
	link        string // what the links of the first organization hold; default: a token
	change      func(*issuer.Config)
}

// newFixture starts a server. When the test ends so does the server, and what
// it logged at any level is searched for secrets, unless the test brings its
// own logger.
func newFixture(t testing.TB, changes ...func(*fixtureOptions)) *fixture {
	t.Helper()
	o := fixtureOptions{}
	for _, change := range changes {
		change(&o)
	}
	if o.directory == nil {
		o.directory = newDirectory(t)
	}
	if o.ring == nil {
		o.ring = newRing(t)
	}
	f := &fixture{ring: o.ring, logs: &logs{}, link: o.link}
	if o.logger == nil {
		o.logger = slog.New(slog.NewJSONHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	registry := f.newRegistry(t)
	public, operations := listen(t), listen(t)
	f.base, f.operations = "http://"+public.Addr().String(), "http://"+operations.Addr().String()
	config := issuer.Config{
		Issuer:        f.base,
		Keys:          func() *keys.Ring { return o.ring },
		Organizations: func() *organizations.Registry { return registry },
		Customers:     o.directory,
		Logger:        o.logger,
	}
	if o.change != nil {
		o.change(&config)
	}
	var err error
	f.server, err = issuer.New(config)
	if err != nil {
		t.Fatal(err)
	}
	f.run(t, f.server.Run, issuer.RunConfig{Public: public, Operations: operations, ReadTimeout: o.readTimeout})
	return f
}

// run starts the server, with its Run or that of what it is part of, and sees
// to its end.
func (f *fixture) run(t testing.TB, run func(context.Context, issuer.RunConfig) error, config issuer.RunConfig) {
	t.Helper()
	// The test's own context ends before its clean-ups run.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	f.stop, f.ended = stop, ended
	go func() {
		defer close(ended)
		if err := run(ctx, config); err != nil {
			t.Errorf("running the server: %v", err)
		}
	}()
	t.Cleanup(func() {
		f.shutdown()
		f.checkSecrets(t, "the log", f.logs.String())
	})
}

// shutdown ends the server. What happened to a request is logged and counted
// after it was answered, so tests that look at either do this first.
func (f *fixture) shutdown() {
	f.stop()
	<-f.ended
}

// checkSecrets fails the test when text holds an API key, a session token or
// a part of a private key.
func (f *fixture) checkSecrets(t testing.TB, what, text string) {
	t.Helper()
	// Every token begins with the base64url form of its header's beginning.
	secrets := []string{"eyJhbGciOi", f.secret, f.writeOnly, f.introspectOnly, f.revokeOnly, f.exchangeOnly, f.expired, f.foreign}
	for _, match := range privatePart.FindAllSubmatch(f.ring.Manifest().Encode(), -1) {
		secrets = append(secrets, string(match[1]))
	}
	for _, secret := range secrets {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%s holds a secret: %s", what, text[max(0, i-200):min(len(text), i+200)])
		}
	}
}

// privatePart matches what is secret in a key manifest.
var privatePart = regexp.MustCompile(`"(?:d|p|q|dp|dq|qi)": *"([^"]+)"`)

// logs keeps what is written to it, such as what a server logs.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func newDirectory(t testing.TB) customers.Directory {
	t.Helper()
	directory, err := customers.LoadFile(strings.NewReader(customerLines))
	if err != nil {
		t.Fatal(err)
	}
	return directory
}

func newRing(t testing.TB) *keys.Ring {
	t.Helper()
	return ringOf(t, newManifest(t, jwk.ES256), nil)
}

// newManifest has a key of the algorithm that signs from now on.
func newManifest(t testing.TB, algorithm jwk.Algorithm) *keys.Manifest {
	t.Helper()
	policy := keys.DefaultPolicy()
	policy.Algorithm = algorithm
	manifest, err := keys.Init(policy, time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

// clone returns a manifest to change.
func clone(t testing.TB, manifest *keys.Manifest) *keys.Manifest {
	t.Helper()
	clone, err := keys.ParseManifest(manifest.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return clone
}

// signerOf returns the signer of a key of the manifest, also of one that does
// not sign now.
func signerOf(t testing.TB, manifest *keys.Manifest, key *keys.Key) keys.Signer {
	t.Helper()
	signing, err := ringOf(t, manifest, nil).SigningKey(key.ActivateAt)
	if err != nil || signing.Public.ID() != key.ID() {
		t.Fatalf("key %s does not sign when it is activated: %v", key.ID(), err)
	}
	return signing.Signer
}

func ringOf(t testing.TB, manifest *keys.Manifest, open keys.OpenSigner) *keys.Ring {
	t.Helper()
	ring, err := keys.NewRing(manifest, open)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func (f *fixture) newRegistry(t testing.TB) *organizations.Registry {
	t.Helper()
	registry, err := organizations.Parse(strings.NewReader(f.newOrganizations(t)))
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// newOrganizations returns a file of two organizations, with new API keys.
func (f *fixture) newOrganizations(t testing.TB) string {
	t.Helper()
	const write, introspect, revoke, exchange = organizations.ScopeWrite, organizations.ScopeIntrospect, organizations.ScopeRevoke, organizations.ScopeExchange
	var entries []string
	add := func(secret *string, name string, scopes ...organizations.Scope) {
		t.Helper()
		s, entry, err := organizations.NewAPIKey(name, scopes, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		*secret = s.Reveal()
		entries = append(entries, string(entry))
	}
	add(&f.secret, "all", write, introspect, revoke, exchange)
	add(&f.writeOnly, "write", write)
	add(&f.introspectOnly, "introspect", introspect)
	add(&f.foreign, "foreign", write, introspect, revoke, exchange)
	add(&f.expired, "expired", write)
	add(&f.revokeOnly, "revoke", revoke)
	add(&f.exchangeOnly, "exchange", exchange)
	expired := strings.TrimSuffix(strings.TrimSpace(entries[4]), "}") + `, "expires_at": "2026-01-01T00:00:00Z"}`
	expired = strings.Replace(expired, `"expires_at": null,`, "", 1)
	ours := strings.Join([]string{entries[0], entries[1], entries[2], expired, entries[5], entries[6]}, ",")
	return `{"organizations":[
		{"id":"` + orgID + `","slug":"acme","link":"` + cmp.Or(f.link, "token") + `","portal_url":"https://portal.example.com/{slug}/portal","api_keys":[` + ours + `]},
		{"id":"` + foreignOrgID + `","slug":"other","portal_url":"https://portal.example.com/?org={slug}#start","email_in_link":true,"return_url_hosts":["shop.example.com","xn--bcher-kva.example"],"api_keys":[` + entries[3] + `]}]}`
}

// An answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// members decodes a JSON object.
func (a *answer) members(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("answer %d %q is not a JSON object: %v", a.status, a.body, err)
	}
	return m
}

// text returns a member that is a string.
func (a *answer) text(t testing.TB, name string) string {
	t.Helper()
	text, ok := a.members(t)[name].(string)
	if !ok {
		t.Fatalf("member %s of %s is not a string", name, a.body)
	}
	return text
}

// do sends a request; headers are pairs of name and value.
func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) *answer {
	t.Helper()
	return exchange(t, f.request(t, method, path, body, headers...))
}

func (f *fixture) request(t testing.TB, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, f.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	return request
}

// exchange sends a request and holds it and its answer against the OpenAPI
// document, which has everything but the operators' listener and the demo
// portal.
func exchange(t testing.TB, request *http.Request) *answer {
	t.Helper()
	sent := recordBody(request)
	a := roundTrip(t, request)
	documented := request.Clone(t.Context())
	switch path := &documented.URL.Path; *path {
	case "/livez", "/readyz", "/metrics", "/portal":
		if a.status != http.StatusNotFound {
			return a
		}
	default:
		for strings.Contains(*path, "//") {
			*path = strings.ReplaceAll(*path, "//", "/")
		}
	}
	response := &http.Response{StatusCode: a.status, Header: a.header}
	theContract(t).check(t, documented, []byte(sent.String()), response, a.body)
	return a
}

// recordBody keeps what is sent of a request's body.
func recordBody(request *http.Request) *logs {
	sent := &logs{}
	if request.Body != nil && request.Body != http.NoBody {
		request.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(request.Body, sent), request.Body}
		request.GetBody = nil
	}
	return sent
}

// roundTrip sends a request to a path that is not in the OpenAPI document, or
// one that is not in its terms. Its connection ends with it, so that no server
// waits for what may still come.
func roundTrip(t testing.TB, request *http.Request) *answer {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := http.Client{
		Transport:     transport,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, response)
}

func readAnswer(t testing.TB, response *http.Response) *answer {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("reading the answer, status %d: %v", response.StatusCode, err)
	}
	return &answer{response.StatusCode, response.Header, body}
}

// theContract returns the OpenAPI document, read once for all tests.
func theContract(t testing.TB) *contract {
	t.Helper()
	onlyContract.once.Do(func() { onlyContract.contract = newContract(t) })
	if onlyContract.contract == nil {
		t.Fatal("there is no OpenAPI document to check against")
	}
	return onlyContract.contract
}

var onlyContract struct {
	once     sync.Once
	contract *contract
}

// post sends a body to create a session, with any credentials.
func (f *fixture) post(t testing.TB, secret, body string) *answer {
	t.Helper()
	return f.do(t, http.MethodPost, "/v1/customer-sessions/", body,
		"Authorization", "Bearer "+secret, "Content-Type", "application/json")
}

// create makes a session that must succeed.
func (f *fixture) create(t testing.TB, body string) *answer {
	t.Helper()
	a := f.post(t, f.secret, body)
	if a.status != http.StatusCreated {
		t.Fatalf("creating a session: got %d %s", a.status, a.body)
	}
	return a
}
