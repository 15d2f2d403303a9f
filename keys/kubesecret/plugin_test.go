//go:build unix

package kubesecret_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/kubesecret"
)

// runs returns a user of a kubeconfig whose plugin is that shell script.
func runs(t *testing.T, script, more string) string {
	t.Helper()
	// The kernel refuses to run a new script that another process still has
	// open; the shell reads it.
	return "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: /bin/sh, args: [" +
		quote(writeFile(t, "plugin", script)) + ", two words]" + more + "}}"
}

// prints returns a script that prints an ExecCredential with that status.
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
		{"leaves a process", runs(t, "sleep 0.2 & "+token, ""), " Bearer abc"},
		{"an own token is better", strings.Replace(runs(t, "exit 1", ""), "{exec", "{token: own, exec", 1), " Bearer own"},
	} {
		t.Log(c.name)
		d.wantVisitor(t, mustNew(t, d.config(t, c.user)), secretPath+c.want)
	}
}

// TestPluginGetsCluster checks KUBERNETES_EXEC_INFO.
func TestPluginGetsCluster(t *testing.T) {
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

// normal sorts the members of JSON.
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

// TestPluginBesideTheKubeconfig names the plugin by a relative path.
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
	_, otherKey := d.authority.client(t, "somebody")
	const noCredential = "not an ExecCredential"
	for name, c := range map[string]struct {
		user  string
		words []string
	}{
		"exits": {runs(t, "echo "+secret+"; exit 3", ""), []string{"/bin/sh failed with exit code 3"}},
		"is missing": {
			strings.Replace(runs(t, "", ", installHint: brew install it"), "/bin/sh", "no-such-plugin", 1),
			[]string{"no-such-plugin not found", "\nbrew install it"},
		},
		"says nothing":      {runs(t, "", ""), []string{noCredential}},
		"says no JSON":      {runs(t, "echo "+secret, ""), []string{noCredential}},
		"has no version":    {runs(t, strings.Replace(prints(t, object{"token": secret}), "apiVersion", "version", 1), ""), []string{noCredential}},
		"has another kind":  {runs(t, strings.Replace(prints(t, nil), "ExecCredential", secret, 1), ""), []string{noCredential}},
		"has other members": {runs(t, prints(t, object{"token": object{"a": secret}}), ""), []string{noCredential}},
		"has no status":     {runs(t, strings.Replace(prints(t, nil), "status", "state", 1), ""), []string{"didn't return a status"}},
		"has no token":      {runs(t, prints(t, object{}), ""), []string{"didn't return a token or cert/key pair"}},
		"has no key":        {runs(t, prints(t, object{"clientCertificateData": certificate}), ""), []string{"only certificate or key"}},
		"has only a key":    {runs(t, prints(t, object{"token": "abc", "clientKeyData": key}), ""), []string{"only certificate or key"}},
		"has another's key": {runs(t, prints(t, object{"clientCertificateData": certificate, "clientKeyData": otherKey}), ""), []string{"private key does not match"}},
		"has a bad token":   {runs(t, prints(t, object{"token": secret + "\ntwo"}), ""), []string{"the token holds a line break"}},
		"another version":   {runs(t, strings.ReplaceAll(prints(t, object{"token": secret}), "/v1", "/v1beta1"), ""), []string{noCredential}},
		"takes its time":    {runs(t, "exec sleep 2", ""), []string{"waiting for credentials: it took longer than"}},
	} {
		config := d.config(t, c.user)
		config.Timeout = 10 * time.Second
		if name == "takes its time" {
			config.Timeout = 300 * time.Millisecond
		}
		_, _, err := mustNew(t, config).Read(t.Context())
		wantError(t, err, append(c.words, "reading Secret shop/keys: kubeconfig ")...)
	}
}

// TestPluginRunsOnce counts the runs of a plugin: each may ask a person to log
// in.
func TestPluginRunsOnce(t *testing.T) {
	t.Parallel()
	runsOf := filepath.Join(t.TempDir(), "runs")
	for _, c := range []struct {
		name, end, want string
	}{
		{"fails", "exit 1", "x"},
		{"works", prints(t, object{"token": "abc"}), "x"},
	} {
		if err := os.WriteFile(runsOf, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustNew(t, newDoorman(t).config(t, runs(t, "printf x >> "+runsOf+"\n"+c.end, "")))
		for range 2 {
			if _, _, err := s.Read(t.Context()); c.name == "fails" {
				wantError(t, err, "exit code 1")
				break
			}
		}
		if got, err := os.ReadFile(runsOf); err != nil || string(got) != c.want {
			t.Errorf("%s: it ran %d times, want once (%v)", c.name, len(got), err)
		}
	}
}

// TestPluginHangs refuses the token of a plugin that then does not end when it
// runs again.
func TestPluginHangs(t *testing.T) {
	t.Parallel()
	refuse := newFake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	again := filepath.Join(t.TempDir(), "again")
	config := refuse.config(t, runs(t, "[ -e "+again+" ] && exec sleep 5\ntouch "+again+"\n"+prints(t, object{"token": "abc"}), ""))
	config.Timeout = 500 * time.Millisecond
	start := time.Now()
	_, _, err := mustNew(t, config).Read(t.Context())
	wantError(t, err, "reading Secret shop/keys: ")
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v, want about %v", took, config.Timeout)
	}
}

func TestPluginsThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	for user, words := range map[string]string{
		"{exec: {apiVersion: client.authentication.k8s.io/v1}}":                                           "command must be specified",
		"{exec: {command: x, interactiveMode: Never}}":                                                    "apiVersion must be specified",
		"{exec: {command: x, interactiveMode: Never, apiVersion: client.authentication.k8s.io/v1alpha1}}": "v1alpha1",
		"{exec: {command: x, apiVersion: client.authentication.k8s.io/v1}}":                               "interactiveMode must be specified",
		"{exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}}":      "standard input is not a terminal",
		"{exec: {command: x, apiVersion: client.authentication.k8s.io/v1}, auth-provider: {name: gcp}}":   "auth-provider",
	} {
		s, err := kubesecret.New(d.config(t, user))
		if err == nil {
			_, _, err = s.Read(t.Context())
		}
		wantError(t, err, words)
	}
}
