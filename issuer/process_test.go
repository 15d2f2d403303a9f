package issuer_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/keys"
)

// binaryDir is where the command is built; TestMain makes and removes it.
var binaryDir string

// binary returns the command, which is built once for all tests that run it.
func binary(t testing.TB) string {
	t.Helper()
	needs.NoRace(t)
	path, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "customersession")
	build := exec.Command("go", "build", "-o", path, "github.com/customersession/customersession")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the command: %w\n%s", err, output)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if binaryDir, err = os.MkdirTemp("", "customersession-"); err != nil {
		panic(err)
	}
	// Most tests wait for a process, a file or a time-out: on two cores, the
	// default of two at once would leave these idle for half of the time.
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set(strconv.Itoa(3 * runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	_ = os.RemoveAll(binaryDir)
	os.Exit(code) //nolint:forbidigo // what a TestMain has to do
}

// A development server in a process of its own.
type devServer struct {
	*process
	base, secret, link string
	temporary          string // is its directory for temporary files
}

func startDev(t testing.TB, args ...string) *devServer {
	t.Helper()
	d := &devServer{temporary: t.TempDir()}
	d.process = start(t, []string{"TMPDIR=" + d.temporary}, append([]string{"dev", "--addr", "127.0.0.1:0"}, args...)...)
	d.find(t, d.stdout, `(Stop with Ctrl-C)`)
	d.base = d.find(t, d.stdout, `is running at (http://127\.0\.0\.1:\d+)\n`)
	d.secret = d.find(t, d.stdout, `\n  export API_KEY=(csk_[0-9A-Za-z]+)\n`)
	d.link = d.find(t, d.stdout, `\n  (http://\S+customer_session_token=\S+)\n`)
	return d
}

func TestDev(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	f := fixture{base: d.base, secret: d.secret}
	if strings.HasSuffix(d.base, ":0") || !strings.HasPrefix(d.link, d.base+"/") {
		t.Errorf("base %s, link %s: want the listener's port in both", d.base, d.link)
	}
	// What the curl line does.
	body := d.find(t, d.stdout, `-d '(\{.*\})'`)
	session := f.create(t, body)
	if got := session.text(t, "customer_portal_url"); !strings.HasPrefix(got, d.base+"/portal?customer_session_token=") {
		t.Errorf("got link %s", got)
	}
	arrived := f.do(t, http.MethodGet, strings.TrimPrefix(d.link, d.base), "", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	cookie, _, _ := strings.Cut(arrived.header.Get("Set-Cookie"), ";")
	if arrived.status != http.StatusSeeOther || arrived.header.Get("Location") != "./portal" {
		t.Errorf("the link answers %d to %s", arrived.status, arrived.header.Get("Location"))
	}
	page := f.do(t, http.MethodGet, "/portal", "", "Cookie", cookie)
	if page.status != http.StatusOK || !bytes.Contains(page.body, []byte("Ada Lovelace")) {
		t.Errorf("the portal answers %d: %s", page.status, page.body)
	}
	for bad, says := range map[string]string{
		"/portal":                                "You are not signed in",
		"/portal?customer_session_token=x":       "This link does not work",
		strings.TrimPrefix(d.link, d.base)[:200]: "This link does not work",
	} {
		if page := f.do(t, http.MethodGet, bad, ""); page.status != http.StatusUnauthorized || !bytes.Contains(page.body, []byte(says)) {
			t.Errorf("%.40s answers %d: %s", bad, page.status, page.body)
		}
	}
	if got := f.do(t, http.MethodGet, "/.well-known/openid-configuration", "").text(t, "issuer"); got != d.base {
		t.Errorf("issuer is %s, want %s", got, d.base)
	}
	// What the second curl line does.
	if a := f.revoke(t, d.secret, d.find(t, d.stdout, `(?s)/customer-sessions/revoke .*?-d '(\{.*?\})'`)); a.status != http.StatusOK {
		t.Errorf("ending sessions: %d %s", a.status, a.body)
	}
	deadline := time.Now().Add(startLimit)
	for f.do(t, http.MethodGet, "/portal", "", "Cookie", cookie).status == http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("the portal goes on with an ended session")
		}
	}
	d.signal(t)
	if code := d.wait(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM: %s", code, d.stderr)
	}
	if left, err := os.ReadDir(d.temporary); err != nil || len(left) > 0 {
		t.Errorf("it leaves behind %v, %v", left, err)
	}
}

