package kubesecret_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/customersession/customersession/keys/kubesecret"
)

// typical is a kubeconfig as kubectl and others write it.
const typical = `# written by hand
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: "prod"
contexts:
- context:
    cluster: prod
    namespace: default
    user: operator
  name: prod
- context: {cluster: prod, user: robot}
  name: robot
- {context: {cluster: gone, user: robot}, name: no-cluster}
- {context: {cluster: prod, user: gone}, name: no-user}
clusters:
- cluster:
    certificate-authority-data: CA_DATA
    extensions:
    - extension: {last-update: today, version: v1.32.0}
      name: minikube.sigs.k8s.io
    server: SERVER/
  name: prod
users:
- name: operator
  user:
    token: first-token
- name: robot
  user:
    tokenFile: robot/token
`

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	path := writeFile(t, "kubeconfig", d.fill(typical))
	folder := filepath.Join(filepath.Dir(path), "robot")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	writeToken := func(token string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "token"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: path}
	d.wantVisitor(t, mustNew(t, config), secretPath+" Bearer first-token")

	// The path is relative to the kubeconfig, and the file is read each time.
	config.Context = "robot"
	writeToken("none")
	robot := mustNew(t, config)
	for _, token := range []string{"one", "two\n"} {
		writeToken(token)
		d.wantVisitor(t, robot, secretPath+" Bearer "+strings.TrimSpace(token))
	}

	for context, words := range map[string][]string{
		"staging":    {`no context "staging"`, "only no-cluster, no-user, prod, robot"},
		"no-cluster": {`no cluster "gone"`},
		"no-user":    {`no user "gone"`},
	} {
		config.Context = context
		_, err := kubesecret.New(config)
		wantError(t, err, append(words, "kubeconfig "+path)...)
	}
}

// TestSeveralKubeconfigs merges files: the first one that sets a value counts.
func TestSeveralKubeconfigs(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	missing := filepath.Join(t.TempDir(), "missing")
	contexts := writeFile(t, "a", `
contexts: [{name: x, context: {cluster: c, user: u}}, {name: z, context: {cluster: c, user: v}}]
users: [{name: u, user: {token: from-a}}]
`)
	rest := writeFile(t, "b", d.fill(`
current-context: z
clusters: [{name: c, cluster: {server: SERVER, certificate-authority-data: CA_DATA}}]
users: [{name: u, user: {token: from-b}}, {name: v, user: {token: from-b}}]
`))
	last := writeFile(t, "c", d.fill(`
current-context: x
clusters: [{name: c, cluster: {server: "https://elsewhere.invalid"}}]
`))
	list := func(paths ...string) string { return strings.Join(paths, string(os.PathListSeparator)) }
	for _, c := range []struct{ list, context, want string }{
		{list(contexts, rest, last), "", "Bearer from-b"},
		{list(contexts, rest, last), "x", "Bearer from-a"},
		{list(rest, contexts, last), "x", "Bearer from-b"},
		{list(missing, "", contexts, rest, last), "", "Bearer from-b"},
	} {
		s := mustNew(t, kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: c.list, Context: c.context})
		d.wantVisitor(t, s, secretPath+" "+c.want)
	}
	for wrong, words := range map[string]string{
		missing:               "no such file",
		list(missing, ""):     "no such file",
		contexts:              "no current-context",
		t.TempDir():           "is a directory",
		list(rest, rest+"/x"): "not a directory",
	} {
		_, err := kubesecret.New(kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: wrong})
		wantError(t, err, words)
	}
}

