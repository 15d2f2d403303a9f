//go:build unix

package kubesecret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/kubesecret"
)

// open returns the Secret "keys" as that user sees it.
func (k *kube) open(t *testing.T, namespace, user string) *kubesecret.Secret {
	t.Helper()
	return mustNew(t, kubesecret.Config{
		Namespace: namespace, Name: "keys", Kubeconfig: k.kubeconfig(t, k.server.url(), user),
	})
}

func TestCreateReadUpdate(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	s := k.open(t, namespace, "admin")
	wantNotExist(t, s)
	first := newManifest(t)
	mustWrite(t, s, first, "")
	revision := wantRead(t, s, first)
	if again := wantRead(t, s, first); again != revision {
		t.Errorf("the revision is %q, then %q, and nothing was changed", revision, again)
	}
	if got := k.secret(t, namespace); got.Type != "Opaque" || len(got.Data) != 1 || !bytes.Equal(got.Data["keys.json"], first.Encode()) {
		t.Errorf("got a Secret of type %q with %d members, want an opaque one with keys.json", got.Type, len(got.Data))
	}

	second := newer(t, first)
	mustWrite(t, s, second, revision)
	if now := wantRead(t, s, second); now == revision {
		t.Error("the revision is the same after a write")
	}
	// Another writer, which read before that.
	wantConflict(t, k.open(t, namespace, "writer").Write(t.Context(), newer(t, second), revision))
	wantRead(t, s, second)
	// A writer that believes there is none.
	err := s.Write(t.Context(), first, "")
	wantConflict(t, err)
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v as well", err, fs.ErrExist)
	}
	wantRead(t, s, second)

	invalid := newer(t, second)
	invalid.Version = 0
	wantError(t, s.Write(t.Context(), invalid, wantRead(t, s, second)), "writing Secret "+namespace+"/keys", "version")
	wantRead(t, s, second)
}