func TestDevNamesTheFlagWhenThePortIsBusy(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	second := start(t, nil, "dev", "--addr", strings.TrimPrefix(d.base, "http://"))
	if code := second.wait(t); code != 1 || !strings.Contains(second.stderr.String(), "is in use; choose another one with --addr") {
		t.Errorf("exit code %d: %s", code, second.stderr)
	}
}

func TestDevStaysOnLoopback(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{":8080", "0.0.0.0:0", "[::]:0", "192.0.2.1:80", "example.com:80", "8080"} {
		p := start(t, nil, "dev", "--addr", addr)
		if code := p.wait(t); code != 2 {
			t.Errorf("--addr %s: exit code %d, want 2: %s", addr, code, p.stderr)
		}
	}
}

// An installation is what serve needs, in files.
type installation struct {
	dir, secret string
	env         []string
}

// install follows the README's production steps.
func install(t testing.TB, issuerURL string) *installation {
	t.Helper()
	i := &installation{dir: t.TempDir()}
	path := func(name string) string { return filepath.Join(i.dir, name) }
	if p := start(t, nil, "keys", "init", "--file", path("keys.json"), "--bootstrap"); p.wait(t) != 0 {
		t.Fatal(p.stderr)
	}
	p := start(t, nil, "apikey", "new", "--name", "checkout", "--scope", "customer_sessions:write,customer_sessions:introspect,customer_sessions:revoke,customer_sessions:exchange", "--json")
	if p.wait(t) != 0 {
		t.Fatal(p.stderr)
	}
	var made struct {
		Secret string          `json:"secret"`
		Entry  json.RawMessage `json:"entry"`
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &made); err != nil {
		t.Fatal(err)
	}
	i.secret = made.Secret
	write(t, path("organizations.json"), `{"organizations":[{"id":"`+orgID+`","slug":"acme",
		"portal_url":"https://portal.example.com/{slug}/portal","api_keys":[`+string(made.Entry)+`]}]}`)
	write(t, path("customers.jsonl"), strings.SplitAfter(customerLines, "\n")[0])
	i.env = []string{
		"CUSTOMERSESSION_ISSUER=" + issuerURL,
		"CUSTOMERSESSION_ADDR=127.0.0.1:0",
		"CUSTOMERSESSION_OPERATIONS_ADDR=localhost:0",
		"CUSTOMERSESSION_KEYS_FILE=" + path("keys.json"),
		"CUSTOMERSESSION_ORGANIZATIONS_FILE=" + path("organizations.json"),
		"CUSTOMERSESSION_CUSTOMERS=file",
		"CUSTOMERSESSION_CUSTOMERS_FILE=" + path("customers.jsonl"),
		"CUSTOMERSESSION_DRAIN_DELAY=0s",
	}
	return i
}

// manifest returns the key manifest, and its text.
func (i *installation) manifest(t testing.TB) (m *keys.Manifest, text []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(i.dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err = keys.ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	return m, text
}

func write(t testing.TB, path, text string) {
	t.Helper()
	// As every careful program replaces a file.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A production server in a process of its own.
type production struct {
	*process
	*installation
	public, operations fixture
}

func serve(t testing.TB, i *installation, env ...string) *production {
	t.Helper()
	return serveProgram(t, binary(t), i, env...)
}

// serveProgram is serve with a program of the test's own.
func serveProgram(t testing.TB, path string, i *installation, env ...string) *production {
	t.Helper()
	p := &production{process: startProgram(t, path, append(i.env, env...), "serve"), installation: i}
	p.public = fixture{base: "http://" + p.find(t, p.stderr, `"msg":"listening","addr":"([^"]+)"`), secret: i.secret}
	p.operations = fixture{base: "http://" + p.find(t, p.stderr, `"operations_addr":"([^"]+)"`)}
	return p
}

func TestServe(t *testing.T) {
	t.Parallel()
	p := serve(t, install(t, "https://sessions.example.com"))
	if a := p.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
	if got := p.public.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "customer_id"); got != customerID {
		t.Errorf("got customer %s", got)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if a := p.public.do(t, http.MethodGet, path, ""); a.status != http.StatusNotFound {
			t.Errorf("the public listener answers %s with %d", path, a.status)
		}
	}
	p.signal(t)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM: %s", code, p.stderr)
	}
}

