package orgfile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/orgfile"
)

const (
	idA = "1dbfc517-0bbf-4301-9ba8-555ca42b9737"
	idB = "1dbfc517-0bbf-4301-9ba8-555ca42b9738"
)

// key is the entry of an API key, of a hash of one digit.
func key(name, digit string) string {
	return fmt.Sprintf(`{"name":%q,"secret_sha256":%q,"scopes":["customer_sessions:write"]}`, name, strings.Repeat(digit, 64))
}

const asInTheREADME = `{"organizations": [{
  "id": "` + idA + `",
  "slug": "acme",
  "portal_url": "https://portal.example.com/{slug}/portal",
  "api_keys": [{
    "name": "checkout",
    "secret_sha256": "1111111111111111111111111111111111111111111111111111111111111111",
    "scopes": ["customer_sessions:write"]
  }]
}]}
`

const indented = `{
	"organizations": [
		{
			"id": "` + idA + `", "slug": "acme",
			"portal_url": "https://portal.example.com/",
			"api_keys": [
				{"name": "a", "secret_sha256": "1111111111111111111111111111111111111111111111111111111111111111", "scopes": ["customer_sessions:write"]},
				{"name": "b", "secret_sha256": "2222222222222222222222222222222222222222222222222222222222222222", "scopes": ["customer_sessions:write"]}
			]
		},
		{
			"id": "` + idB + `",
			"slug": "b",
			"portal_url": "https://portal.example.com/"
		}
	]
}
`

// An edit leaves everything else as it was, in the order and the format of whoever
// wrote the file.
func TestEditKeepsTheRest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		edit       func(*orgfile.Document) error
		from, to   string
	}{
		{
			"second key", asInTheREADME,
			func(d *orgfile.Document) error { return d.AddAPIKey("", []byte(key("till", "2"))) },
			"  }]\n}]}",
			`  }, {
    "name": "till",
    "secret_sha256": "2222222222222222222222222222222222222222222222222222222222222222",
    "scopes": [
      "customer_sessions:write"
    ]
  }]
}]}`,
		},
		{
			"third key", indented,
			func(d *orgfile.Document) error { return d.AddAPIKey("acme", []byte(key("c", "3"))) },
			"\n\t\t\t]\n",
			`,
				{
				  "name": "c",
				  "secret_sha256": "3333333333333333333333333333333333333333333333333333333333333333",
				  "scopes": [
				    "customer_sessions:write"
				  ]
				}
			]
`,
		},
		{
			"first key", indented,
			func(d *orgfile.Document) error { return d.AddAPIKey(strings.ToUpper(idB), []byte(key("c", "3"))) },
			`"portal_url": "https://portal.example.com/"` + "\n",
			`"portal_url": "https://portal.example.com/",
			"api_keys": [{
			  "name": "c",
			  "secret_sha256": "3333333333333333333333333333333333333333333333333333333333333333",
			  "scopes": [
			    "customer_sessions:write"
			  ]
			}]
`,
		},
		{
			"key away", indented,
			func(d *orgfile.Document) error { return d.RemoveAPIKey("acme", "a") },
			"\n" + strings.Split(indented, "\n")[6], "",
		},
		{
			"last key away", indented,
			func(d *orgfile.Document) error { return d.RemoveAPIKey("acme", "b") },
			",\n" + strings.Split(indented, "\n")[7], "",
		},
		{
			"only key away", asInTheREADME,
			func(d *orgfile.Document) error { return d.RemoveAPIKey("acme", "checkout") },
			asInTheREADME[strings.Index(asInTheREADME, "[{\n    \"name\""):strings.Index(asInTheREADME, "\n}]}")], "[]",
		},
		{
			"organization", asInTheREADME,
			func(d *orgfile.Document) error {
				return d.AddOrganization([]byte(`{"id":"` + idB + `","slug":"b","portal_url":"https://portal.example.com/"}`))
			},
			"\n}]}\n",
			`
}, {
  "id": "` + idB + `",
  "slug": "b",
  "portal_url": "https://portal.example.com/"
}]}
`,
		},
		{
			"key of no list", strings.Replace(asInTheREADME, asInTheREADME[strings.Index(asInTheREADME, "[{\n    \"name\""):strings.Index(asInTheREADME, "\n}]}")], "null", 1),
			func(d *orgfile.Document) error { return d.AddAPIKey("acme", []byte(key("a", "1"))) },
			"null",
			`[{
    "name": "a",
    "secret_sha256": "1111111111111111111111111111111111111111111111111111111111111111",
    "scopes": [
      "customer_sessions:write"
    ]
  }]`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "organizations.json")
			write(t, path, test.text)
			if err := orgfile.Edit(t.Context(), path, test.edit); err != nil {
				t.Fatal(err)
			}
			if got, want := read(t, path), strings.Replace(test.text, test.from, test.to, 1); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestEditRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		edit       func(*orgfile.Document) error
		want       string
	}{
		{"broken file", "{", nil, "line 1, column 2: not valid JSON"},
		{"comments", "{} // none", nil, "line 1, column 4: data after the JSON object"},
		{"no such organization", indented, func(d *orgfile.Document) error { return d.AddAPIKey("c", nil) }, `no organization "c"`},
		{"which organization", indented, func(d *orgfile.Document) error { return d.RemoveAPIKey("", "a") }, "2 organizations; name one"},
		{"no such key", indented, func(d *orgfile.Document) error { return d.RemoveAPIKey("b", "a") }, `organization b has no API key "a"`},
		{"name twice", indented, func(d *orgfile.Document) error { return d.AddAPIKey("acme", []byte(key("a", "3"))) }, `organization acme has an API key "a" already; choose another name`},
		{"slug twice", indented, func(d *orgfile.Document) error {
			return d.AddOrganization([]byte(`{"id":"1dbfc517-0bbf-4301-9ba8-555ca42b9739","slug":"b","portal_url":"https://portal.example.com/"}`))
		}, "the file has the organization b with the ID " + idB + " already"},
		{"ID twice", indented, func(d *orgfile.Document) error {
			return d.AddOrganization([]byte(`{"id":"` + strings.ToUpper(idB) + `","slug":"c","portal_url":"https://portal.example.com/"}`))
		}, "the file has the organization b with the ID " + idB + " already"},
		{"bad portal", indented, func(d *orgfile.Document) error {
			return d.AddOrganization([]byte(`{"id":"1dbfc517-0bbf-4301-9ba8-555ca42b9739","slug":"c","portal_url":"portal"}`))
		}, "organizations[2].portal_url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "organizations.json")
			write(t, path, test.text)
			err := orgfile.Edit(t.Context(), path, test.edit)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("got %v, want %s: … %q", err, path, test.want)
			}
			if got := read(t, path); got != test.text {
				t.Errorf("the file was changed:\n%s", got)
			}
		})
	}
}

