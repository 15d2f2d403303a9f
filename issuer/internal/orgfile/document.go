package orgfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

// A Document is the text of an organizations file that is being edited.
type Document struct {
	tree     hujson.Value
	registry *organizations.Registry
}

// Parse reads the text of a file, which must be one that a server accepts.
func Parse(text []byte) (*Document, error) {
	registry, err := organizations.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	tree, err := hujson.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing organizations: %w", err)
	}
	return &Document{tree, registry}, nil
}

// Registry returns the content of the document.
func (d *Document) Registry() *organizations.Registry { return d.registry }

// Organization finds an organization by its slug or ID. An empty name is that of
// the only organization.
func (d *Document) Organization(name string) (*organizations.Organization, error) {
	_, organization, err := d.find(name)
	return organization, err
}

func (d *Document) find(name string) (index int, found *organizations.Organization, err error) {
	all := slices.Collect(d.registry.Organizations())
	if name == "" && len(all) != 1 {
		return 0, nil, fmt.Errorf("the file has %d organizations; name one by its slug or ID", len(all))
	}
	for i, organization := range all {
		if name == "" || name == organization.Slug || strings.EqualFold(name, organization.ID.String()) {
			return i, organization, nil
		}
	}
	return 0, nil, fmt.Errorf("the file has no organization %q", name)
}

// AddOrganization adds an organization, the JSON object of the file's form.
func (d *Document) AddOrganization(entry []byte) error {
	var added struct {
		ID   string `json:"id"`
		Slug string `json:"slug"`
	}
	if err := json.Unmarshal(entry, &added); err != nil {
		return err
	}
	for organization := range d.registry.Organizations() {
		if organization.Slug == added.Slug || strings.EqualFold(organization.ID.String(), added.ID) {
			return fmt.Errorf("the file has the organization %s with the ID %s already", organization.Slug, organization.ID)
		}
	}
	return d.change(func(tree *hujson.Value) error { return add(tree, "", "organizations", entry) })
}

// AddAPIKey adds an API key, as [organizations.NewAPIKey] makes it, to an
// organization.
func (d *Document) AddAPIKey(organization string, entry []byte) error {
	i, owner, err := d.find(organization)
	if err != nil {
		return err
	}
	var added struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(entry, &added); err != nil {
		return err
	}
	for key := range owner.APIKeys() {
		if key.Name == added.Name {
			return fmt.Errorf("organization %s has an API key %q already; choose another name", owner.Slug, added.Name)
		}
	}
	return d.change(func(tree *hujson.Value) error {
		return add(tree, fmt.Sprintf("/organizations/%d", i), "api_keys", entry)
	})
}

// RemoveAPIKey takes the API key of that name away from an organization.
func (d *Document) RemoveAPIKey(organization, name string) error {
	i, owner, err := d.find(organization)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(slices.Collect(owner.APIKeys()), func(key *organizations.APIKey) bool { return key.Name == name })
	if at < 0 {
		return fmt.Errorf("organization %s has no API key %q", owner.Slug, name)
	}
	patch := fmt.Appendf(nil, `[{"op":"remove","path":"/organizations/%d/api_keys/%d"}]`, i, at)
	return d.change(func(tree *hujson.Value) error { return tree.Patch(patch) })
}

// change changes a copy of the tree. The result must be a file that a server
// accepts, or nothing changes.
func (d *Document) change(edit func(tree *hujson.Value) error) error {
	tree := d.tree.Clone()
	if err := edit(&tree); err != nil {
		return err
	}
	next, err := Parse(tree.Pack())
	if err != nil {
		return err
	}
	*d = *next
	return nil
}

// add appends an entry to the list of that name in the object at a pointer. It
// is indented like the entry before it, or else like the list.
func add(tree *hujson.Value, at, list string, entry []byte) error {
	array := listOf(tree, at, list)
	neighbour, added := tree.Find(at+"/"+list), hujson.Value{}
	if n := len(array.Elements); n > 0 {
		neighbour = &array.Elements[n-1]
		added.BeforeExtra = neighbour.BeforeExtra
		// The white space before the closing bracket.
		added.AfterExtra, neighbour.AfterExtra = neighbour.AfterExtra, nil
		if n == 1 && len(added.BeforeExtra) == 0 {
			added.BeforeExtra = hujson.Extra(" ") // as in "[{…}, {…}]"
		}
	}
	tree.UpdateOffsets()
	var text bytes.Buffer
	if err := json.Indent(&text, entry, indentation(tree.Pack(), neighbour.StartOffset), "  "); err != nil {
		return err
	}
	value, err := hujson.Parse(text.Bytes())
	if err != nil {
		return err
	}
	added.Value = value.Value
	array.Elements = append(array.Elements, added)
	return nil
}

// listOf returns a list of the object at a pointer, and makes one where it is
// absent or null.
func listOf(tree *hujson.Value, at, name string) *hujson.Array {
	value := tree.Find(at + "/" + name)
	if value == nil {
		object := tree.Find(at).Value.(*hujson.Object) //nolint:forcetypeassert // organizations.Parse accepts nothing else
		last := object.Members[len(object.Members)-1]
		object.Members = append(object.Members, hujson.ObjectMember{
			Name:  hujson.Value{BeforeExtra: last.Name.BeforeExtra, Value: hujson.String(name)},
			Value: hujson.Value{BeforeExtra: last.Value.BeforeExtra, Value: &hujson.Array{}},
		})
		value = &object.Members[len(object.Members)-1].Value
	}
	array, ok := value.Value.(*hujson.Array)
	if !ok { // null
		array = &hujson.Array{}
		value.Value = array
	}
	return array
}

// indentation returns the white space at the beginning of the line that a
// position of the text is in.
func indentation(text []byte, offset int) string {
	line := text[bytes.LastIndexByte(text[:min(offset, len(text))], '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}
