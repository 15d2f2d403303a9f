package issuer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/customersession/customersession/deploy/rig/clock"
	"github.com/customersession/customersession/deploy/rig/postgres"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/revocations"
)

// startDatabases starts the PostgreSQL that keeps the log and, if wanted, a
// standby that has each commit before it is acknowledged.
func (f *endingFleet) startDatabases(t testing.TB, standby bool) {
	t.Helper()
	f.primary = postgres.New(t)
	f.primary.Start(t)
	f.primary.Exec(t, "public", "CREATE ROLE customersession LOGIN;"+revocations.PostgresSchema+revocations.PostgresGrants)
	f.databases = []*postgres.Server{f.primary}
	if standby {
		f.standby = f.primary.Standby(t)
		f.primary.Stop(t)
		f.primary.Start(t, "synchronous_standby_names=*")
		f.standby.Start(t, "wal_retrieve_retry_interval=200ms")
		f.databases = append(f.databases, f.standby)
	}
}

// startReplicas starts three issuers, each with links of its own to the databases.
func (f *endingFleet) startReplicas(t testing.TB, i *installation) {
	t.Helper()
	_, manifest := i.manifest(t)
	for n := range 3 {
		r := newReplica(t, fmt.Sprintf("replica %d", n+1), clock.Scaled(1), 0)
		if err := replaceFile(r.file, manifest); err != nil {
			t.Fatal(err)
		}
		var links []*link
		var addresses []string
		for _, database := range f.databases {
			l := newLink(t, fmt.Sprintf("127.0.0.1:%d", database.Port))
			links, addresses = append(links, l), append(addresses, l.address)
		}
		dsn := filepath.Join(t.TempDir(), "dsn")
		write(t, dsn, "postgres://customersession@"+strings.Join(addresses, ",")+
			"/postgres?sslmode=disable&target_session_attrs=read-write")
		f.replicas, f.logLinks = append(f.replicas, r), append(f.logLinks, links)
		f.env = append(f.env, append(slices.Clip(i.env),
			"CUSTOMERSESSION_REVOCATIONS=postgres", "CUSTOMERSESSION_REVOCATIONS_DSN_FILE="+dsn,
			"CUSTOMERSESSION_DRAIN_DELAY=500ms"))
		f.startReplica(t, n)
	}
}

func (f *endingFleet) startReplica(t testing.TB, n int) {
	t.Helper()
	path := binary(t)
	age := fmt.Sprintf("CUSTOMERSESSION_REVOCATIONS_MAX_AGE=%v", f.maxAge)
	f.replicas[n].start(t, path, append(slices.Clip(f.env[n]), age))
	f.watch(t, f.replicas[n].process)
}

// An organization's API key, and what else a test needs of it.
type tenant struct{ organization, key, secret string }

// prepare writes the files of an installation for as many revocations: each has a
// customer, an API key and an organization of its own.
func (f *endingFleet) prepare(t testing.TB, i *installation, count int) {
	t.Helper()
	scopes := []organizations.Scope{organizations.ScopeWrite, "customer_sessions:revoke"}
	var file []map[string]any
	var lines strings.Builder
	add := func(organization string, keys ...string) []tenant {
		var tenants []tenant
		var entries []json.RawMessage
		for _, name := range keys {
			secret, entry, err := organizations.NewAPIKey(name, scopes, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			tenants = append(tenants, tenant{organization, name, secret.Reveal()})
			entries = append(entries, entry)
		}
		file = append(file, map[string]any{
			"id": organization, "slug": "acme-" + organization[:8], "portal_url": "https://portal.example.com/{slug}", "api_keys": entries,
		})
		return tenants
	}
	customer := func(organization string) string {
		id := uuid.NewString()
		fmt.Fprintf(&lines, "{\"id\":%q,\"organization_id\":%q,\"external_id\":\"external-%s\",\"email\":\"ada@example.com\"}\n", id, organization, id)
		return id
	}
	home := []string{"checkout"}
	for n := range count {
		home = append(home, fmt.Sprintf("key-%d", n))
	}
	tenants := add(orgID, home...)
	f.checkout, f.keys = tenants[0], tenants[1:]
	f.customers = []string{customer(orgID)}
	for range count {
		f.customers = append(f.customers, customer(orgID))
		other := uuid.NewString()
		f.others = append(f.others, add(other, "checkout")[0])
		f.otherCustomers = append(f.otherCustomers, customer(other))
	}
	text, err := json.Marshal(map[string]any{"organizations": file})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(i.dir, "organizations.json"), string(text))
	write(t, filepath.Join(i.dir, "customers.jsonl"), lines.String())
}

// The kinds of consumers, and how many there are of each.
var consumerKinds = []struct {
	name  string
	count int
}{{"http", 6}, {"echo", 6}, {"grpc", 4}, {"authz", 4}}

// A verdict is what a consumer says about a session.
type verdict int

const (
	accepted verdict = iota
	refused
	unavailable
)

// A guard is a consumer: a service that only customers with a session may use.
type guard struct {
	number int
	kind   string
	link   *link // to the issuer
	ask    func(ctx context.Context, token string) (verdict, error)
	client grpc_testing.TestServiceClient // only of kind grpc

	mu sync.Mutex
	// cutAt is when its link was cut, zero if it is not: while it is set, the
	// consumer may answer that it cannot tell. Mended is set in the end, when it may
	// also accept sessions again.
	cutAt  time.Time
	mended bool
}

