package command

import (
	"flag"

	"github.com/customersession/customersession/keys"
)

// A place is where a manifest is, as flags say it.
type place struct {
	file       string
	secret     string
	member     string
	kubeconfig string
	context    string
}

func (p *place) flags(flags *flag.FlagSet) {
	flags.StringVar(&p.file, "file", "", "manifest `file`")
	flags.StringVar(&p.secret, "kubernetes-secret", "", "the Secret that holds the manifest, `NAMESPACE/NAME`, instead of a file")
	flags.StringVar(&p.member, "secret-key", "keys.json", "`name` of the manifest in the Secret's data")
	flags.StringVar(&p.kubeconfig, "kubeconfig", "", "kubeconfig `file`; by default $KUBECONFIG, or ~/.kube/config where it exists, or else the pod's service account")
	flags.StringVar(&p.context, "context", "", "`context` of the kubeconfig; by default its current one")
}

// store returns the store of the place.
//
//nolint:ireturn // which one it is, only the flags know
func (p *place) store(flags *flag.FlagSet, env Env) (keys.Store, error) {
	switch {
	case p.file != "" && p.secret != "":
		return nil, Misused("%s takes --file or --kubernetes-secret, not both", flags.Name())
	case p.file != "":
		return keys.NewFile(p.file), nil
	case p.secret != "":
		return p.secretStore(env)
	default:
		return nil, Misused("%s needs --file FILE or --kubernetes-secret NAMESPACE/NAME", flags.Name())
	}
}
