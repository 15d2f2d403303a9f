package deploy_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every link in a page to another file, or to a heading, leads to it.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^) ]+)\)`)
	pages := 0
	err := filepath.WalkDir("..", func(page string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "node_modules" || name == ".git") {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(page) != ".md" {
			return nil
		}
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		pages++
		for _, match := range link.FindAllStringSubmatch(prose(text), -1) {
			if err := checkLink(page, match[1]); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", page, err)
			}
		}
		return nil
	})
	if err != nil || pages < 20 {
		t.Errorf("read %d pages: %v", pages, err)
	}
}

// checkLink returns an error if the target of a link in a page does not exist.
// It does not look at other sites.
func checkLink(page, target string) error {
	if strings.Contains(target, "://") {
		return nil
	}
	file, _, anchored := strings.Cut(target, "#")
	if file == "" {
		return findAnchor(page + target)
	}
	path := filepath.Join(filepath.Dir(page), target)
	if anchored {
		return findAnchor(path)
	}
	_, err := os.Stat(path)
	return err
}

// prose returns a page without its fenced blocks.
func prose(page []byte) string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(string(page), "")
}

// findAnchor returns an error unless PAGE#ANCHOR leads to a heading of a page.
func findAnchor(link string) error {
	page, anchor, found := strings.Cut(link, "#")
	if !found {
		return fmt.Errorf("%q names no part of a page", link)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	headings := regexp.MustCompile("(?m)^#+ (.+)$").FindAllStringSubmatch(prose(text), -1)
	for _, heading := range headings {
		// As GitHub makes an anchor of a heading.
		plain := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(plain, " ", "-") == anchor {
			return nil
		}
	}
	return fmt.Errorf("%s has no heading for #%s", page, anchor)
}

func TestFindAnchor(t *testing.T) {
	t.Parallel()
	for link, good := range map[string]bool{
		"runbooks/README.md#what-is-wrong":                    true,
		"runbooks/clock-trouble.md#a-replicas-clock-is-wrong": true,
		"runbooks/README.md#what-was-wrong":                   false,
		"runbooks/README.md":                                  false,
		"runbooks/nothing.md#what-is-wrong":                   false,
	} {
		if err := findAnchor(link); (err == nil) != good {
			t.Errorf("%s: got %v, want it found: %t", link, err, good)
		}
	}
}
