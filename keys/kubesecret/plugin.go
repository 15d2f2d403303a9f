package kubesecret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"
)

// A plugin is a program that knows the credentials, as managed clusters have
// it: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
type plugin struct {
	APIVersion string   `yaml:"apiVersion"`
	Command    string   `yaml:"command"`
	Args       []string `yaml:"args"`
	Env        []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	InstallHint        string `yaml:"installHint"`
	InteractiveMode    string `yaml:"interactiveMode"`
	ProvideClusterInfo bool   `yaml:"provideClusterInfo"`
}

// An execCredential is what a plugin is told in its environment, and what it
// answers with.
type execCredential struct {
	Kind       string      `json:"kind"`
	APIVersion string      `json:"apiVersion"`
	Spec       execSpec    `json:"spec"`
	Status     *execStatus `json:"status,omitempty"`
}

type execSpec struct {
	Cluster     *execCluster `json:"cluster,omitempty"`
	Interactive bool         `json:"interactive"`
}

type execCluster struct {
	Server     string `json:"server"`
	ServerName string `json:"tls-server-name,omitempty"`
	CAData     []byte `json:"certificate-authority-data,omitempty"`
	ProxyURL   string `json:"proxy-url,omitempty"`
	Config     any    `json:"config,omitempty"`
}

type execStatus struct {
	Token           string `json:"token"`
	CertificateData string `json:"clientCertificateData"`
	KeyData         string `json:"clientKeyData"`
}

const (
	execGroup = "client.authentication.k8s.io/"
	// execExtension is the extension of a cluster that is for its plugin.
	execExtension = execGroup + "exec"
	// maxCredential is the size in bytes of the longest answer of a plugin.
	maxCredential = 1 << 20
)

func (p *plugin) check() error {
	switch {
	case p.Command == "":
		return errors.New("exec: it has no command")
	case !slices.Contains([]string{execGroup + "v1", execGroup + "v1beta1"}, p.APIVersion):
		return fmt.Errorf("exec: apiVersion %q is not supported; %sv1 and v1beta1 are", p.APIVersion, execGroup)
	case p.InteractiveMode == "Always":
		return errors.New("exec: interactiveMode is Always, but the plugin would have nobody to talk to")
	}
	return nil
}

// credential runs the plugin.
func (p *plugin) credential(ctx context.Context, c *cluster, output io.Writer) (credential, error) {
	info, err := p.info(c)
	if err != nil {
		return credential{}, err
	}
	answer := new(limitedBuffer)
	cmd := exec.CommandContext(ctx, p.Command, p.Args...) //nolint:gosec // the operator's kubeconfig names it
	cmd.Stdout, cmd.Stderr = answer, output
	cmd.WaitDelay = time.Second // for what the plugin started, and left behind
	cmd.Env = cmd.Environ()
	for _, variable := range p.Env {
		cmd.Env = append(cmd.Env, variable.Name+"="+variable.Value)
	}
	cmd.Env = append(cmd.Env, "KUBERNETES_EXEC_INFO="+string(info))
	if err := cmd.Run(); err != nil {
		return credential{}, p.explain(err)
	}
	got, err := p.parse(answer.text.Bytes())
	if err != nil {
		return credential{}, fmt.Errorf("credential plugin %s: %w", p.Command, err)
	}
	return got, nil
}

// info is what the plugin is told.
func (p *plugin) info(c *cluster) ([]byte, error) {
	told := execCredential{Kind: "ExecCredential", APIVersion: p.APIVersion}
	if p.ProvideClusterInfo {
		authority, err := c.authority()
		if err != nil {
			return nil, fmt.Errorf("certificate-authority: %w", err)
		}
		told.Spec.Cluster = &execCluster{Server: c.Server, ServerName: c.ServerName, CAData: authority, ProxyURL: c.ProxyURL}
		for _, e := range c.Extensions {
			if e.Name == execExtension {
				told.Spec.Cluster.Config = e.Extension
			}
		}
	}
	info, err := json.Marshal(&told)
	if err != nil {
		return nil, fmt.Errorf("exec: the extension %s of the cluster has no form in JSON", execExtension)
	}
	return info, nil
}

// parse reads the answer. Its errors hold nothing of it.
func (p *plugin) parse(answer []byte) (got credential, err error) {
	var told execCredential
	if json.Unmarshal(answer, &told) != nil || told.Kind != "ExecCredential" || told.Status == nil {
		return got, errors.New("its answer is not an ExecCredential with a status")
	}
	if told.APIVersion != p.APIVersion {
		return got, errors.New("its answer has another apiVersion than the kubeconfig says")
	}
	if told.Status.Token != "" {
		if got.token, err = parseToken(told.Status.Token, "token"); err != nil {
			return credential{}, err
		}
	}
	if told.Status.CertificateData != "" || told.Status.KeyData != "" {
		got.certificate, err = keyPair([]byte(told.Status.CertificateData), []byte(told.Status.KeyData))
		return got, err
	}
	if got.token == "" {
		return got, errors.New("its answer has neither a token nor a certificate")
	}
	return got, nil
}

// explain says what the plugin has not said already, on its standard error.
func (p *plugin) explain(err error) error {
	if _, ok := errors.AsType[*exec.Error](err); ok && p.InstallHint != "" {
		return fmt.Errorf("credential plugin %s: %w\n%s", p.Command, err, p.InstallHint)
	}
	return fmt.Errorf("credential plugin %s: %w", p.Command, err)
}

// A limitedBuffer takes no more than a plugin may say. It does not embed the
// buffer, whose ReadFrom knows no limit.
type limitedBuffer struct{ text bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > maxCredential {
		return 0, fmt.Errorf("its answer is longer than %d bytes", maxCredential)
	}
	return b.text.Write(p)
}
