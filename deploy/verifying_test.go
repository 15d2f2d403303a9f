package deploy_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

const (
	verifyingPage = "../verify/verifying.md"
	verifyingData = "testdata/verifying"
	// pageIssuer stands for the issuer on the page.
	pageIssuer = "https://sessions.example.com"

	accepted = "accepted " + verifytest.CustomerID
	// asMemberOfTeam is accepted for memberToken.
	asMemberOfTeam = accepted + " " + memberID + " billing_manager"
	refused        = "refused"
	unavailable    = "unavailable"
)

// pageBlock returns the block of the page that is marked with a name, with
// pairs of old and new replaced in it. Each must be about something.
func pageBlock(t *testing.T, name string, oldnew ...string) string {
	t.Helper()
	page, err := os.ReadFile(verifyingPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "<!-- run: deploy/verifying_test.go "+name+" -->\n```")
	_, rest, fenced := strings.Cut(rest, "\n")
	block, _, ended := strings.Cut(rest, "```\n")
	if !found || !fenced || !ended {
		t.Fatalf("%s has no block that is marked to be run as %s", verifyingPage, name)
	}
	for pair := range slices.Chunk(oldnew, 2) {
		if !strings.Contains(block, pair[0]) {
			t.Fatalf("the block %s says nothing of %q", name, pair[0])
		}
		block = strings.ReplaceAll(block, pair[0], pair[1])
	}
	return block
}

// pageProgram returns the first of some programs that is there and, called
// with the arguments, ends well.
func pageProgram(t *testing.T, programs []string, hint string, probe ...string) string {
	t.Helper()
	for _, program := range programs {
		if exec.CommandContext(t.Context(), program, probe...).Run() == nil {
			return program
		}
	}
	needs.Missing(t, strings.Join(programs, " or "), hint)
	return ""
}

// writePageFiles writes files, by their path below a folder.
func writePageFiles(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// A pageVerifier is a program of the page that verifies tokens.
type pageVerifier struct {
	name, file, driver string
	// interpreter finds what runs the driver, and prepares its folder.
	interpreter func(t *testing.T, folder string) string
	// stale is for how long it goes on without the issuer.
	stale time.Duration
}

func pageVerifiers() []pageVerifier {
	return []pageVerifier{
		{"jose", "verify.mjs", "driver.mjs", nodeWithJose, 10 * time.Minute},
		{"pyjwt", "verify.py", "driver.py", pythonWithJWT, time.Hour},
		{"ruby-jwt", "verify.rb", "driver.rb", rubyWithJWT, time.Hour},
	}
}

func nodeWithJose(t *testing.T, folder string) string {
	t.Helper()
	modules, err := filepath.Abs("../issuer/testdata/sdk/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(modules); err != nil {
		needs.Missing(t, "jose", "run npm ci --prefix issuer/testdata/sdk")
	}
	if err := os.Symlink(modules, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return pageProgram(t, []string{"node"}, "install Node.js 20 or newer", "--version")
}

// pythonWithJWT prefers Debian's Python, because Debian's packages are for
// that one, whatever else is in PATH. A PyJWT without the fix for CVE-2026-32597
// does not do: it accepts critical header parameters that it does not know.
func pythonWithJWT(t *testing.T, _ string) string {
	t.Helper()
	const probe = `
import cryptography, jwt
key = "k" * 32
token = jwt.encode({}, key, headers={"crit": ["unknown"], "unknown": True})
try:
    jwt.decode(token, key, algorithms=["HS256"])
except jwt.InvalidTokenError:
    pass
else:
    raise SystemExit("a critical extension is ignored")
`
	return pageProgram(t, []string{"/usr/bin/python3", "python3"},
		"install python3-jwt, with its security updates, and python3-cryptography", "-c", probe)
}

func rubyWithJWT(t *testing.T, _ string) string {
	t.Helper()
	return pageProgram(t, []string{"ruby"}, "install ruby and ruby-jwt", "-e", `require "jwt"`)
}

// A pageProcess is a running pageVerifier, in a test with an issuer of its own.
type pageProcess struct {
	pageVerifier

	t      *testing.T
	issuer *verifytest.Issuer
	in     io.Writer
	out    *bufio.Scanner
}

// start runs the program with its driver, from testdata, until the test ends.
func (v pageVerifier) start(t *testing.T) *pageProcess {
	t.Helper()
	issuer := newPageIssuer(t)
	folder := t.TempDir()
	interpreter := v.interpreter(t, folder)
	driver, err := os.ReadFile(filepath.Join(verifyingData, v.driver))
	if err != nil {
		t.Fatal(err)
	}
	writePageFiles(t, folder, map[string]string{
		v.file:   pageBlock(t, v.name, pageIssuer, issuer.URL()),
		v.driver: string(driver),
	})
	command := exec.CommandContext(t.Context(), interpreter, v.driver)
	command.Dir = folder
	complaints := &strings.Builder{}
	command.Stderr = complaints
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Wait()
		if complaints.Len() > 0 {
			t.Logf("%s: %s", v.name, complaints)
		}
	})
	return &pageProcess{pageVerifier: v, t: t, issuer: issuer, in: in, out: bufio.NewScanner(out)}
}

