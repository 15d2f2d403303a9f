package deploy_test

import (
	"errors"
	"strings"
	"testing"
)

// A page must not have a block that nobody runs.
func TestRunbookScript(t *testing.T) {
	t.Parallel()
	const block = "```sh\ntrue\n```\n"
	for _, test := range []struct{ name, text, want string }{
		{"block", block, "block block1.sh\n"},
		{"block with a text", block + "\n```text\nyes\n```\n", "block block1.sh block1.txt\n"},
		{"failing block", "<!-- test: fails -->\n" + block, "! block block1.sh\n"},
		{"repeated block", "<!-- test: eventually -->\n" + block, "block block1.sh eventually\n"},
		{"hidden block", "<!-- test: sh\ntrue\n-->\n", "block block1.sh\n"},
		{"line", "<!-- test: clock 1h -->\n" + block, "clock 1h\n"},
		{"other fence", block + "```cron\n* * * * * true\n```\n", "block block1.sh\n"},
		{"no block", "# Nothing\n", "error"},
		{"indented block", block + "  ```sh\n  true\n  ```\n", "error"},
		{"quoted block", block + "> ```sh\n> true\n> ```\n", "error"},
		{"open block", block + "```sh\ntrue\n", "error"},
		{"block without a language", block + "```\ntrue\n```\n", "error"},
		{"block of another shell", block + "```bash\ntrue\n```\n", "error"},
		{"text without a block", "```text\nyes\n```\n" + block, "error"},
		{"two texts", block + "```text\nyes\n```\n```text\nyes\n```\n", "error"},
		{"flag without a block", block + "<!-- test: fails -->\n", "error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := runbookScript("page.md", test.text)
			if err != nil {
				got = "error"
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestRunbookJudge(t *testing.T) {
	t.Parallel()
	failed := errors.New("exit status 1")
	for _, test := range []struct {
		name, text, output string
		neg                bool
		err                error
		good               bool
	}{
		{name: "nothing asked", output: "a\n", good: true},
		{name: "lines in order", text: "a\nc\n", output: "a\nb\nc\n", good: true},
		{name: "lines in another order", text: "c\na\n", output: "a\nb\nc\n"},
		{name: "line missing", text: "a\nd\n", output: "a\nb\n"},
		{name: "line only once", text: "a\na\n", output: "a\n"},
		{name: "half a line", text: "a\n", output: "a b\n"},
		{name: "anything", text: "a … c\n", output: "  a  b  c\n", good: true},
		{name: "not anything", text: "a.c\n", output: "abc\n"},
		{name: "wider columns", text: "a   b\n", output: "a b\n", good: true},
		{name: "failed", err: failed},
		{name: "failed as it should", err: failed, neg: true, good: true},
		{name: "did not fail", neg: true},
		{name: "failed as it should, but saying something else", text: "a\n", output: "b\n", err: failed, neg: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if err := judge(test.neg, test.err, test.text, test.output); (err == nil) != test.good {
				t.Errorf("got %v, want it good: %t", err, test.good)
			}
		})
	}
}
