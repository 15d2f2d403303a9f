package command_test

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/command"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args string
		most int
		want string // file, dry run, rest
	}{
		{"", 0, ",false,"},
		{"--file f", 0, "f,false,"},
		{"-file=f -dry-run", 0, "f,true,"},
		{"kid --file f", 1, "f,false,kid"},
		{"--file f kid --dry-run", 1, "f,true,kid"},
		{"--dry-run kid --file f other", 2, "f,true,kid other"},
		{"--file f -KdK8zZ", 1, "f,false,-KdK8zZ"},
		{"--KdK8zZ --file f", 1, "f,false,--KdK8zZ"},
		{"--file f -- --file", 1, "f,false,--file"},
		{"-", 1, ",false,-"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			flags := flag.NewFlagSet("keys test", flag.ContinueOnError)
			file, dryRun := flags.String("file", "", ""), flags.Bool("dry-run", false, "")
			rest, err := command.Parse(flags, strings.Fields(tc.args), tc.most)
			if err != nil {
				t.Fatal(err)
			}
			got := *file + map[bool]string{true: ",true,", false: ",false,"}[*dryRun] + strings.Join(rest, " ")
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--file", "kid", "--unknown", "-x", "--dry-run=maybe"} {
		flags := flag.NewFlagSet("keys test", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.String("file", "", "")
		flags.Bool("dry-run", false, "")
		_, err := command.Parse(flags, []string{args}, 0)
		if usage := (command.UsageError{}); !errors.As(err, &usage) {
			t.Errorf("%s: got %v, want a usage error", args, err)
		}
	}
	flags := flag.NewFlagSet("keys test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if _, err := command.Parse(flags, []string{"--help"}, -1); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want %v", err, flag.ErrHelp)
	}
	if rest, err := command.Parse(flags, []string{"a", "b"}, -1); err != nil || !slices.Equal(rest, []string{"a", "b"}) {
		t.Errorf("got %v, %v", rest, err)
	}
}