func (p *pageProcess) send(command any) {
	p.t.Helper()
	if err := json.NewEncoder(p.in).Encode(command); err != nil {
		p.t.Fatal(err)
	}
}

// advance makes the keys that the program holds older.
func (p *pageProcess) advance(by time.Duration) {
	p.t.Helper()
	p.send(map[string]int{"advance": int(by.Seconds())})
}

// verdict returns what the program makes of a token.
func (p *pageProcess) verdict(token string) string {
	p.t.Helper()
	p.send(map[string]string{"token": token})
	if !p.out.Scan() {
		p.t.Fatalf("the program has ended: %v", p.out.Err())
	}
	return p.out.Text()
}

// want complains when a verdict is another one.
func (p *pageProcess) want(want, when, token string) {
	p.t.Helper()
	if got := p.verdict(token); got != want {
		p.t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

func newPageIssuer(t *testing.T) *verifytest.Issuer {
	t.Helper()
	return verifytest.NewIssuer(t, verifytest.Config{Loopback: true})
}

// eachPageVerifier runs a test with each program.
func eachPageVerifier(t *testing.T, test func(p *pageProcess)) {
	t.Helper()
	for _, v := range pageVerifiers() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			test(v.start(t))
		})
	}
}

// checkPageTokens shows what every verifier must tell apart.
func checkPageTokens(t *testing.T, issuer *verifytest.Issuer, verdict func(token string) string) {
	t.Helper()
	claim := func(name string, value any) string {
		return issuer.Token(verifytest.TokenSpec{Claims: map[string]any{name: value}})
	}
	header := func(name string, value any) string {
		return issuer.Token(verifytest.TokenSpec{Header: map[string]any{name: value}})
	}
	forger := verifytest.NewIssuer(t, verifytest.Config{Issuer: issuer.URL()})
	goodID := map[string]any{"kid": issuer.KeyID()}
	good, none := issuer.Token(verifytest.TokenSpec{}), header("alg", "none")
	for _, test := range []struct{ name, token, want string }{
		{"good", good, accepted},
		{"a member of a team", memberToken(issuer), asMemberOfTeam},
		{"nearly expired", issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-59 * time.Minute)}), accepted},
		{"expired", issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)}), refused},
		{"never expires", claim("exp", nil), refused},
		{"another audience", claim("aud", "somebody-else"), refused},
		{"no audience", claim("aud", nil), refused},
		{"another issuer", claim("iss", "https://evil.example.com"), refused},
		{"the issuer with a slash", claim("iss", issuer.URL()+"/"), refused},
		{"another type", header("typ", "at+jwt"), refused},
		{"no type", header("typ", nil), refused},
		{"another key", forger.Token(verifytest.TokenSpec{}), refused},
		{"another key with the ID of a good one", forger.Token(verifytest.TokenSpec{Header: goodID}), refused},
		{"alg none, unsigned", none[:strings.LastIndexByte(none, '.')+1], refused},
		{"alg none, signed", none, refused},
		{"alg HS256", header("alg", "HS256"), refused},
		{"cut short", good[:len(good)-2], refused},
		{"no token", "nonsense", refused},
		{"nothing", "", refused},
		{"good again", good, accepted},
	} {
		if got := verdict(test.token); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestVerifyingTokens(t *testing.T) {
	t.Parallel()
	eachPageVerifier(t, func(p *pageProcess) {
		checkPageTokens(p.t, p.issuer, p.verdict)
	})
}

// A key is published, signs, and is removed in the end.
func TestVerifyingRotation(t *testing.T) {
	t.Parallel()
	eachPageVerifier(t, func(p *pageProcess) {
		old := p.issuer.Token(verifytest.TokenSpec{})
		p.want(accepted, "at first", old)
		p.issuer.Activate(p.issuer.Publish(jwk.ES256))
		p.advance(31 * time.Second)
		p.want(accepted, "a new key", p.issuer.Token(verifytest.TokenSpec{}))
		p.want(accepted, "the old key, which is still published", old)
		p.issuer.Remove(p.issuer.Keys()[0].ID())
		p.issuer.Publish(jwk.EdDSA)
		p.advance(11 * time.Minute)
		p.want(refused, "a removed key", old)
		p.want(accepted, "a key beside one of another algorithm", p.issuer.Token(verifytest.TokenSpec{}))
	})
}

// Strangers cannot make a service ask the issuer all the time.
func TestVerifyingUnknownKeys(t *testing.T) {
	t.Parallel()
	eachPageVerifier(t, func(p *pageProcess) {
		p.want(accepted, "good", p.issuer.Token(verifytest.TokenSpec{}))
		p.advance(time.Minute)
		stranger := verifytest.NewIssuer(p.t, verifytest.Config{Issuer: p.issuer.URL()})
		before := p.issuer.Requests()
		for range 50 {
			stranger.Activate(stranger.Publish(jwk.ES256))
			p.want(refused, "an unknown key", stranger.Token(verifytest.TokenSpec{}))
		}
		if got := p.issuer.Requests() - before; got != 1 {
			p.t.Errorf("50 unknown keys made %d requests, want 1", got)
		}
	})
}

func TestVerifyingOutage(t *testing.T) {
	t.Parallel()
	eachPageVerifier(t, func(p *pageProcess) {
		good := p.issuer.Token(verifytest.TokenSpec{})
		p.want(accepted, "before", good)
		for _, failure := range []verifytest.Failure{verifytest.Down, verifytest.ServerError, verifytest.Garbage} {
			p.issuer.Fail(failure)
			p.advance(p.stale - 2*time.Minute)
			p.want(accepted, fmt.Sprintf("failure %d, with young keys", failure), good)
			p.advance(3 * time.Minute)
			p.want(unavailable, fmt.Sprintf("failure %d, with old keys", failure), good)
			p.issuer.Fail(verifytest.Healthy)
			p.advance(time.Minute)
			p.want(accepted, fmt.Sprintf("after failure %d", failure), good)
		}
	})
}

// What they accept although package verify does not is written down, and
// nothing else may be among it. A newer library may accept less.
func TestVerifyingConformance(t *testing.T) {
	t.Parallel()
	eachPageVerifier(t, func(p *pageProcess) {
		checkPageConformance(p.t, p.name, p.issuer, p.verdict)
	})
	t.Run("haproxy", func(t *testing.T) {
		t.Parallel()
		issuer := newPageIssuer(t)
		checkPageConformance(t, "haproxy", issuer, startProxy(t, issuer).verdict)
	})
}

func checkPageConformance(t *testing.T, name string, issuer *verifytest.Issuer, verdict func(token string) string) {
	t.Helper()
	listed, err := os.ReadFile(filepath.Join(verifyingData, "accepted.txt"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(listed)) {
		if words := strings.Fields(line); len(words) > 0 && slices.Contains(words[1:], name) {
			known[words[0]] = true
		}
	}
	for _, attack := range verifytest.Cases() {
		if attack.Want != verifytest.Refuse || !attack.Applies(issuer) {
			continue
		}
		token := attack.Token(issuer)
		switch got := verdict(token); {
		case strings.HasPrefix(got, "accepted") && !isSigned(issuer, token):
			t.Errorf("%s: %s was accepted, and the issuer has not signed it", attack.ID, attack.Title)
		case strings.HasPrefix(got, "accepted") && !known[attack.ID]:
			t.Errorf("%s: %s was accepted, but %s", attack.ID, attack.Title, attack.Why)
		case got == unavailable:
			t.Errorf("%s: %s was taken for an outage", attack.ID, attack.Title)
		}
	}
}

// isSigned tells whether the issuer has signed what stands in a token, for a
// reader that is lenient about how the signature is written: r and s may have
// leading zeros.
func isSigned(issuer *verifytest.Issuer, token string) bool {
	at := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	for half := len(signature) / 2; half > 32 && signature[0] == 0 && signature[half] == 0; half-- {
		signature = slices.Concat(signature[1:half], signature[half+1:])
	}
	return err == nil && slices.ContainsFunc(issuer.Keys(), func(key *jwk.Key) bool {
		return jwt.GetSigningMethod(string(key.Algorithm())).Verify(token[:at], signature, key.Public()) == nil
	})
}

// Every block that the page says is run is run.
func TestVerifyingPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(verifyingPage)
	if err != nil {
		t.Fatal(err)
	}
	marked := map[string]bool{}
	mark := regexp.MustCompile(`<!-- run: deploy/verifying_test\.go (\S+) -->`)
	for _, match := range mark.FindAllStringSubmatch(string(page), -1) {
		marked[match[1]] = true
	}
	want := map[string]bool{"haproxy": true, "haproxy-keys": true, "haproxy-update": true}
	for _, v := range pageVerifiers() {
		want[v.name] = true
	}
	for _, f := range pageFollowers() {
		for _, block := range f.files {
			want[block] = true
		}
	}
	if !maps.Equal(marked, want) {
		t.Errorf("the page marks %v to be run, want %v", marked, want)
	}
}