func TestEditOrCreate(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "organizations.json")
	nothing := func(*orgfile.Document) error { return nil }
	if err := orgfile.Edit(t.Context(), path, nothing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "organization add makes it") {
		t.Errorf("got %v, want %v, and what makes the file", err, fs.ErrNotExist)
	}
	if err := orgfile.EditOrCreate(t.Context(), path, nothing); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := organizations.Parse(strings.NewReader(read(t, path))); err != nil {
		t.Error(err)
	}

	// The mode, and a link to the file, stay.
	link := filepath.Join(t.TempDir(), "link.json")
	if err := errors.Join(os.Chmod(path, 0o640), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	add := func(d *orgfile.Document) error {
		return d.AddOrganization([]byte(`{"id":"` + idA + `","slug":"acme","portal_url":"https://portal.example.com/"}`))
	}
	if err := orgfile.EditOrCreate(t.Context(), link, add); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 || !strings.Contains(read(t, path), "acme") {
		t.Errorf("got mode %v, %v, want 0640 and the organization", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want the one file", entries, err)
	}
}

// A link to a volume that is not mounted is no reason to begin a new file.
func TestEditOrCreateKeepsALinkToNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	link := filepath.Join(folder, "organizations.json")
	if err := os.Symlink(filepath.Join(folder, "volume", "organizations.json"), link); err != nil {
		t.Fatal(err)
	}
	err := orgfile.EditOrCreate(t.Context(), link, func(*orgfile.Document) error { return nil })
	if err == nil || !strings.Contains(err.Error(), link+" is a symbolic link that leads to no file") {
		t.Errorf("got %v, want the link named", err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
}

// Writers take turns, and nothing of any is lost.
func TestConcurrentEdits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "organizations.json")
	write(t, path, asInTheREADME)
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			name := fmt.Sprintf("key %d", i)
			_, entry, err := organizations.NewAPIKey(name, []organizations.Scope{organizations.ScopeWrite}, time.Time{})
			if err == nil {
				err = orgfile.Edit(t.Context(), path, func(d *orgfile.Document) error { return d.AddAPIKey("acme", entry) })
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	document, err := orgfile.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	organization, err := document.Organization("acme")
	if err != nil {
		t.Fatal(err)
	}
	if keys := slices.Collect(organization.APIKeys()); len(keys) != 9 {
		t.Errorf("%d keys, want 9", len(keys))
	}
}

// A command does not wait for ever.
func TestEditWaitsForLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "organizations.json")
	write(t, path, asInTheREADME)
	err := orgfile.Edit(t.Context(), path, func(*orgfile.Document) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return orgfile.Edit(ctx, path, func(*orgfile.Document) error { return nil })
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "locking") {
		t.Errorf("got %v, want that the folder is locked", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
