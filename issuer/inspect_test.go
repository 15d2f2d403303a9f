package issuer_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// The link that dev prints is inspected as it is; a token for another audience
// is refused with both audiences named.
func TestCommandInspectsLink(t *testing.T) {
	t.Parallel()
	path := binary(t)
	d := startDev(t)
	inspect := func(args ...string) (stdout, stderr string, err error) {
		var out, talk bytes.Buffer
		command := exec.CommandContext(t.Context(), path, append([]string{"token", "inspect", "--issuer", d.base}, args...)...)
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader(d.link+"\n"), &out, &talk
		err = command.Run()
		return out.String(), talk.String(), err
	}
	stdout, stderr, err := inspect()
	if err != nil || stderr != "verified\n" || !strings.Contains(stdout, customerID) {
		t.Errorf("the link: %v\n%s%s", err, stdout, stderr)
	}
	stdout, stderr, err = inspect("--audience", "billing")
	const want = "audience: the token has \"customer-portal\" (not verified), wanted \"billing\"\n" +
		"customersession: verify: audience is not the expected one"
	if err == nil || stdout != "" || !strings.HasPrefix(stderr, want) {
		t.Errorf("another audience: %v\n%s%s", err, stdout, stderr)
	}
}
