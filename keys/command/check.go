package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/customersession/customersession/keys"
)

var errUnsafe = errors.New("the step is unsafe; do not publish it")

func runCheck(_ context.Context, env Env, flags *flag.FlagSet, args []string) error {
	asJSON := flags.Bool("json", false, "print one JSON object")
	files, err := Parse(flags, args, 2)
	if err != nil {
		return err
	}
	if len(files) != 2 {
		return Misused("keys check needs two files, OLD and NEW; - is standard input")
	}
	var versions [2]*keys.Manifest
	for i, name := range files {
		data, err := readInput(env, name)
		if err == nil {
			versions[i], err = keys.ParseManifest(data)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	verdict := keys.Check(versions[0], versions[1], time.Now())
	if err := printVerdict(env, verdict, *asJSON); err != nil {
		return err
	}
	if !verdict.Safe() {
		return errUnsafe
	}
	return nil
}

func printVerdict(env Env, verdict keys.Verdict, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintln(env.Out, verdict)
		return err
	}
	findings := []finding{}
	for _, f := range verdict {
		findings = append(findings, newFinding(f))
	}
	return PrintJSON(env.Out, map[string]any{"safe": verdict.Safe(), "findings": findings})
}