// TestOneOfManyWins lets many writers update the same revision at once: one
// succeeds in each round, and all others get a conflict.
func TestOneOfManyWins(t *testing.T) {
	t.Parallel()
	const writers, rounds = 20, 3
	k := startedKube(t)
	namespace := k.namespace(t)
	// Each has its own client, as processes on several machines do.
	stores := make([]*kubesecret.Secret, writers)
	for i := range stores {
		stores[i] = k.open(t, namespace, "admin")
	}
	current, revision := newManifest(t), ""
	for round := range rounds {
		results := make(chan error, writers)
		manifests := make([]*keys.Manifest, writers)
		for i, s := range stores {
			manifests[i] = newer(t, current)
			manifests[i].Version = 1 + round*writers + i
			go func() { results <- s.Write(t.Context(), manifests[i], revision) }()
		}
		won := 0
		for range writers {
			if err := <-results; err == nil {
				won++
			} else {
				wantConflict(t, err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d of %d wrote, want one", round, won, writers)
		}
		var err error
		if current, revision, err = stores[0].Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecretMadeAgain(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	s := k.open(t, namespace, "admin")
	m := newManifest(t)
	mustWrite(t, s, m, "")
	revision := wantRead(t, s, m)
	k.delete(t, namespace)
	wantConflict(t, s.Write(t.Context(), newer(t, m), revision))
	wantNotExist(t, s)
	mustWrite(t, s, m, "")
	if wantRead(t, s, m) == revision {
		t.Error("another Secret has the same revision")
	}
	wantConflict(t, s.Write(t.Context(), newer(t, m), revision))
	wantRead(t, s, m)
	// A restored etcd may assign the same resourceVersion again.
	_, resourceVersion, _ := strings.Cut(wantRead(t, s, m), "/")
	uid, _, _ := strings.Cut(revision, "/")
	wantConflict(t, s.Write(t.Context(), newer(t, m), uid+"/"+resourceVersion))
}

func TestTheRestStays(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	labels := map[string]string{"app.kubernetes.io/part-of": "shop"}
	annotations := map[string]string{"example.com/note": "<&> ü", "example.com/owner": "platform"}
	others := map[string][]byte{"other": {0, 0xff, '\n'}, "empty": {}, "big": bytes.Repeat([]byte{0xa5}, 100_000)}
	k.put(t, namespace, object{
		"metadata": object{"name": "keys", "labels": labels, "annotations": annotations},
		"data":     others,
	})
	// The writer may not create, and need not to add a member to an existing
	// Secret.
	s := k.open(t, namespace, "writer")
	wantNotExist(t, s)
	m := newManifest(t)
	mustWrite(t, s, m, "")
	mustWrite(t, s, newer(t, m), wantRead(t, s, m))

	got := k.secret(t, namespace)
	want := maps.Clone(others)
	want["keys.json"], want["keys.json.previous"] = newer(t, m).Encode(), m.Encode()
	if !maps.EqualFunc(got.Data, want, bytes.Equal) {
		t.Error("other members of the data are not what they were")
	}
	if !maps.Equal(got.Metadata.Labels, labels) || !maps.Equal(got.Metadata.Annotations, annotations) {
		t.Errorf("got labels %v and annotations %v, want %v and %v",
			got.Metadata.Labels, got.Metadata.Annotations, labels, annotations)
	}
}

// TestPreviousComesBack takes a write back with the patch of the runbook.
func TestPreviousComesBack(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../deploy/runbooks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`--type json \\\n# +--patch '(.*)'`).FindSubmatch(page)
	if found == nil {
		t.Fatal("the runbooks have no patch")
	}
	k := startedKube(t)
	namespace := k.namespace(t)
	s := k.open(t, namespace, "admin")
	m := newManifest(t)
	mustWrite(t, s, m, "")
	mustWrite(t, s, newer(t, m), wantRead(t, s, m))
	wantRead(t, mustNew(t, kubesecret.Config{
		Namespace: namespace, Name: "keys", Key: "keys.json.previous", Kubeconfig: k.kubeconfig(t, k.server.url(), "reader"),
	}), m)
	k.do(t, http.MethodPatch, secrets(namespace)+"/keys", json.RawMessage(found[1]))
	wantRead(t, s, m)
}

func TestOtherDataKey(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	first := k.open(t, namespace, "admin")
	m := newManifest(t)
	mustWrite(t, first, m, "")
	second := mustNew(t, kubesecret.Config{
		Namespace: namespace, Name: "keys", Key: "staging.json", Kubeconfig: k.kubeconfig(t, k.server.url(), "writer"),
	})
	wantNotExist(t, second)
	other := newManifest(t)
	mustWrite(t, second, other, "")
	wantRead(t, first, m)
	wantRead(t, second, other)
	if got, want := second.String(), `"staging.json" of Secret `+namespace+"/keys"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSecretsThatAreNotOurs(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	m := newManifest(t)
	text := string(m.Encode())
	for _, c := range []struct {
		name    string
		members object
		create  bool // rather than update
		words   []string
	}{
		{"immutable", object{"immutable": true, "stringData": object{"keys.json": text}}, false, []string{"immutable", "another Secret"}},
		{"immutable and empty", object{"immutable": true}, true, []string{"immutable"}},
		{
			"of another type",
			object{"type": "kubernetes.io/basic-auth", "stringData": object{"password": hide("w5Nc8RkJ3yUx7HfD0sBa")}},
			true,
			[]string{"kubernetes.io/basic-auth", "another Secret"},
		},
		{
			"full",
			object{"stringData": object{"keys.json": text, "other": strings.Repeat("x", 1<<20-len(text))}},
			false,
			[]string{"422", "Too long"},
		},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			namespace := k.namespace(t)
			k.put(t, namespace, c.members)
			s := k.open(t, namespace, "admin")
			before := k.secret(t, namespace)
			revision := ""
			if !c.create {
				revision = wantRead(t, s, m)
			}
			longer := clone(t, m)
			longer.Version = 1234567
			err := s.Write(t.Context(), longer, revision)
			wantError(t, err, c.words...)
			if errors.Is(err, keys.ErrConflict) {
				t.Errorf("got %v, want no conflict: reading again would not help", err)
			}
			if after := k.secret(t, namespace); !maps.EqualFunc(after.Data, before.Data, bytes.Equal) {
				t.Error("the Secret was changed")
			}
		})
	}
}

func TestSecretWithSomethingElse(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	k.put(t, namespace, object{"stringData": object{"keys.json": `{"version": "` + hide("MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM") + `"}`}})
	s := k.open(t, namespace, "writer")
	_, _, err := s.Read(t.Context())
	wantError(t, err, "reading Secret", "manifest")
	if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for something that exists", err)
	}
	wantConflict(t, s.Write(t.Context(), newManifest(t), ""))
}

func TestMissingRights(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	m := newManifest(t)
	writer, reader, nobody := k.open(t, namespace, "writer"), k.open(t, namespace, "reader"), k.open(t, namespace, "nobody")

	// A user with get and update cannot create, and is told what to do instead.
	wantNotExist(t, writer)
	wantError(t, writer.Write(t.Context(), m, ""), "403", "verb create", namespace,
		"kubectl create secret generic keys --namespace "+namespace)
	k.put(t, namespace, nil)
	mustWrite(t, writer, m, "")

	revision := wantRead(t, reader, m)
	wantError(t, reader.Write(t.Context(), m, revision), "403", `User "reader"`, "verb update on the Secret keys in namespace "+namespace)
	_, _, err := nobody.Read(t.Context())
	wantError(t, err, "403", `User "nobody"`, "verb get on the Secret keys in namespace "+namespace)
	wantError(t, nobody.Write(t.Context(), m, revision), "403", "verb get on the Secret keys")
	_, _, err = k.open(t, namespace, hide("q8ZtV7wLp2RfB6nY")).Read(t.Context())
	wantError(t, err, "401", "does not accept the credentials")
	wantRead(t, reader, m)
}

func TestMissingNamespace(t *testing.T) {
	t.Parallel()
	s := startedKube(t).open(t, "nowhere", "admin")
	wantNotExist(t, s)
	err := s.Write(t.Context(), newManifest(t), "")
	wantError(t, err, `namespaces "nowhere" not found`)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, keys.ErrConflict) {
		t.Errorf("got %v, want an error of its own", err)
	}
}

