package deploy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/verify/verifytest"
	"github.com/customersession/customersession/verify/wire"
)

const (
	good  = "good"
	ended = "ended"

	// feedMaxAge is short, so that a test sees its end.
	feedMaxAge = 4 * time.Second
	// feedPatience is how long a follower may take to notice something.
	feedPatience = 30 * time.Second
)

// A pageFollower is a program of the page that follows the feed.
type pageFollower struct {
	name, driver string
	// files are the blocks of the page, by the name of the file.
	files       map[string]string
	interpreter func(t *testing.T) string
	// background is a file that runs beside the driver, or empty.
	background string
}

func pageFollowers() []pageFollower {
	return []pageFollower{
		{"javascript", "feed.mjs", map[string]string{"revocations.mjs": "feed-js"}, nodeAlone, ""},
		{"python", "feed.py", map[string]string{"revocations.py": "feed-python"}, pythonAlone, ""},
		{"php", "feed.php", map[string]string{"revocations.php": "feed-php", "follow.php": "feed-php-follow"}, php, "follow.php"},
	}
}

func nodeAlone(t *testing.T) string {
	t.Helper()
	return pageProgram(t, []string{"node"}, "install Node.js 20 or newer", "--version")
}

func pythonAlone(t *testing.T) string {
	t.Helper()
	return pageProgram(t, []string{"/usr/bin/python3", "python3"}, "install python3", "--version")
}

func php(t *testing.T) string {
	t.Helper()
	return pageProgram(t, []string{"php"}, "install php-cli", "--version")
}

// A followerProcess is a running pageFollower, with an issuer of its own.
type followerProcess struct {
	t      *testing.T
	issuer *verifytest.Issuer
	in     io.Writer
	out    *bufio.Scanner
	claims map[string]any
}

// start runs the program with its driver, from testdata, until the test ends.
func (f pageFollower) start(t *testing.T) *followerProcess {
	t.Helper()
	issuer := verifytest.NewIssuer(t, verifytest.Config{Loopback: true, MaxRevocationAge: feedMaxAge})
	folder, interpreter := t.TempDir(), f.interpreter(t)
	driver, err := os.ReadFile(filepath.Join(verifyingData, f.driver))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{f.driver: string(driver), "kept/.keep": ""}
	for name, block := range f.files {
		text := pageBlock(t, block)
		if strings.HasSuffix(name, ".php") {
			text = strings.ReplaceAll(text, "/run/customersession", filepath.Join(folder, "kept"))
		}
		files[name] = strings.ReplaceAll(text, pageIssuer, issuer.URL())
	}
	writePageFiles(t, folder, files)
	run := func(file string) *exec.Cmd {
		command := exec.CommandContext(t.Context(), interpreter, file)
		command.Dir = folder
		complaints := &strings.Builder{}
		command.Stderr = complaints
		t.Cleanup(func() {
			_ = command.Wait()
			if t.Failed() {
				t.Logf("%s: %s", file, complaints)
			}
		})
		return command
	}
	if f.background != "" {
		if err := run(f.background).Start(); err != nil {
			t.Fatal(err)
		}
	}
	command := run(f.driver)
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
	return &followerProcess{t: t, issuer: issuer, in: in, out: bufio.NewScanner(out), claims: map[string]any{
		"sid": verifytest.SessionID, "sub": verifytest.CustomerID, "org": verifytest.OrganizationID,
		"client_id": "shop", "iat": time.Now().Unix(),
	}}
}

// verdict returns what the program says of a session, of which the claims differ
// from the usual ones in pairs of names and values.
func (p *followerProcess) verdict(changes ...any) string {
	p.t.Helper()
	claims, kid := maps.Clone(p.claims), p.issuer.KeyID()
	for i := 0; i < len(changes); i += 2 {
		claims[changes[i].(string)] = changes[i+1]
	}
	if err := json.NewEncoder(p.in).Encode(map[string]any{"claims": claims, "kid": kid}); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("the program has ended: %v", p.out.Err())
	}
	return p.out.Text()
}