// A request that has begun when the server is told to stop gets its answer, and
// readiness says what is going on. Those that still come are served, each as the
// last one of its connection: what comes later meets no connection that ends.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	p := serve(t, install(t, "https://sessions.example.com"), "CUSTOMERSESSION_DRAIN_DELAY=1s")
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.public.base+"/v1/customer-sessions/", reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.secret)
	var inFlight sync.WaitGroup
	inFlight.Go(func() {
		if a := exchange(t, request); a.status != http.StatusCreated {
			t.Errorf("the request in flight got %d %s", a.status, a.body)
		}
	})
	fmt.Fprint(writer, `{"customer_id":`)
	p.signal(t)
	p.find(t, p.stderr, `("msg":"draining")`)
	if a := p.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusServiceUnavailable || !bytes.Contains(a.body, []byte("shutting down")) {
		t.Errorf("readiness while draining: %d %s", a.status, a.body)
	}
	last, err := http.DefaultTransport.RoundTrip(p.public.request(t, http.MethodGet, "/.well-known/jwks.json", ""))
	if err != nil {
		t.Fatal(err)
	}
	last.Body.Close()
	if last.StatusCode != http.StatusOK || !last.Close {
		t.Errorf("a request while draining: got %s, connection ends: %v; want 200, and that it does", last.Status, last.Close)
	}
	fmt.Fprintf(writer, "%q}", customerID)
	writer.Close()
	inFlight.Wait()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

