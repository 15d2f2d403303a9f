package kubesecret

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// An endpoint is an API server, and how to tell that it is the right one.
type endpoint struct {
	server     string         // its URL, without a slash at the end
	roots      *x509.CertPool // nil for those of the system
	serverName string         // empty for the host of the URL
	proxy      func(*http.Request) (*url.URL, error)
}

// A credential is who the client is: a token, a certificate, or both.
type credential struct {
	token       string
	certificate *tls.Certificate
}

// login is that of the pod's service account. The files are read each time:
// Kubernetes replaces the token long before it expires, within the hour.
func (c InCluster) login() login {
	folder := cmp.Or(c.Folder, defaultFolder)
	server := "https://" + net.JoinHostPort(c.Host, c.Port)
	return func(context.Context) (*client, error) {
		token, err := readToken(filepath.Join(folder, "token"))
		if err != nil {
			return nil, fmt.Errorf("reading the service account: %w", err)
		}
		roots, err := readRoots(filepath.Join(folder, "ca.crt"))
		if err != nil {
			return nil, fmt.Errorf("reading the service account: %w", err)
		}
		// The API server is a neighbour: no proxy leads to it.
		return newClient(&endpoint{server: server, roots: roots}, credential{token: token}), nil
	}
}

func readToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return parseToken(string(data), path)
}

// parseToken checks a token that comes from the named place.
func parseToken(text, place string) (string, error) {
	token := strings.TrimSpace(text)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: holds no bearer token", place)
	}
	return token, nil
}

func readRoots(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots, err := parseRoots(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roots, nil
}

func parseRoots(data []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, errors.New("holds no certificate in PEM")
	}
	return roots, nil
}

// kubeconfigLogin is that of a user in a kubeconfig, of which the files that it
// refers to are read each time.
func kubeconfigLogin(list, context string, output io.Writer) (login, error) {
	k, err := readKubeconfigs(list)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", list, err)
	}
	c, u, err := k.choose(context)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", list, err)
	}
	if err := u.check(); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: user: %w", list, err)
	}
	if _, err := c.endpoint(); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: cluster: %w", list, err)
	}
	return c.login(u, output), nil
}

// login is that of the user at the cluster.
func (c *cluster) login(u *user, output io.Writer) login {
	return func(ctx context.Context) (*client, error) {
		e, err := c.endpoint()
		if err != nil {
			return nil, fmt.Errorf("reading the cluster's authority: %w", err)
		}
		credential, err := u.credential(ctx, c, output)
		if err != nil {
			return nil, fmt.Errorf("reading the user's credentials: %w", err)
		}
		return newClient(e, credential), nil
	}
}
