package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/internal/file"
)

// A place is where a command finds its manifest, as its flags and the
// environment say.
type place struct {
	cmd    *cobra.Command
	getenv func(string) string

	file       string
	secret     string
	member     string
	kubeconfig string
	context    string
}

// newPlace gives cmd the flags that name a manifest.
func newPlace(cmd *cobra.Command, getenv func(string) string) *place {
	p := &place{cmd: cmd, getenv: getenv}
	flags := cmd.Flags()
	flags.StringVar(&p.file, "file", "", "manifest `file` (default $CUSTOMERSESSION_KEYS_FILE)")
	flags.StringVar(&p.secret, "kubernetes-secret", "", "manifest in the Secret `NAMESPACE/NAME`, instead of a file")
	flags.StringVar(&p.member, "secret-key", "keys.json", "`name` of the manifest in the Secret's data")
	flags.StringVar(&p.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, else ~/.kube/config, else the pod's service account)")
	flags.StringVar(&p.context, "context", "", "kubeconfig `context` (default its current one)")
	return p
}

// store returns the store of the place.
//
//nolint:ireturn // which one it is, only the flags know
func (p *place) store() (manifestStore, error) {
	switch {
	case p.file != "" && p.secret != "":
		return nil, misused(p.cmd, "%s takes --file or --kubernetes-secret, not both", p.name())
	case p.secret != "":
		return p.secretStore()
	case p.file != "":
		return file.New(p.file), nil
	}
	if path := p.getenv("CUSTOMERSESSION_KEYS_FILE"); path != "" {
		return file.New(path), nil
	}
	return nil, misused(p.cmd, "%s needs --file FILE or --kubernetes-secret NAMESPACE/NAME", p.name())
}

// name returns the command as it is typed, without the program.
func (p *place) name() string { return p.cmd.Parent().Name() + " " + p.cmd.Name() }

// read returns the manifest at the place, and the name of the place.
func (p *place) read(ctx context.Context) (m *keys.Manifest, name string, err error) {
	store, err := p.store()
	if err != nil {
		return nil, "", err
	}
	m, _, err = store.Read(ctx)
	return m, store.String(), err
}