func TestServeReloads(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	p := serve(t, i)
	organizations := filepath.Join(i.dir, "organizations.json")
	good, err := os.ReadFile(organizations)
	if err != nil {
		t.Fatal(err)
	}
	write(t, organizations, "{")
	p.find(t, p.stderr, `"msg":"file refused","file":"(organizations)".*"outcome":"refused"`)
	p.public.create(t, `{"customer_id":"`+customerID+`"}`) // the good version stays
	write(t, organizations, strings.Replace(string(good), "portal.example.com", "new.example.com", 1))
	p.find(t, p.stderr, `"msg":"file reloaded","file":"(organizations)".*"outcome":"replaced"`)
	if got := p.public.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "customer_portal_url"); !strings.HasPrefix(got, "https://new.example.com/") {
		t.Errorf("the new version is not in use: %s", got)
	}
	metrics := string(p.operations.do(t, http.MethodGet, "/metrics", "").body)
	for _, want := range []string{
		`customersession_file_reloads_total{file="organizations",result="refused"} 1`,
		`customersession_file_reloads_total{file="organizations",result="replaced"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// A manifest that would take a key away from its tokens is refused, and the
// running one goes on; the next version by the rules is taken.
func TestServeChecksTheManifest(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	p := serve(t, i)
	path := filepath.Join(i.dir, "keys.json")
	good, _ := i.manifest(t)
	unsafe := clone(t, good)
	unsafe.Version++
	unsafe.Keys = unsafe.Keys[1:]
	write(t, path, string(unsafe.Encode()))
	p.find(t, p.stderr, `"file":"(keys)".*"outcome":"refused".*dropped`)
	token := p.public.create(t, `{"customer_id":"`+customerID+`"}`).text(t, "token")
	next, err := keys.Activate(good, time.Now(), "")
	if err != nil || next.Version == good.Version {
		t.Fatalf("activating: version %d, %v", next.Version, err)
	}
	write(t, path, string(next.Encode()))
	p.find(t, p.stderr, `"file":"(keys)".*"outcome":"replaced"`)
	if a := p.public.portal(t, "introspect", token); a.status != http.StatusOK {
		t.Errorf("a token from before the rotation: %d %s", a.status, a.body)
	}
}

// Nothing that the process writes may hold a secret, however much it logs.
func TestServePrintsNoSecret(t *testing.T) {
	t.Parallel()
	i := install(t, "http://localhost:1")
	p := serve(t, i, "CUSTOMERSESSION_LOG_LEVEL=debug")
	session := p.public.create(t, `{"customer_id":"`+customerID+`","return_url":"https://shop.example.com/secret-path"}`)
	token := session.text(t, "token")
	calls := []*answer{
		p.public.do(t, http.MethodGet, "/v1/customer-portal/customer-session/introspect", "", "Authorization", "Bearer "+token),
		p.public.do(t, http.MethodGet, "/v1/customer-portal/customer-session/user", "", "Authorization", "Bearer "+token),
		p.public.do(t, http.MethodGet, "/v1/customer-portal/"+token+"?customer_session_token="+token, "", "Authorization", "Bearer "+i.secret),
		p.public.do(t, http.MethodPost, "/oauth2/introspect", "token="+token, "Authorization", "Bearer "+i.secret, "Content-Type", "application/x-www-form-urlencoded"),
		p.public.do(t, http.MethodPost, "/oauth2/introspect?token="+token, "", "Authorization", "Bearer "+i.secret),
		p.public.post(t, token, `{}`),
		p.public.post(t, i.secret, token),
		p.public.post(t, i.secret+"x", `{"customer_id":"`+i.secret+`"}`),
		p.public.do(t, http.MethodPost, "/v1/customer-sessions/", "", "Authorization", "Bearer "+i.secret, "X-Request-Id", token),
	}
	for n, a := range calls {
		if a.status >= http.StatusInternalServerError {
			t.Errorf("call %d: %d %s", n, a.status, a.body)
		}
	}
	metrics := string(p.operations.do(t, http.MethodGet, "/metrics", "").body)
	p.signal(t)
	p.wait(t)
	printed := p.stdout.String() + p.stderr.String() + metrics
	if strings.Count(printed, `"msg":"request"`) != len(calls)+1 || !strings.Contains(printed, `"msg":"session issued"`) {
		t.Errorf("want one line for each request and one event for each session:\n%s", printed)
	}
	for name, secret := range secretsOf(t, i, token) {
		if strings.Contains(printed, secret) {
			t.Errorf("the process wrote %s", name)
		}
	}
}

// secretsOf returns what must never be written, and parts that would give it
// away.
func secretsOf(t testing.TB, i *installation, token string) map[string]string {
	t.Helper()
	segments := strings.Split(token, ".")
	secrets := map[string]string{
		"the API key": i.secret, "most of the API key": i.secret[:40],
		"the token": token, "the token's claims": segments[1], "the token's signature": segments[2],
	}
	manifest, err := os.ReadFile(filepath.Join(i.dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	for n, match := range regexp.MustCompile(`"d": ?"([\w-]+)"`).FindAllSubmatch(manifest, -1) {
		secrets[fmt.Sprintf("private key %d", n)] = string(match[1])
	}
	if len(secrets) < 7 {
		t.Fatal("found no private keys in the manifest")
	}
	return secrets
}

// The process must be small when it has nothing to do.
func TestServeIdlesSmall(t *testing.T) {
	t.Parallel()
	p := serve(t, install(t, "https://sessions.example.com"))
	p.public.create(t, `{"customer_id":"`+customerID+`"}`)
	if resident := residentKiB(t, p.process); resident > 40<<10 {
		t.Errorf("%d KiB are resident, want less than 40 MiB", resident)
	} else {
		t.Logf("%d KiB are resident", resident)
	}
}

// residentKiB is how much memory of a process is in RAM (proc(5)).
func residentKiB(t testing.TB, p *process) int {
	t.Helper()
	return statusKiB(t, p, "VmRSS")
}

func statusKiB(t testing.TB, p *process, name string) (kib int) {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	status, err := os.Open(needs.Path(t, path, "run this on Linux"))
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), name+": %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Fatal("no " + name)
	return 0
}
