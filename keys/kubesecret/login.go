package kubesecret

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/client-go/rest"
)

// A login returns a client with credentials that it reads anew.
type login func(context.Context) (*client, error)

// login chooses between the kubeconfig and the pod's service account.
func (c *Config) login() (login, error) {
	switch {
	case c.Kubeconfig != "":
		config, err := kubeconfig(c.Kubeconfig, c.Context)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
		}
		return newLogin("kubeconfig "+c.Kubeconfig, config), nil
	case c.Context != "":
		return nil, errors.New("a context needs a kubeconfig")
	case c.InCluster.Host != "" && c.InCluster.Port != "":
		return newLogin("service account", c.InCluster.config()), nil
	default:
		return nil, errors.New("no API server is known: name a kubeconfig, or run in a pod, where Kubernetes sets KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT")
	}
}

// config is [rest.InClusterConfig] without the environment.
func (c InCluster) config() *rest.Config {
	folder := cmp.Or(c.Folder, defaultFolder)
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(c.Host, c.Port),
		BearerTokenFile: filepath.Join(folder, "token"),
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(folder, "ca.crt")},
		// No proxy is between a pod and its API server.
		Proxy: http.ProxyURL(nil),
	}
}

// newLogin returns a login whose errors begin with the source of the
// configuration.
func newLogin(source string, config *rest.Config) login {
	config.UserAgent = "customersession"
	return func(ctx context.Context) (*client, error) {
		c, err := logIn(ctx, rest.CopyConfig(config))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		return c, nil
	}
}

// logIn reads the files that the configuration names: Kubernetes replaces the
// token of a pod within the hour. The causes of its errors are hidden, for a
// missing file must not look like a missing manifest.
func logIn(ctx context.Context, config *rest.Config) (*client, error) {
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, errors.New(err.Error())
	}
	if config.CAFile != "" && len(config.CAData) == 0 {
		return nil, fmt.Errorf("%s is empty", config.CAFile) // client-go would trust the system's authorities
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, errors.New(err.Error())
	}
	if err := tryCredentials(ctx, config); err != nil {
		return nil, err
	}
	return newClient(config.Host, limited{transport}), nil
}

// tryCredentials gives a request its credentials without sending it. The
// credential plugin, if there is one, runs here, where its failure is not
// mistaken for one of the connection.
func tryCredentials(ctx context.Context, config *rest.Config) error {
	transport, err := rest.HTTPWrappersForConfig(config, checkToken{})
	if err != nil {
		return errors.New(err.Error())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host, http.NoBody)
	if err != nil {
		return withoutURL(err)
	}
	_, err = limited{transport}.RoundTrip(request) //nolint:bodyclose // there is none
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for credentials: %w", context.Cause(ctx))
	}
	return withoutAnswer(err)
}

// limited is a transport that returns when the context of a request ends.
// client-go waits for a credential plugin even then.
type limited struct{ base http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	type result struct {
		response *http.Response
		err      error
	}
	done := make(chan result, 1)
	go func() {
		response, err := l.base.RoundTrip(r) //nolint:bodyclose // the caller closes it, or else the end of the context
		done <- result{response, err}
	}()
	select {
	case got := <-done:
		return got.response, got.err
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// checkToken is a transport that ends where a request would be sent.
type checkToken struct{}

func (checkToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.ContainsFunc(r.Header.Get("Authorization"), func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil, errors.New("the token holds a line break or another character that no token has")
	}
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
}

// answer matches what client-go says of an answer of a credential plugin that
// it cannot use. It repeats the answer, which may hold a token.
var answer = regexp.MustCompile(`(?s)(decoding stdout|exec plugin is configured to use).*`)

func withoutAnswer(err error) error {
	if err == nil || !answer.MatchString(err.Error()) {
		return err
	}
	return errors.New(answer.ReplaceAllString(err.Error(),
		"the credential plugin's answer is not an ExecCredential of the apiVersion that the kubeconfig names"))
}
