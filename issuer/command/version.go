package command

import (
	"context"
	"flag"

	"github.com/customersession/customersession/issuer/internal/release"
	"github.com/customersession/customersession/keys/command"
)

func (p program) runVersion(_ context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	asJSON := flags.Bool("json", false, "print one JSON object")
	sbom := flags.Bool("sbom", false, "print the software bill of materials, CycloneDX 1.6 JSON")
	files, err := command.Parse(flags, args, 1)
	if err != nil {
		return err
	}
	binary := p.running()
	if len(files) == 1 {
		if binary, err = release.Open(files[0]); err != nil {
			return err
		}
	}
	switch {
	case *sbom && *asJSON:
		return command.Misused("--sbom is JSON already; leave --json out")
	case *sbom:
		return binary.WriteSBOM(env.Out)
	case *asJSON:
		return command.PrintJSON(env.Out, binary.Build)
	default:
		return binary.Build.Write(env.Out)
	}
}
