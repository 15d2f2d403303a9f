package kubesecret

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// A cluster is a cluster of a kubeconfig.
type cluster struct {
	Server     string           `yaml:"server"`
	ServerName string           `yaml:"tls-server-name"`
	Insecure   bool             `yaml:"insecure-skip-tls-verify"`
	CAFile     string           `yaml:"certificate-authority"`
	CAData     string           `yaml:"certificate-authority-data"`
	ProxyURL   string           `yaml:"proxy-url"`
	Extensions []namedExtension `yaml:"extensions"`
}

type namedExtension struct {
	Name      string `yaml:"name"`
	Extension any    `yaml:"extension"`
}

func (c *cluster) resolve(folder string) { resolve(folder, &c.CAFile) }

// endpoint checks what the cluster says of its API server, and reads the
// certificates of its authority.
func (c *cluster) endpoint() (*endpoint, error) {
	server, err := c.server()
	if err != nil {
		return nil, err
	}
	proxy, err := c.proxy()
	if err != nil {
		return nil, err
	}
	if c.Insecure {
		return nil, errors.New("insecure-skip-tls-verify is refused: private keys would go to whoever answers; state the certificate-authority")
	}
	e := &endpoint{server: server, serverName: c.ServerName, proxy: proxy}
	if e.roots, err = c.roots(); err != nil {
		return nil, fmt.Errorf("certificate-authority: %w", err)
	}
	return e, nil
}

// server returns the URL without its last slash. The errors do not repeat it,
// since it may hold a password.
func (c *cluster) server() (string, error) {
	u, err := url.Parse(c.Server)
	switch {
	case err != nil || u.Host == "":
		return "", errors.New("server: must be a URL such as https://kubernetes.example.com:6443")
	case u.Scheme != "https":
		return "", errors.New("server: must be https, since private keys travel over it")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("server: must have no user, no query and no fragment")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// proxy is the one that is stated, or that of the environment.
func (c *cluster) proxy() (func(*http.Request) (*url.URL, error), error) {
	if c.ProxyURL == "" {
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(c.ProxyURL)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		return nil, errors.New("proxy-url: must be a URL that begins with http, https or socks5")
	}
	return http.ProxyURL(u), nil
}

func (c *cluster) roots() (*x509.CertPool, error) {
	data, err := c.authority()
	if data == nil || err != nil {
		return nil, err
	}
	return parseRoots(data)
}

// authority returns the certificates, nil for those of the system.
func (c *cluster) authority() ([]byte, error) { return dataOrFile(c.CAData, c.CAFile) }

// dataOrFile returns what is stated in base64, or else is in the file, or else
// nil.
func dataOrFile(data, path string) ([]byte, error) {
	switch {
	case data != "":
		decoded, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, errors.New("the data are not base64")
		}
		return decoded, nil
	case path != "":
		return os.ReadFile(path)
	default:
		return nil, nil
	}
}
