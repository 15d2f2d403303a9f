package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page leads to every configuration, and nowhere else.
func TestGatewayPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("gateways/README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	files, err := filepath.Glob("gateways/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name != "README.md" && !strings.Contains(page, "]("+name+")") {
			t.Errorf("the page has no link to %s", name)
		}
	}
	links := strings.Split(page, "](")
	for _, link := range links[1:] {
		target, _, _ := strings.Cut(link, ")")
		file, fragment, _ := strings.Cut(target, "#")
		linked := page
		if file != "" {
			content, err := os.ReadFile(filepath.Join("gateways", file))
			if err != nil {
				t.Errorf("the page links to %s: %v", target, err)
			}
			linked = string(content)
		}
		if fragment != "" && !hasHeading(linked, fragment) {
			t.Errorf("the page links to %s, and there is no such heading", target)
		}
	}
}

// hasHeading tells whether a page has a heading that a fragment leads to.
func hasHeading(page, fragment string) bool {
	for line := range strings.Lines(page) {
		if heading, found := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); found && strings.HasPrefix(line, "#") {
			if strings.ReplaceAll(strings.ToLower(strings.TrimSpace(heading)), " ", "-") == fragment {
				return true
			}
		}
	}
	return false
}
