package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page links to every configuration.
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
}
