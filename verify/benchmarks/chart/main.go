// Command chart turns the output of the benchmarks beside it, read from
// standard input, into a Markdown table on standard output and a bar chart.
//
//	go test -run '^$' -bench . | go run ./chart -svg ../../deploy/verify-speed.svg
//
// Several runs in one input (-count) are joined by their medians.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1) //nolint:forbidigo // nothing is deferred here
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("chart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("svg", "", "`file` to draw the chart into")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; the input is read from standard input", flags.Arg(0))
	}
	r, err := parse(stdin)
	if err != nil {
		return fmt.Errorf("reading benchmarks: %w", err)
	}
	if *path != "" {
		var svg bytes.Buffer
		draw(&svg, r)
		if err := os.WriteFile(*path, svg.Bytes(), 0o644); err != nil { //nolint:gosec // a chart is for everybody
			return err
		}
	}
	_, err = stdout.Write(table(r))
	return err
}
