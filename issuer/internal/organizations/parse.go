package organizations

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/customersession/customersession/keys/jwk/ijson"
)

// maxFileSize bounds the file, 4 MiB: some ten thousand organizations.
const maxFileSize = 4 << 20

// Parse reads the organizations file, see the package documentation for its
// form. It refuses a file of more than 4 MiB, unknown and duplicate members, and
// anything after the document.
//
// The error names every problem and its place, one a line, and never holds a
// secret. In a file that is not strict JSON, it names the first problem only.
func Parse(r io.Reader) (*Registry, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading organizations: %w", err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New(`parsing organizations: the file is empty; without organizations, it is {"organizations":[]}`)
	}
	if len(data) > maxFileSize {
		return nil, errors.New("reading organizations: the file is larger than 4 MiB")
	}
	document, err := decodeStrict(data)
	if err != nil {
		return nil, fmt.Errorf("parsing organizations: %w", err)
	}
	p := newParser()
	p.document(document)
	if err := p.problems.err(); err != nil {
		return nil, fmt.Errorf("parsing organizations: %w", err)
	}
	return p.registry, nil
}

// decodeStrict decodes one JSON document into maps, slices and plain values.
// Names are left for the caller to compare, which a map does exactly, unlike
// struct tags.
func decodeStrict(data []byte) (document any, err error) {
	err = ijson.Unmarshal(data, &document)
	return document, err
}

// parser builds a registry. It remembers where each value that must be unique
// was first.
type parser struct {
	problems problems
	registry *Registry
	ids      map[uuid.UUID]string
	slugs    map[string]string
	hashes   map[[sha256.Size]byte]string
}

func newParser() *parser {
	return &parser{
		registry: &Registry{keys: map[uint64][]*APIKey{}},
		ids:      map[uuid.UUID]string{},
		slugs:    map[string]string{},
		hashes:   map[[sha256.Size]byte]string{},
	}
}

// document reads the whole file.
func (p *parser) document(value any) {
	document, ok := p.problems.object("", value, "organizations")
	if !ok {
		return
	}
	if document.absent("organizations") {
		p.problems.add("organizations", "is missing; without any, it is []")
	}
	for i, value := range document.list("organizations") {
		p.organization(element("organizations", i), value)
	}
}

// organization reads one organization with its keys.
func (p *parser) organization(at string, value any) {
	o, ok := p.problems.object(at, value,
		"id", "slug", "portal_url", "link", "email_in_link", "return_url_hosts", "support_url", "recovery", "api_keys")
	if !ok {
		return
	}
	id, idOK := p.id(o)
	slug, slugOK := p.slug(o)
	organization := &Organization{
		ID: id, Slug: slug, SupportURL: p.supportURL(o), Recovery: p.recovery(o),
		returnHosts: p.returnHosts(o),
	}

	holds := options{withEmail: o.boolean("email_in_link"), withCode: p.withCode(o)}
	if template, ok := o.text("portal_url"); ok && idOK && slugOK {
		portal, err := parsePortal(template, slug, id, holds)
		if err != nil {
			p.problems.add(o.path("portal_url"), "%w", err)
		}
		organization.portal = portal
	}
	names := map[string]string{}
	for i, value := range o.list("api_keys") {
		p.apiKey(element(o.path("api_keys"), i), value, organization, names)
	}
	p.registry.organizations = append(p.registry.organizations, organization)
}

// id reads an organization's ID.
func (p *parser) id(o object) (uuid.UUID, bool) {
	text, ok := o.text("id")
	if !ok {
		return uuid.Nil, false
	}
	// The length rules out the other spellings that uuid.Parse knows.
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(id.String()) || id == uuid.Nil {
		p.problems.add(o.path("id"), "%s is not a UUID", quote(text))
		return uuid.Nil, false
	}
	unique(&p.problems, p.ids, id, o.path("id"))
	return id, true
}

