package command

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/customersession/customersession/keys"
)

// read reads flags and then the manifest that they name.
func read(ctx context.Context, env Env, flags *flag.FlagSet, args []string) (m *keys.Manifest, name string, err error) {
	var p place
	p.flags(flags)
	if _, err := Parse(flags, args, 0); err != nil {
		return nil, "", err
	}
	store, err := p.store(flags, env)
	if err != nil {
		return nil, "", err
	}
	m, _, err = store.Read(ctx)
	return m, store.String(), err
}

func runJWKS(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	flags.Bool("json", false, "no difference: it is JSON")
	m, _, err := read(ctx, env, flags, args)
	if err != nil {
		return err
	}
	set := m.PublishedAt(time.Now())
	if set.Len() == 0 {
		return errors.New("no key is published now")
	}
	_, err = env.Out.Write(append(set.AppendJSON(nil), '\n'))
	return err
}

func runExport(ctx context.Context, env Env, flags *flag.FlagSet, args []string) error {
	flags.Bool("json", false, "no difference: it is JSON")
	public := flags.Bool("public", false, "leave private parts out; required, as private ones are never printed")
	m, _, err := read(ctx, env, flags, args)
	if err != nil {
		return err
	}
	if !*public {
		return Misused("keys export needs --public: private keys are never printed; to move them, copy the file")
	}
	_, err = env.Out.Write(m.Public().Encode())
	return err
}
