package command

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer"
)

// Formats of the settings, for [issuer.WriteSettings].
const (
	settingsMarkdown = "| Variable | Default | Meaning |\n|---|---|---|\n" +
		"{{range .}}| `{{usage_key .}}` | {{or (usage_default .) (and (usage_required .) `**required**`)}} | {{usage_description .}} |\n{{end}}"
	settingsText = "{{range .}}{{usage_key . | printf `%-45s`}}{{or (usage_default .) (and (usage_required .) `(required)`) `-`}}\n" +
		"\t{{usage_description .}}\n{{end}}"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		GroupID: "tools",
		Short:   "Print the settings of serve: each variable, its default and its meaning",
	}
	markdown := cmd.Flags().Bool("markdown", false, "print a Markdown table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *markdown {
			return issuer.WriteSettings(cmd.OutOrStdout(), settingsMarkdown)
		}
		_, err := io.WriteString(cmd.OutOrStdout(), settings())
		return err
	}
	return cmd
}

// settings returns the settings for people: each variable and its default on a
// line, and its meaning below.
func settings() string {
	var lines, text strings.Builder
	if err := issuer.WriteSettings(&lines, settingsText); err != nil {
		panic(err) // the format is a constant
	}
	for line := range strings.Lines(lines.String()) {
		if meaning, ok := strings.CutPrefix(line, "\t"); ok {
			line = wrap(meaning)
		}
		text.WriteString(line)
	}
	return text.String()
}

// wrap breaks text into indented lines of at most 96 columns.
func wrap(text string) string {
	const indent = "   "
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 96 {
			b.WriteString(line + "\n")
			line = indent
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}
