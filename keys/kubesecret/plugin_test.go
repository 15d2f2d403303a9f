//go:build unix

package kubesecret_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/kubesecret"
)

// runs is a user of a kubeconfig whose plugin is that shell script.
func runs(t *testing.T, script, more string) string {
	t.Helper()
	// A script that was just written may still be open elsewhere, and then the
	// kernel does not run it; the shell reads it.
	return "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: /bin/sh, args: [" +
		quote(writeFile(t, "plugin", script)) + ", two words]" + more + "}}"
}

// prints is a script that prints an ExecCredential with that status.
func prints(t *testing.T, status object) string {
	t.Helper()
	answer, err := json.Marshal(object{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": status})
	if err != nil {
		t.Fatal(err)
	}
	return "cat <<'END'\n" + string(answer) + "\nEND\n"
}

func TestPlugin(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	certificate, key := d.authority.client(t, "plugged")
	token := prints(t, object{"token": "abc", "expirationTimestamp": "2030-01-01T00:00:00Z"})
	const echo = `printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"}}' ` +
		`"${1%% *}-${1##* }-$NAME"`
	for _, c := range []struct{ name, user, want string }{
		{"token", runs(t, token, ""), " Bearer abc"},
		{"certificate", runs(t, prints(t, object{"clientCertificateData": certificate, "clientKeyData": key}), ""), " certificate of plugged"},
		{
			"both", runs(t, prints(t, object{"token": "abc", "clientCertificateData": certificate, "clientKeyData": key}), ""),
			" Bearer abc certificate of plugged",
		},
		{
			"v1beta1",
			strings.Replace(runs(t, strings.ReplaceAll(token, "/v1", "/v1beta1"), ""), "/v1,", "/v1beta1,", 1),
			" Bearer abc",
		},
		{"arguments and environment", runs(t, echo, ", env: [{name: NAME, value: value}]"), " Bearer two-words-value"},
		{"nothing to read", runs(t, "[ -z \"$(cat)\" ] && "+token, ""), " Bearer abc"},
		{"an own token is better", strings.Replace(runs(t, "exit 1", ""), "{exec", "{token: own, exec", 1), " Bearer own"},
	} {
		t.Log(c.name)
		d.wantVisitor(t, mustNew(t, d.config(t, c.user)), secretPath+c.want)
	}
}

// TestPluginIsToldOfTheCluster shows what it finds in its environment.
func TestPluginIsToldOfTheCluster(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	said := filepath.Join(t.TempDir(), "said")
	script := "printf %s \"$KUBERNETES_EXEC_INFO\" > " + said + "\n" + prints(t, object{"token": "abc"})
	for _, c := range []struct {
		more string
		want object // as the cluster of the spec
	}{
		{"", nil},
		{", provideClusterInfo: true", object{
			"server": d.URL, "certificate-authority-data": base64Of(string(d.authority.pem)),
			"config": object{"audience": "a1", "depth": 1.0}, "proxy-url": nil, "tls-server-name": "kubernetes.test",
		}},
	} {
		path := writeFile(t, "kubeconfig", d.fill(`
clusters:
- name: c
  cluster:
    server: SERVER
    certificate-authority-data: CA_DATA
    tls-server-name: kubernetes.test
    extensions:
    - {name: other, extension: {audience: a2}}
    - {name: client.authentication.k8s.io/exec, extension: {audience: a1, depth: 1}}
users: [{name: u, user: `+runs(t, script, c.more)+`}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`))
		d.wantVisitor(t, mustNew(t, kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: path}),
			"kubernetes.test "+secretPath+" Bearer abc")
		text, err := os.ReadFile(said)
		if err != nil {
			t.Fatal(err)
		}
		delete(c.want, "proxy-url")
		spec := object{"interactive": false}
		if c.want != nil {
			spec["cluster"] = c.want
		}
		want, err := json.Marshal(object{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "spec": spec})
		if err != nil {
			t.Fatal(err)
		}
		if got := normal(t, text); !bytes.Equal(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// normal is the JSON with its members in order.
func normal(t *testing.T, text []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestPluginBesideTheKubeconfig names the plugin by a path that is relative.
func TestPluginBesideTheKubeconfig(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	user := strings.Replace(runs(t, prints(t, object{"token": "abc"}), ""), "/bin/sh", "./bin/plugin", 1)
	config := d.config(t, user)
	bin := filepath.Join(filepath.Dir(config.Kubeconfig), "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/sh", filepath.Join(bin, "plugin")); err != nil {
		t.Fatal(err)
	}
	d.wantVisitor(t, mustNew(t, config), secretPath+" Bearer abc")
}

func TestPluginFails(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	secret := hide("do-not-echo-this-either")
	certificate, key := d.authority.client(t, "plugged")
	for name, c := range map[string]struct {
		user  string
		words []string
	}{
		"exits": {runs(t, "echo please log in >&2; echo "+secret+"; exit 3", ""), []string{"exit status 3"}},
		"is missing": {
			strings.Replace(runs(t, "", ", installHint: brew install it"), "/bin/sh", "no-such-plugin", 1),
			[]string{"no-such-plugin", "not found", "\nbrew install it"},
		},
		"says nothing":     {runs(t, "", ""), []string{"not an ExecCredential"}},
		"says no JSON":     {runs(t, "echo "+secret, ""), []string{"not an ExecCredential"}},
		"has no status":    {runs(t, strings.Replace(prints(t, nil), "status", "state", 1), ""), []string{"with a status"}},
		"has no token":     {runs(t, prints(t, object{}), ""), []string{"neither a token nor a certificate"}},
		"has no key":       {runs(t, prints(t, object{"clientCertificateData": certificate}), ""), []string{"not a pair"}},
		"has only a key":   {runs(t, prints(t, object{"token": "abc", "clientKeyData": key}), ""), []string{"not a pair"}},
		"has a bad token":  {runs(t, prints(t, object{"token": secret + " two"}), ""), []string{"holds no bearer token"}},
		"another version":  {runs(t, strings.ReplaceAll(prints(t, object{"token": secret}), "/v1", "/v1beta1"), ""), []string{"another apiVersion"}},
		"says no end":      {runs(t, "yes "+secret, ""), []string{"credential plugin /bin/sh"}},
		"takes its time":   {runs(t, "exec cat /dev/zero > /dev/null", ""), []string{"it took longer than"}},
		"leaves something": {runs(t, "sleep 5 & "+prints(t, object{"token": secret}), ""), []string{"credential plugin /bin/sh"}},
	} {
		config := d.config(t, c.user)
		config.Timeout = 10 * time.Second
		if name == "takes its time" {
			config.Timeout = 300 * time.Millisecond
		}
		var output bytes.Buffer
		config.PluginOutput = &output
		_, _, err := mustNew(t, config).Read(t.Context())
		wantError(t, err, append(c.words, "reading Secret shop/keys")...)
		if name == "exits" && output.String() != "please log in\n" {
			t.Errorf("got output %q, want what the plugin tells people", output.String())
		}
	}
}

func TestPluginsThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	for user, words := range map[string]string{
		"{exec: {apiVersion: client.authentication.k8s.io/v1}}": "no command",
		"{exec: {command: x}}": `apiVersion "" is not supported`,
		"{exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}}":                       "v1alpha1",
		"{exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}}":    "interactiveMode is Always",
		"{exec: {command: x, apiVersion: client.authentication.k8s.io/v1}, auth-provider: {name: gcp}}": "auth-provider",
	} {
		_, err := kubesecret.New(d.config(t, user))
		wantError(t, err, words)
	}
}