// becomes waits until the program says so, and complains if it says anything else
// on the way than what it said before.
func (p *followerProcess) becomes(when, before, want string, changes ...any) {
	p.t.Helper()
	for deadline := time.Now().Add(feedPatience); ; {
		got := p.verdict(changes...)
		if got == want {
			return
		}
		if got != before || time.Now().After(deadline) {
			p.t.Fatalf("%s: got %q, want %q", when, got, want)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// stays complains if the program says anything else.
func (p *followerProcess) stays(when, want string, changes ...any) {
	p.t.Helper()
	if got := p.verdict(changes...); got != want {
		p.t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

func eachPageFollower(t *testing.T, test func(p *followerProcess)) {
	t.Helper()
	for _, f := range pageFollowers() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			test(f.start(t))
		})
	}
}

const otherID = "00000000-0000-4000-8000-000000000000"

// Each scope ends what it names, and nothing else; adding revives nothing.
func TestVerifyingFeed(t *testing.T) {
	t.Parallel()
	eachPageFollower(t, func(p *followerProcess) {
		p.becomes("at first", unavailable, good)
		later := time.Now().Add(time.Hour).Unix()
		p.issuer.RevokeSession(otherID)
		p.becomes("a session", good, ended, "sid", otherID, "iat", later)
		p.stays("another session", good)
		p.issuer.RevokeCustomer(otherID)
		p.becomes("a customer", good, ended, "sub", otherID)
		p.stays("a later session of the customer", good, "sub", otherID, "iat", later)
		p.issuer.RevokeMember(otherID)
		p.becomes("a member", good, ended, "member_id", otherID)
		p.stays("a token without a member", good, "member_id", "")
		p.stays("a member with the ID of a customer", good, "member_id", verifytest.CustomerID)
		p.stays("a later session of the member", good, "member_id", otherID, "iat", later)
		p.issuer.RevokeAPIKey("leaked")
		p.becomes("an API key", good, ended, "client_id", "leaked")
		p.stays("a token without an API key", good, "client_id", "")
		p.issuer.RevokeOrganization(otherID)
		p.becomes("an organization", good, ended, "org", otherID)
		p.issuer.AddRevocation(wire.Revocation{Scope: "device", DropAt: later})
		older := wire.Revocation{
			Scope: wire.RevokeCustomer, ID: wire.NewRevocationID(wire.RevokeCustomer, verifytest.OrganizationID, otherID),
			IssuedBefore: 1, DropAt: time.Now().Unix() + 1,
		}
		p.issuer.AddRevocation(older)
		p.issuer.RevokeCustomer(verifytest.CustomerID)
		p.becomes("the customer", good, ended)
		p.stays("a customer with an older entry beside", ended, "sub", otherID)
		p.stays("another one", good, "sub", otherID, "iat", later)
		p.issuer.RevokeKey(p.issuer.KeyID())
		p.becomes("a key", good, ended, "sub", otherID, "iat", later)
		p.issuer.ReplaceLog()
		p.issuer.RevokeSession("10000000-0000-4000-8000-000000000000")
		<-time.After(feedMaxAge)
		p.becomes("in another log", unavailable, ended)
	})
}

// What the feed does wrong makes sessions impossible to judge in the end, and ends
// none; what has ended stays so, and all heals.
func TestVerifyingFeedFails(t *testing.T) {
	t.Parallel()
	failures := map[string]verifytest.FeedFailure{"down": verifytest.FeedDown, "cached": verifytest.FeedCached}
	rollbacks := map[string]verifytest.FeedFailure{}
	if needs.Rehearsal() {
		rollbacks["lower seq"], rollbacks["other log"] = verifytest.FeedLowerSeq, verifytest.FeedOtherLog
		failures["gap"], failures["truncated"] = verifytest.FeedGap, verifytest.FeedTruncated
		failures["other issuer"], failures["garbage"] = verifytest.FeedOtherIssuer, verifytest.FeedGarbage
		failures["unavailable"], failures["not found"] = verifytest.FeedUnavailable, verifytest.FeedNotFound
	}
	eachPageFollower(t, func(p *followerProcess) {
		p.becomes("at first", unavailable, good)
		p.issuer.RevokeSession(otherID)
		p.becomes("a session", good, ended, "sid", otherID)
		for name, failure := range failures {
			p.issuer.FailFeed(failure)
			p.becomes(name, good, unavailable)
			p.issuer.FailFeed(verifytest.FeedHealthy)
			p.becomes("after "+name, unavailable, good)
			p.stays("after "+name, ended, "sid", otherID)
		}
		for name, failure := range rollbacks {
			p.issuer.FailFeed(failure)
			<-time.After(feedMaxAge + time.Second)
			p.becomes(name, unavailable, good)
			p.becomes(name, unavailable, ended, "sid", otherID)
			p.issuer.FailFeed(verifytest.FeedHealthy)
		}
		p.issuer.EnableRevocations(false)
		p.becomes("switched off", good, unavailable)
		p.issuer.EnableRevocations(true)
		p.becomes("switched on", unavailable, good)
		p.stays("switched on", ended, "sid", otherID)
	})
}