// TestNoKubeconfig reads files that are no kubeconfig. The decoder's errors
// would quote them.
func TestNoKubeconfig(t *testing.T) {
	t.Parallel()
	secret := hide("vT4mQ8sJ1xKd5ZgH0pWe")
	for name, text := range map[string]string{
		"no YAML":        "users:\n\t- " + secret,
		"text":           secret,
		"users are text": "users: " + secret,
		"user is text":   "current-context: x\nusers: [{name: u, user: " + secret + "}]",
		"token is a map": "users: [{name: u, user: {token: {a: " + secret + "}}}]",
		"bool is text":   "clusters: [{name: c, cluster: {insecure-skip-tls-verify: " + secret + "}}]",
		"user twice":     "users: [{name: u, user: {token: " + secret + "}}, {name: u, user: {token: " + secret + "}}]",
		"no base64":      "users: [{name: u, user: {client-key-data: " + secret + "!}}]",
		"another kind":   "kind: " + secret,
		"no anchor":      "users: *" + secret,
	} {
		path := writeFile(t, "kubeconfig", text)
		_, err := kubesecret.New(kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: path})
		wantError(t, err, path, "kubeconfig")
		if !slices.Contains([]string{"text", "another kind", "no anchor"}, name) && !strings.Contains(err.Error(), " is not a kubeconfig: ") {
			t.Errorf("%s: got %v, want it to say where", name, err)
		}
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	certificate, key := d.authority.client(t, "operator")
	otherCertificate, otherKey := d.authority.client(t, "somebody")
	hide("do-not-echo-this")
	for _, c := range []struct {
		name, user string
		want       string // what the doorman sees
		refused    string // by New
		unread     string // by Read
	}{
		{"token", "{token: abc}", " Bearer abc", "", ""},
		{"token file", "{tokenFile: " + quote(writeFile(t, "t", " abc\n")) + "}", " Bearer abc", "", ""},
		{"token file and token", "{token: old, tokenFile: " + quote(writeFile(t, "t", "new")) + "}", " Bearer new", "", ""},
		{"certificate", "{client-certificate-data: " + base64Of(certificate) + ", client-key-data: " + base64Of(key) + "}", " certificate of operator", "", ""},
		{
			"certificate files", "{client-certificate: " + quote(writeFile(t, "c", certificate)) + ", client-key: " + quote(writeFile(t, "k", key)) + "}",
			" certificate of operator", "", "",
		},
		{
			"data and files", "{client-certificate-data: " + base64Of(certificate) + ", client-key-data: " + base64Of(key) +
				", client-certificate: /missing, client-key: /missing}",
			"", "client-cert-data and client-cert are both specified", "",
		},
		{
			"certificate and token", "{token: abc, client-certificate-data: " + base64Of(certificate) + ", client-key-data: " + base64Of(key) + "}",
			" Bearer abc certificate of operator", "", "",
		},
		{"password", "{username: admin, password: do-not-echo-this}", " Basic " + base64Of("admin:do-not-echo-this"), "", ""},
		{"impersonation", "{token: abc, as: admin}", " Bearer abc as admin", "", ""},
		{"nothing", "{}", "", "no credentials", ""},
		{"null", "null", "", "no credentials", ""},
		{"password and token", "{token: abc, username: admin, password: do-not-echo-this}", "", "more than one authentication method", ""},
		{"auth provider", "{auth-provider: {name: gcp, config: {access-token: do-not-echo-this}}}", "", "auth-provider is not supported", ""},
		{"no token in it", `{token: "do-not-echo-this\ntwo"}`, "", "", "the token holds a line break"},
		{"no token in the file", "{tokenFile: " + quote(writeFile(t, "t", "do-not-echo-this\nX: y")) + "}", "", "", "the token holds a line break"},
		{"empty token file", "{tokenFile: " + quote(writeFile(t, "t", "\n")) + "}", "", "", "read empty token from file"},
		{"no token file", "{tokenFile: missing}", "", "no such file", ""},
		{"no key", "{client-certificate-data: " + base64Of(certificate) + "}", "", "client-key-data or client-key must be specified", ""},
		{"another's key", "{client-certificate-data: " + base64Of(certificate) + ", client-key-data: " + base64Of(otherKey) + "}", "", "", "private key does not match"},
		{"the wrong way round", "{client-certificate-data: " + base64Of(otherKey) + ", client-key-data: " + base64Of(otherCertificate) + "}", "", "", "failed to find"},
		{"no base64", "{client-certificate-data: do-not-echo-this!, client-key-data: do-not-echo-this!}", "", "illegal base64 data", ""},
		{"no key file", "{client-certificate-data: " + base64Of(certificate) + ", client-key: missing}", "", "unable to read client-key", ""},
	} {
		config := d.config(t, c.user)
		s, err := kubesecret.New(config)
		if c.refused != "" {
			wantError(t, err, "kubeconfig "+config.Kubeconfig, c.refused)
			continue
		}
		if err != nil {
			t.Errorf("%s: got %v", c.name, err)
			continue
		}
		if c.unread == "" {
			d.wantVisitor(t, s, secretPath+c.want)
			continue
		}
		_, _, err = s.Read(t.Context())
		wantError(t, err, "reading Secret shop/keys: kubeconfig "+config.Kubeconfig, c.unread)
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, which looks as if there were no manifest", c.name, err)
		}
	}
}

