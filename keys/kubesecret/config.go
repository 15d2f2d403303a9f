package kubesecret

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Config names a Secret and says how to reach the API server. The zero value of
// a field is its default.
type Config struct {
	// Namespace and Name are those of the Secret; see [ParseRef]. Required.
	Namespace, Name string
	// Key is the member of the Secret's data that holds the manifest. Where the
	// Secret is mounted, it is the name of the file. Default: "keys.json".
	Key string

	// Kubeconfig is the path of a kubeconfig, or a list of paths as in the
	// variable KUBECONFIG. They are merged as kubectl does: the first file that
	// sets a value counts, and missing files are skipped. Default: none; the
	// program must then run in a pod, see InCluster.
	Kubeconfig string
	// Context is the context of the kubeconfig to use. Default: its
	// current-context.
	Context string
	// InCluster is for a program that runs in a pod. It is used only without a
	// Kubeconfig.
	InCluster InCluster

	// Timeout limits one Read or Write with all its requests, and with the
	// credential plugin if there is one. Default: 30 seconds.
	Timeout time.Duration
}

// InCluster says where a pod finds the API server and its own identity.
type InCluster struct {
	// Host and Port are the values of the variables KUBERNETES_SERVICE_HOST and
	// KUBERNETES_SERVICE_PORT, which Kubernetes sets in every container.
	Host, Port string
	// Folder holds the files token and ca.crt of the service account. Default:
	// "/var/run/secrets/kubernetes.io/serviceaccount".
	Folder string
}

const (
	defaultKey     = "keys.json"
	defaultTimeout = 30 * time.Second
	defaultFolder  = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// New checks the configuration and reads the kubeconfig, if there is one. It
// does not connect to the API server.
func New(config Config) (*Secret, error) {
	s := &Secret{
		namespace: config.Namespace,
		name:      config.Name,
		key:       cmp.Or(config.Key, defaultKey),
		timeout:   cmp.Or(config.Timeout, defaultTimeout),
	}
	err := errors.Join(checkRef(s.namespace, s.name), checkKey(s.key))
	if s.timeout < 0 {
		err = errors.Join(err, errors.New("timeout: must not be negative"))
	}
	if err == nil {
		s.logIn, err = config.login()
	}
	if err != nil {
		return nil, fmt.Errorf("configuring the Secret of Kubernetes: %w", err)
	}
	return s, nil
}

// ParseRef splits "namespace/name".
func ParseRef(ref string) (namespace, name string, err error) {
	namespace, name, found := strings.Cut(ref, "/")
	if !found {
		return "", "", fmt.Errorf("%q is not a Secret in the form namespace/name", ref)
	}
	if err := checkRef(namespace, name); err != nil {
		return "", "", fmt.Errorf("%q is not a Secret in the form namespace/name: %w", ref, err)
	}
	return namespace, name, nil
}

// Kubernetes names a namespace with one label of RFC 1123, and a Secret with
// one or more, separated by dots. Names that pass need no escaping in a URL.
var (
	namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	namePattern      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	keyPattern       = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
)

func checkRef(namespace, name string) error {
	var err error
	if !namespacePattern.MatchString(namespace) {
		err = fmt.Errorf("namespace %q: must be 1 to 63 lower-case letters, digits and hyphens", namespace)
	}
	if !namePattern.MatchString(name) || len(name) > 253 {
		err = errors.Join(err, fmt.Errorf("name %q: must be 1 to 253 lower-case letters, digits, hyphens and dots", name))
	}
	return err
}

func checkKey(key string) error {
	if !keyPattern.MatchString(key) || key == "." || strings.HasPrefix(key, "..") {
		return fmt.Errorf("data key %q: must be a file name of letters, digits, hyphens, underscores and dots", key)
	}
	return nil
}
