package command

import (
	"os"
	"path/filepath"

	"github.com/customersession/customersession/keys/kubesecret"
)

// secretStore finds the API server as kubectl does.
//
//nolint:ireturn // see store
func (p *place) secretStore() (manifestStore, error) {
	namespace, name, err := kubesecret.ParseRef(p.secret)
	if err != nil {
		return nil, misused(p.cmd, "%w", err)
	}
	config := kubesecret.Config{
		Namespace: namespace, Name: name, Key: p.member,
		Kubeconfig: p.kubeconfig, Context: p.context,
		InCluster: kubesecret.InCluster{
			Host: p.getenv("KUBERNETES_SERVICE_HOST"), Port: p.getenv("KUBERNETES_SERVICE_PORT"),
		},
	}
	if config.Kubeconfig == "" {
		config.Kubeconfig = p.getenv("KUBECONFIG")
	}
	if config.Kubeconfig == "" {
		home := filepath.Join(p.getenv("HOME"), ".kube", "config")
		if _, err := os.Stat(home); err == nil {
			config.Kubeconfig = home
		}
	}
	return kubesecret.New(config)
}