func TestClusters(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	const trusted = "certificate-authority-data: CA_DATA"
	const noConnection = "no connection to the API server: tls: failed to verify certificate: x509: "
	authority := quote(writeFile(t, "ca.crt", string(d.authority.pem)))
	hide("do-not-echo-this")
	for _, c := range []struct {
		name, cluster string
		want          string // what the doorman sees
		refused       string // by New
		unread        string // by Read
	}{
		{"authority in a file", "{server: SERVER, certificate-authority: " + authority + "}", secretPath, "", ""},
		{"data and a file", "{server: SERVER, certificate-authority: /missing, " + trusted + "}", "", "are both specified", ""},
		{"below a path", "{server: SERVER/k8s/clusters/c-1/, " + trusted + "}", "/k8s/clusters/c-1" + secretPath, "", ""},
		{"server name", "{server: SERVER, tls-server-name: kubernetes.test, " + trusted + "}", "kubernetes.test " + secretPath, "", ""},
		{"wrong server name", "{server: SERVER, tls-server-name: elsewhere.test, " + trusted + "}", "", "", noConnection + "certificate is valid for kubernetes.test, not elsewhere.test"},
		{"another authority", "{server: SERVER, certificate-authority-data: " + base64Of(string(mustAuthority(t).pem)) + "}", "", "", noConnection + "certificate signed by unknown authority"},
		{"no authority", "{server: SERVER}", "", "", noConnection + "certificate signed by unknown authority"},
		{"insecure", "{server: SERVER, insecure-skip-tls-verify: true}", "", "insecure-skip-tls-verify is refused", ""},
		{"secure", "{server: SERVER, insecure-skip-tls-verify: false, " + trusted + "}", secretPath, "", ""},
		{"no server", "{" + trusted + "}", "", "server: must be a URL", ""},
		{"http", "{server: 'http://127.0.0.1:8001'}", "", "server: must be https", ""},
		{"no scheme", "{server: '127.0.0.1:6443'}", "", "server: must be a URL", ""},
		{"password", "{server: 'https://admin:do-not-echo-this@127.0.0.1:6443'}", "", "must have no user", ""},
		{"no URL", "{server: 'https://admin:do-not-echo-this@127.0.0.1:x'}", "", "server: must be a URL", ""},
		{"query", "{server: 'https://127.0.0.1:6443?x'}", "", "no query", ""},
		{"no PEM", "{server: SERVER, certificate-authority-data: " + base64Of("do-not-echo-this") + "}", "", "", "unable to load root certificates"},
		{"no base64", "{server: SERVER, certificate-authority-data: do-not-echo-this!}", "", "illegal base64 data", ""},
		{"empty file", "{server: SERVER, certificate-authority: " + quote(writeFile(t, "ca.crt", "")) + "}", "", "", "ca.crt is empty"},
		{"no file", "{server: SERVER, certificate-authority: missing}", "", "no such file", ""},
		{"proxy", "{server: SERVER, proxy-url: 'ftp://do-not-echo-this@127.0.0.1'}", "", "proxy-url: must be", ""},
	} {
		path := writeFile(t, "kubeconfig", d.fill(`
clusters: [{name: c, cluster: `+c.cluster+`}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`))
		s, err := kubesecret.New(kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: path})
		if c.refused != "" {
			wantError(t, err, "kubeconfig "+path+": ", c.refused)
			continue
		}
		if err != nil {
			t.Errorf("%s: got %v", c.name, err)
			continue
		}
		if c.unread == "" {
			d.wantVisitor(t, s, c.want+" Bearer t")
			continue
		}
		_, _, err = s.Read(t.Context())
		wantError(t, err, "reading Secret shop/keys: ", c.unread)
	}
}

// TestProxy reaches the API server through a proxy, which sees only that there
// is a connection.
func TestProxy(t *testing.T) {
	t.Parallel()
	d := newDoorman(t)
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization"))
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		near, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, buffer) }()
		_, _ = io.Copy(near, far)
	}))
	defer proxy.Close()
	hide("do-not-echo-this")
	address := strings.Replace(proxy.URL, "http://", "http://me:do-not-echo-this@", 1)
	config := func(proxy string) kubesecret.Config {
		return kubesecret.Config{Namespace: "shop", Name: "keys", Kubeconfig: writeFile(t, "kubeconfig", d.fill(`
clusters: [{name: c, cluster: {server: SERVER, certificate-authority-data: CA_DATA, proxy-url: `+quote(proxy)+`}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`))}
	}
	d.wantVisitor(t, mustNew(t, config(address)), secretPath+" Bearer t")
	want := "CONNECT " + strings.TrimPrefix(d.URL, "https://") + " Basic " + base64Of("me:do-not-echo-this")
	if asked.Load() != want {
		t.Errorf("the proxy saw %v, want %v", asked.Load(), want)
	}
	proxy.Close()
	_, _, err := mustNew(t, config(address)).Read(t.Context())
	wantError(t, err, "proxy", "connection refused")
}
