package kubesecret

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// A user is a user of a kubeconfig.
type user struct {
	CertificateFile string  `yaml:"client-certificate"`
	CertificateData string  `yaml:"client-certificate-data"`
	KeyFile         string  `yaml:"client-key"`
	KeyData         string  `yaml:"client-key-data"`
	Token           string  `yaml:"token"`
	TokenFile       string  `yaml:"tokenFile"`
	Plugin          *plugin `yaml:"exec"`

	// What is refused.
	As           string `yaml:"as"`
	Username     string `yaml:"username"`
	Password     string `yaml:"password"`
	AuthProvider any    `yaml:"auth-provider"`
}

func (u *user) resolve(folder string) {
	resolve(folder, &u.CertificateFile, &u.KeyFile, &u.TokenFile)
	// A bare name is looked up in PATH.
	if u.Plugin != nil && strings.ContainsRune(u.Plugin.Command, filepath.Separator) {
		resolve(folder, &u.Plugin.Command)
	}
}

// check tells what this package does not do, or cannot do with so little.
func (u *user) check() error {
	switch {
	case u.As != "":
		return errors.New("impersonation (as) is not supported; state the credentials of the user that is meant")
	case u.AuthProvider != nil:
		return errors.New("auth-provider is not supported, as it is not by kubectl any more; use a credential plugin (exec)")
	case u.Username != "" || u.Password != "":
		return errors.New("username and password are not supported, as they are not by Kubernetes any more")
	case u.Plugin != nil:
		return u.Plugin.check()
	case !u.hasToken() && !u.hasCertificate():
		return errors.New("it has no credentials: neither client-certificate, token, tokenFile nor exec")
	}
	return nil
}

func (u *user) hasToken() bool       { return u.Token != "" || u.TokenFile != "" }
func (u *user) hasCertificate() bool { return u.CertificateFile != "" || u.CertificateData != "" }

// credential reads the credentials. The plugin is asked only when the user has
// none of its own.
func (u *user) credential(ctx context.Context, c *cluster, output io.Writer) (credential, error) {
	if u.Plugin != nil && !u.hasToken() && !u.hasCertificate() {
		return u.Plugin.credential(ctx, c, output)
	}
	var got credential
	var err error
	if got.token, err = u.token(); err != nil {
		return credential{}, err
	}
	if u.hasCertificate() {
		got.certificate, err = u.certificate()
	}
	return got, err
}

// token returns the token, if there is one. The file is the newer one.
func (u *user) token() (string, error) {
	switch {
	case u.TokenFile != "":
		return readToken(u.TokenFile)
	case u.Token != "":
		return parseToken(u.Token, "token")
	default:
		return "", nil
	}
}

func (u *user) certificate() (*tls.Certificate, error) {
	chain, err := dataOrFile(u.CertificateData, u.CertificateFile)
	if err != nil {
		return nil, fmt.Errorf("client-certificate: %w", err)
	}
	key, err := dataOrFile(u.KeyData, u.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client-key: %w", err)
	}
	return keyPair(chain, key)
}

// keyPair hides the cause, which is about a private key.
func keyPair(chain, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, errors.New("client-certificate and client-key are not a pair in PEM")
	}
	return &pair, nil
}
