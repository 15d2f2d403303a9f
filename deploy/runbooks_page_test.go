package deploy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

var (
	// runbookPart is a fenced block or a comment for the test.
	runbookPart = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$|^<!-- test: (.*?)-->$")
	// runbookFence is a line that begins or ends a block, wherever it stands.
	runbookFence = regexp.MustCompile("(?m)^[ \t>]*(```|~~~)")
)

// runbookScript makes the testscript of a page. Blocks marked sh are run; a
// block marked text after one has lines of what that prints, in order, in which
// an ellipsis stands for anything. Readers do not see the comments, which are
//
//	<!-- test: fails -->        the next block must fail
//	<!-- test: eventually -->   the next block, which changes nothing, is
//	                            repeated until it prints what is shown
//	<!-- test: sh               a block that is run and not shown
//	…                           (the shell commands)
//	-->
//	<!-- test: LINE -->         a line of the script, such as "clock 24h"
//
// A page whose blocks could be overlooked is an error.
func runbookScript(page, text string) (string, error) {
	s := runbookWriter{page: page}
	parts := runbookPart.FindAllStringSubmatchIndex(text, -1)
	fences := len(runbookFence.FindAllString(text, -1))
	for _, part := range parts {
		group := func(n int) string {
			if part[2*n] < 0 {
				return ""
			}
			return text[part[2*n]:part[2*n+1]]
		}
		s.line = 1 + strings.Count(text[:part[0]], "\n")
		if part[2] >= 0 {
			fences -= 2
			s.fenced(group(1), group(2))
		} else {
			s.comment(strings.TrimSpace(group(3)))
		}
	}
	s.flush()
	if s.flags != nil {
		s.fail("%v is about no block", s.flags)
	}
	if fences != 0 || s.blocks == 0 {
		s.fail("a block is indented, quoted, not closed, or there is none")
	}
	return string(txtar.Format(&s.archive)), s.err
}

type runbookWriter struct {
	page    string
	line    int
	archive txtar.Archive
	err     error
	blocks  int
	flags   []string // for the next block
	// A block that is not in the archive yet, since a text may follow.
	pending, command string
}

func (s *runbookWriter) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%s:%d: "+format, slices.Concat([]any{s.page, s.line}, args)...)
	}
}

func (s *runbookWriter) fenced(language, text string) {
	switch language {
	case "sh":
		s.begin(text)
	case "text":
		if s.pending == "" {
			s.fail("a text that no block prints")
		}
		name := s.pending + ".txt"
		s.archive.Files = append(s.archive.Files, txtar.File{Name: name, Data: []byte(text)})
		s.command += " " + name
		s.flush()
	case "cron", "yaml", "json":
		s.flush()
	default:
		s.fail("a block is marked %q: is it to be run or not?", language)
	}
}

func (s *runbookWriter) comment(text string) {
	s.flush()
	hidden, isHidden := strings.CutPrefix(text, "sh\n")
	switch {
	case isHidden:
		s.begin(hidden + "\n")
		s.flush()
	case text == "fails" || text == "eventually":
		s.flags = append(s.flags, text)
	default:
		s.add(text)
	}
}

// begin adds a block, but for the text that it prints.
func (s *runbookWriter) begin(text string) {
	s.flush()
	s.blocks++
	s.pending = "block" + strconv.Itoa(s.blocks)
	name := s.pending + ".sh"
	s.archive.Files = append(s.archive.Files, txtar.File{Name: name, Data: []byte(text)})
	s.command = "block " + name
	if slices.Contains(s.flags, "fails") {
		s.command = "! " + s.command
	}
	if slices.Contains(s.flags, "eventually") {
		s.command += " eventually"
	}
	s.flags = nil
}

func (s *runbookWriter) flush() {
	if s.pending != "" {
		s.add(s.command)
		s.pending, s.command = "", ""
	}
}

// add adds a line to the script, and a title, which testscript shows where a
// script fails.
func (s *runbookWriter) add(line string) {
	s.archive.Comment = fmt.Appendf(s.archive.Comment, "# %s:%d\n%s\n", s.page, s.line, line)
}

// missingLine returns the first line of the text that the output does not have
// after those before it.
func missingLine(text, output string) string {
	got := strings.Split(output, "\n")
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		expression := runbookLine(line)
		at := slices.IndexFunc(got, expression.MatchString)
		if at < 0 {
			return strings.TrimSpace(line)
		}
		got = got[at+1:]
	}
	return ""
}

// runbookLine matches a line: columns may be wider or narrower than shown.
func runbookLine(line string) *regexp.Regexp {
	words := strings.Fields(regexp.QuoteMeta(line))
	return regexp.MustCompile(`^\s*` + strings.ReplaceAll(strings.Join(words, `\s+`), "…", ".*") + `\s*$`)
}
