package kubesecret_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/keys/kubesecret"
)

func TestParseRef(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"shop/keys", "a/b", "1/2", "a-b/c-d.e", "default/" + strings.Repeat("a", 253)} {
		namespace, name, err := kubesecret.ParseRef(good)
		if err != nil || namespace+"/"+name != good {
			t.Errorf("%q: got %q, %q, %v", good, namespace, name, err)
		}
	}
	for _, bad := range []string{
		"", "/", "keys", "shop/", "/keys", "shop/keys/more", "Shop/keys", "shop/Keys", "shop /keys", "a.b/keys",
		"-a/keys", "a-/keys", "a/-b", "a/b-", "a/b..c", "a/.b", "a/../b", "a/%2e", "a/b?c", "a/b#c", "ä/b", "a/b\n",
		strings.Repeat("a", 64) + "/keys", "shop/" + strings.Repeat("a", 254),
	} {
		namespace, name, err := kubesecret.ParseRef(bad)
		if namespace != "" || name != "" {
			t.Errorf("%q: got %q, %q beside the error", bad, namespace, name)
		}
		wantError(t, err, "is not a Secret in the form namespace/name", fmt.Sprintf("%q", bad))
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	pod := kubesecret.InCluster{Host: "10.0.0.1", Port: "443"}
	for _, c := range []struct {
		config kubesecret.Config
		words  []string
	}{
		{kubesecret.Config{}, []string{`namespace ""`, `name ""`}},
		{kubesecret.Config{Namespace: "shop", Name: "../x", InCluster: pod}, []string{`name "../x"`}},
		{kubesecret.Config{Namespace: "shop", Name: "keys", Key: "a/b", InCluster: pod}, []string{`data key "a/b"`}},
		{kubesecret.Config{Namespace: "shop", Name: "keys", Key: "..data", InCluster: pod}, []string{`data key "..data"`}},
		{kubesecret.Config{Namespace: "shop", Name: "keys", Key: ".", InCluster: pod}, []string{`data key "."`}},
		{kubesecret.Config{Namespace: "shop", Name: "keys", Timeout: -time.Second, InCluster: pod}, []string{"timeout"}},
		{kubesecret.Config{Namespace: "shop", Name: "keys"}, []string{"no API server is known", "kubeconfig", "KUBERNETES_SERVICE_HOST"}},
		{kubesecret.Config{Namespace: "shop", Name: "keys", InCluster: kubesecret.InCluster{Host: "a"}}, []string{"no API server is known"}},
		{kubesecret.Config{Namespace: "shop", Name: "keys", Context: "prod", InCluster: pod}, []string{"a context needs a kubeconfig"}},
	} {
		s, err := kubesecret.New(c.config)
		wantError(t, err, append(c.words, "configuring the Secret of Kubernetes: ")...)
		if s != nil {
			t.Errorf("%+v: got a Secret beside the error", c.config)
		}
	}
	s := mustNew(t, kubesecret.Config{Namespace: "shop", Name: "keys", InCluster: pod})
	if got, want := s.String(), "Secret shop/keys"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPrintsNoSecret prints a Secret whose kubeconfig holds a token.
func TestPrintsNoSecret(t *testing.T) {
	t.Parallel()
	hide(aSecretToken)
	s := mustNew(t, newDoorman(t).config(t, aToken))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		wantNothingHidden(t, fmt.Sprintf(verb, s))
		wantNothingHidden(t, fmt.Sprintf(verb, *s))
	}
}
