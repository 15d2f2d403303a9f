package command

import (
	"errors"
	"flag"
	"strings"
)

// Parse reads flags, before and after what is not a flag, of which it accepts
// at most as many as most says, any number when that is negative.
//
// A word with a hyphen that no flag is called is not a flag: one in 64 key IDs
// begins with one.
func Parse(flags *flag.FlagSet, args []string, most int) (rest []string, err error) {
	for len(args) > 0 {
		n := words(flags, args)
		switch {
		case args[0] == "--":
			rest, args = append(rest, args[1:]...), nil
			continue
		case n == 0 && most != 0:
			rest, args = append(rest, args[0]), args[1:]
			continue
		case n == 0:
			n = 1
		}
		if err := flags.Parse(args[:n]); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, UsageError{Err: err}
		}
		rest, args = append(rest, flags.Args()...), args[n:]
	}
	if most >= 0 && len(rest) > most {
		return nil, Misused("%s takes no argument %q", flags.Name(), rest[most])
	}
	return rest, nil
}

// words returns how many of the words belong to the flag that they begin with,
// 0 when that is none of ours.
func words(flags *flag.FlagSet, args []string) int {
	name, hyphen := strings.CutPrefix(args[0], "-")
	if !hyphen {
		return 0
	}
	name, _, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
	f := flags.Lookup(name)
	switch {
	case name == "h" || name == "help":
		return 1
	case f == nil:
		return 0
	}
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); hasValue || ok && b.IsBoolFlag() {
		return 1
	}
	return min(2, len(args))
}
