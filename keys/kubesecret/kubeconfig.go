package kubesecret

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig reads a list of kubeconfigs as kubectl does, and returns what one
// context says, or the current one if its name is empty.
func kubeconfig(list, context string) (*rest.Config, error) {
	k, err := readKubeconfigs(list)
	if err != nil {
		return nil, err
	}
	if context == "" {
		context = k.CurrentContext
	}
	if err := check(k, context); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*k, context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	if config.BearerTokenFile != "" {
		config.BearerToken = "" // the file may hold a newer one by the next request
	}
	return config, nil
}

// readKubeconfigs merges the files of the list, and skips missing ones.
func readKubeconfigs(list string) (*api.Config, error) {
	paths, found := filepath.SplitList(list), false
	for _, path := range paths {
		_, err := clientcmd.LoadFromFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, unreadable(path, err)
		}
		found = true
	}
	if !found {
		return nil, errors.New("no such file")
	}
	k, err := (&clientcmd.ClientConfigLoadingRules{Precedence: paths}).Load()
	if err != nil {
		return nil, errors.New("the files changed while they were read; try again")
	}
	return k, nil
}

// harmless matches the parts of a decoder's error that cannot be a secret.
var harmless = regexp.MustCompile(`\bline \d+|\bfield [\w.-]+|illegal base64 data|duplicate name "[^"]*"`)

// unreadable says where a file is wrong. The decoder's error may quote a token,
// or print a whole list of users.
func unreadable(path string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	text := path + " is not a kubeconfig"
	if place := harmless.FindString(err.Error()); place != "" {
		text += ": " + place
	}
	return errors.New(text)
}

// check reports what clientcmd would accept, or explain with a secret in its
// error.
func check(k *api.Config, name string) error {
	if name == "" {
		return errors.New("it has no current-context; name a context")
	}
	context := k.Contexts[name]
	if context == nil {
		return fmt.Errorf("it has no context %q%s", name, contexts(k))
	}
	cluster, user := k.Clusters[context.Cluster], k.AuthInfos[context.AuthInfo]
	switch {
	case cluster == nil:
		return fmt.Errorf("context %q: there is no cluster %q", name, context.Cluster)
	case user == nil:
		return fmt.Errorf("context %q: there is no user %q", name, context.AuthInfo)
	}
	if err := checkCluster(cluster); err != nil {
		return fmt.Errorf("cluster %q: %w", context.Cluster, err)
	}
	if err := checkUser(user); err != nil {
		return fmt.Errorf("user %q: %w", context.AuthInfo, err)
	}
	return nil
}

// contexts lists the contexts for an error.
func contexts(k *api.Config) string {
	if len(k.Contexts) == 0 {
		return ""
	}
	return ", only " + strings.Join(slices.Sorted(maps.Keys(k.Contexts)), ", ")
}

// checkCluster refuses every way to send private keys to a server that is not
// verified. Its errors do not repeat URLs, which may hold a password.
func checkCluster(c *api.Cluster) error {
	server, err := url.Parse(c.Server)
	switch {
	case err != nil || server.Host == "":
		return errors.New("server: must be a URL such as https://kubernetes.example.com:6443")
	case server.Scheme != "https":
		return errors.New("server: must be https, since private keys travel over it")
	case server.User != nil || server.RawQuery != "" || server.ForceQuery || server.Fragment != "":
		return errors.New("server: must have no user, no query and no fragment")
	case c.InsecureSkipTLSVerify:
		return errors.New("insecure-skip-tls-verify is refused, since private keys would go to any server that answers; set certificate-authority")
	}
	if c.ProxyURL == "" {
		return nil
	}
	proxy, err := url.Parse(c.ProxyURL)
	if err != nil || proxy.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, proxy.Scheme) {
		return errors.New("proxy-url: must be a URL that begins with http, https or socks5")
	}
	return nil
}

func checkUser(u *api.AuthInfo) error {
	switch {
	case u.AuthProvider != nil:
		return errors.New("auth-provider is not supported, as in kubectl; use a credential plugin (exec)")
	case u.Exec == nil && u.Token == "" && u.TokenFile == "" && u.Username == "" &&
		u.ClientCertificate == "" && len(u.ClientCertificateData) == 0:
		return errors.New("it has no credentials: no client-certificate, token, tokenFile, username or exec")
	}
	return nil
}