// TestServiceAccount reads the files of a service account, as in a pod, where
// the token is replaced.
func TestServiceAccount(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	folder := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(k.server.address, ":")
	s := mustNew(t, kubesecret.Config{
		Namespace: namespace, Name: "keys",
		InCluster: kubesecret.InCluster{Host: host, Port: port, Folder: folder},
	})
	wantUnread := func(words ...string) {
		t.Helper()
		_, _, err := s.Read(t.Context())
		wantError(t, err, words...)
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, which looks as if there were no manifest", err)
		}
	}
	wantUnread("service account", "ca.crt")
	write("ca.crt", string(k.authority.pem))
	wantUnread("service account", "token")
	k.serviceAccount(t, namespace)
	token := k.token(t, namespace)
	write("token", token+"\n")

	m := newManifest(t)
	k.put(t, namespace, nil)
	mustWrite(t, s, m, "")
	revision := wantRead(t, s, m)
	write("token", token[:len(token)-8]+"AAAAAAAA")
	wantUnread("401")
	write("token", k.token(t, namespace))
	mustWrite(t, s, newer(t, m), revision)
	write("token", "")
	wantUnread("service account", "read empty token")
	write("token", token)
	write("ca.crt", string(mustAuthority(t).pem))
	wantUnread("certificate")
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	certificate, key := k.authority.client(t, "anybody", "system:masters")
	path := writeFile(t, "kubeconfig", fmt.Sprintf(`
clusters: [{name: c, cluster: {server: %q, certificate-authority: %s}}]
users: [{name: u, user: {client-certificate: %s, client-key: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, k.server.url(), writeFile(t, "ca", string(k.authority.pem)), writeFile(t, "c", certificate), writeFile(t, "k", key)))
	s := mustNew(t, kubesecret.Config{Namespace: namespace, Name: "keys", Kubeconfig: path})
	m := newManifest(t)
	mustWrite(t, s, m, "")
	wantRead(t, s, m)
}

func TestNoTimeLeft(t *testing.T) {
	t.Parallel()
	k := startedKube(t)
	namespace := k.namespace(t)
	s := k.open(t, namespace, "admin")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Read(ctx)
	if !errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if err := s.Write(ctx, newManifest(t), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	wantNotExist(t, s)
}