// startGuards starts all consumers, each with a link of its own to the issuer.
func (f *endingFleet) startGuards(t testing.TB) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "services")
	if output, err := exec.Command("go", "build", "-o", program, "./testdata/fleet/services").CombinedOutput(); err != nil {
		t.Fatalf("building the services: %v\n%s", err, output)
	}
	args := []string{"-issuer", f.issuer}
	for _, kind := range consumerKinds {
		for range kind.count {
			g := &guard{number: len(f.guards), kind: kind.name, link: newLink(t, strings.TrimPrefix(f.issuer, "http://"))}
			f.guards = append(f.guards, g)
			keys := "http://" + g.link.address + "/.well-known/jwks.json"
			if kind.name == "authz" {
				p := f.watch(t, startProgram(t, binary(t), nil, "authz", "--issuer", f.issuer, "--jwks-url", keys, "--addr", "127.0.0.1:0"))
				g.connect(t, p.find(t, p.stderr, `"msg":"listening",.*?,"addr":"([^"]+)"`))
			} else {
				args = append(args, kind.name+","+keys)
			}
		}
	}
	p := f.watch(t, startProgram(t, program, nil, args...))
	p.find(t, p.stdout, `\n(ready)\n`)
	addresses := strings.Fields(strings.ReplaceAll(p.stdout.String(), "listening on ", ""))
	for n := range len(args) - 2 {
		f.guards[n].connect(t, addresses[n])
	}
}

// watch shows what a process complained about if the test fails.
func (f *endingFleet) watch(t testing.TB, p *process) *process {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		lines := slices.DeleteFunc(strings.SplitAfter(p.stderr.String(), "\n"), func(line string) bool {
			return strings.Contains(line, `"level":"INFO"`) || line == ""
		})
		t.Logf("%s wrote:\n%s", strings.Join(p.cmd.Args[:2], " "), strings.Join(lines[:min(len(lines), 40)], ""))
	})
	return p
}

// connect connects to the service.
func (g *guard) connect(t testing.TB, address string) {
	t.Helper()
	if g.kind != "grpc" {
		transport := &http.Transport{MaxIdleConnsPerHost: 32}
		t.Cleanup(transport.CloseIdleConnections)
		client := &http.Client{Transport: transport, Timeout: startLimit}
		g.ask = func(ctx context.Context, token string) (verdict, error) { return askHTTP(ctx, client, address, token) }
		return
	}
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	g.client = grpc_testing.NewTestServiceClient(connection)
	g.ask = func(ctx context.Context, token string) (verdict, error) {
		_, err := g.client.UnaryCall(withToken(ctx, token), &grpc_testing.SimpleRequest{})
		return verdictOf(err)
	}
}

func askHTTP(ctx context.Context, client *http.Client, address, token string) (verdict, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/account", http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return accepted, nil
	case http.StatusUnauthorized:
		return refused, nil
	case http.StatusServiceUnavailable:
		return unavailable, nil
	default:
		return 0, fmt.Errorf("status %d", response.StatusCode)
	}
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
}

// verdictOf returns the verdict of a gRPC call's outcome.
func verdictOf(err error) (verdict, error) {
	switch status.Code(err) {
	case codes.OK:
		return accepted, nil
	case codes.Unauthenticated:
		return refused, nil
	case codes.Unavailable:
		return unavailable, nil
	default:
		return 0, err
	}
}

// cut cuts the consumer off from the issuer.
func (g *guard) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cutAt, g.mended = time.Now(), false
	g.link.cut()
}

// mend lets the consumer reach the issuer again.
func (g *guard) mend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mended = true
	g.link.mend()
}

// healed means that the consumer must be able to tell again.
func (g *guard) healed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cutAt = time.Time{}
}

// isCutOff reports whether the consumer may answer that it cannot tell, and whether
// it must, because it has been cut off for longer than the maximum age.
func (g *guard) isCutOff(maxAge time.Duration, at time.Time) (may, must bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	may = !g.cutAt.IsZero()
	return may, may && !g.mended && at.After(g.cutAt.Add(maxAge))
}

// newEndingFleet starts everything, for as many revocations.
func newEndingFleet(t testing.TB, count int, standby bool) *endingFleet {
	t.Helper()
	f := &endingFleet{t: t, maxAge: 15 * time.Minute, done: map[string]int{}}
	f.client = http.Client{Timeout: startLimit, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	t.Cleanup(f.client.CloseIdleConnections)
	b := &balancer{}
	public := httptest.NewServer(b.handler())
	t.Cleanup(func() {
		public.CloseClientConnections()
		public.Close()
	})
	f.issuer = public.URL
	i := install(t, f.issuer)
	f.prepare(t, i, count)
	f.startDatabases(t, standby)
	f.startReplicas(t, i)
	for _, r := range f.replicas {
		r.up.Store(true)
	}
	b.replicas = f.replicas
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() {
		stop()
		f.working.Wait()
	})
	f.working.Go(func() { b.probe(ctx) })
	f.startGuards(t)
	f.startLoad(ctx)
	return f
}