// slug reads the slug of an organization. It has the form of a DNS label in lower
// case, so that it can be anywhere in the URL of a portal.
func (p *parser) slug(o object) (string, bool) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	slug, ok := o.text("slug")
	if !ok {
		return "", false
	}
	if slug == "" || len(slug) > 63 || strings.Trim(slug, letters+"-") != "" ||
		strings.HasPrefix(slug, "-") || strings.HasSuffix(slug, "-") {
		p.problems.add(o.path("slug"), "%s must be 1 to 63 lower-case letters, "+
			"digits and hyphens, with no hyphen at either end", quote(slug))
		return "", false
	}
	unique(&p.problems, p.slugs, slug, o.path("slug"))
	return slug, true
}

// withCode reads whether the links of an organization hold a code in place of the
// token.
func (p *parser) withCode(o object) bool {
	if o.absent("link") {
		return false
	}
	link, ok := o.text("link")
	if ok && link != "code" && link != "token" {
		p.problems.add(o.path("link"), `%s is not "token" or "code"`, quote(link))
	}
	return link == "code"
}

// apiKey reads one API key. The names are those of the organization's keys.
func (p *parser) apiKey(at string, value any, owner *Organization, names map[string]string) {
	o, ok := p.problems.object(at, value,
		"name", "secret_sha256", "scopes", "expires_at")
	if !ok {
		return
	}
	key := &APIKey{Organization: owner, scopes: p.scopes(o), ExpiresAt: p.expiry(o)}
	if name, ok := o.text("name"); ok {
		if !validName(name) {
			p.problems.add(o.path("name"), "%s must be 1 to 64 printable characters, "+
				"with no space at either end", quote(name))
		}
		unique(&p.problems, names, name, o.path("name"))
		key.Name = name
	}
	if text, ok := o.text("secret_sha256"); ok {
		// The text is not repeated: it may be the secret itself.
		hash, err := hex.DecodeString(text)
		if err != nil || len(hash) != sha256.Size {
			p.problems.add(o.path("secret_sha256"), "must be 64 hexadecimal digits")
		} else {
			key.hash = [sha256.Size]byte(hash)
			key.ClientID = clientID(key.hash)
			unique(&p.problems, p.hashes, key.hash, o.path("secret_sha256"))
		}
	}
	owner.keys = append(owner.keys, key)
	p.registry.add(key)
}

// scopes reads the scopes of a key.
func (p *parser) scopes(o object) []Scope {
	list := o.list("scopes")
	if len(list) == 0 {
		p.problems.add(o.path("scopes"), "at least one is needed: %s", scopeList())
	}
	var scopes []Scope
	for i, value := range list {
		at := element(o.path("scopes"), i)
		text, _ := value.(string)
		scope := Scope(text)
		switch {
		case !scope.known():
			p.problems.add(at, "%s is not a scope; there are %s", quote(text), scopeList())
		case slices.Contains(scopes, scope):
			p.problems.add(at, "%s is listed twice", scope)
		default:
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// scopeList is all scopes, for an error.
func scopeList() string {
	var names []string
	for _, scope := range Scopes() {
		names = append(names, string(scope))
	}
	return strings.Join(names, ", ")
}

// expiry reads the expiry of a key, zero when there is none.
func (p *parser) expiry(o object) time.Time {
	if o.absent("expires_at") {
		return time.Time{}
	}
	text, ok := o.text("expires_at")
	if !ok {
		return time.Time{}
	}
	expires, err := time.Parse(time.RFC3339, text)
	// The year 1 means never: a typing error must not make a key eternal.
	if err != nil || expires.Unix() <= 0 {
		p.problems.add(o.path("expires_at"), "%s is not a time of RFC 3339, "+
			"such as 2027-01-01T00:00:00Z", quote(text))
	}
	return expires.UTC()
}

// validName reports whether name fits into a log or a metric.
func validName(name string) bool {
	return name != "" && len([]rune(name)) <= 64 &&
		strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// unique adds a problem when key was used before.
func unique[K comparable](p *problems, seen map[K]string, key K, at string) {
	if first, ok := seen[key]; ok {
		p.add(at, "is the same as %s", first)
		return
	}
	seen[key] = at
}
