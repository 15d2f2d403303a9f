package kubesecret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A kubeconfig is what is read of a file of that name, or of several. Members
// that are not here are for other programs.
type kubeconfig struct {
	CurrentContext string         `yaml:"current-context"`
	Contexts       []contextEntry `yaml:"contexts"`
	Clusters       []clusterEntry `yaml:"clusters"`
	Users          []userEntry    `yaml:"users"`
}

type contextEntry struct {
	Name    string `yaml:"name"`
	Context struct {
		Cluster string `yaml:"cluster"`
		User    string `yaml:"user"`
	} `yaml:"context"`
}

type clusterEntry struct {
	Name    string  `yaml:"name"`
	Cluster cluster `yaml:"cluster"`
}

type userEntry struct {
	Name string `yaml:"name"`
	User user   `yaml:"user"`
}

// choose returns the cluster and the user of the context, or of the current one
// when its name is empty.
func (k *kubeconfig) choose(context string) (*cluster, *user, error) {
	if context == "" {
		context = k.CurrentContext
	}
	if context == "" {
		return nil, nil, errors.New("it has no current-context; name a context")
	}
	i := slices.IndexFunc(k.Contexts, func(c contextEntry) bool { return c.Name == context })
	if i < 0 {
		return nil, nil, fmt.Errorf("it has no context %q%s", context, k.contexts())
	}
	chosen := k.Contexts[i].Context
	i = slices.IndexFunc(k.Clusters, func(c clusterEntry) bool { return c.Name == chosen.Cluster })
	if i < 0 {
		return nil, nil, fmt.Errorf("context %q: there is no cluster %q", context, chosen.Cluster)
	}
	j := slices.IndexFunc(k.Users, func(u userEntry) bool { return u.Name == chosen.User })
	if j < 0 {
		return nil, nil, fmt.Errorf("context %q: there is no user %q", context, chosen.User)
	}
	return &k.Clusters[i].Cluster, &k.Users[j].User, nil
}

// contexts lists, for a message, those that there are.
func (k *kubeconfig) contexts() string {
	if len(k.Contexts) == 0 {
		return ""
	}
	names := make([]string, 0, len(k.Contexts))
	for _, c := range k.Contexts {
		names = append(names, c.Name)
	}
	return ", only " + strings.Join(names, ", ")
}

// readKubeconfigs reads a list of files. Of entries with the same name the
// first one counts, and of current-contexts too.
func readKubeconfigs(list string) (*kubeconfig, error) {
	merged, found := new(kubeconfig), false
	for _, path := range filepath.SplitList(list) {
		if path == "" {
			continue
		}
		k, err := readKubeconfig(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		merged.append(k)
		found = true
	}
	if !found {
		return nil, errors.New("there is no such file")
	}
	return merged, nil
}

func (k *kubeconfig) append(other *kubeconfig) {
	if k.CurrentContext == "" {
		k.CurrentContext = other.CurrentContext
	}
	k.Contexts = append(k.Contexts, other.Contexts...)
	k.Clusters = append(k.Clusters, other.Clusters...)
	k.Users = append(k.Users, other.Users...)
}

// readKubeconfig reads one file. Paths in it are relative to where it is.
func readKubeconfig(path string) (*kubeconfig, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k := new(kubeconfig)
	if err := yaml.Unmarshal(data, k); err != nil {
		return nil, fmt.Errorf("%s is not a kubeconfig in YAML%s", path, lines(err))
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for i := range k.Clusters {
		k.Clusters[i].Cluster.resolve(folder)
	}
	for i := range k.Users {
		k.Users[i].User.resolve(folder)
	}
	return k, nil
}

var linePattern = regexp.MustCompile(`\bline \d+`)

// lines is all that is repeated of an error of the YAML decoder, which quotes
// what it cannot decode: that may be a token.
func lines(err error) string {
	found := linePattern.FindAllString(err.Error(), -1)
	if len(found) == 0 {
		return ""
	}
	return ": " + strings.Join(found, ", ")
}

// resolve makes the paths absolute that are not.
func resolve(folder string, paths ...*string) {
	for _, path := range paths {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
}
