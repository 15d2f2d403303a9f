package demo

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"

	"golang.org/x/text/language"
)

//go:embed site
var site embed.FS

// pagePolicy lets the pages load their own style and script, and send their
// forms home. Browsers apply it to redirects, too: a link of the shop leads to
// the issuer's address, which may be another name of this host.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self' %s; base-uri 'none'; frame-ancestors 'none'"

// Pages shows the pages of the shop and the portal in the visitor's language.
type pages struct {
	policy    string
	matcher   language.Matcher
	languages []string // as in the names of their files, the first is the default
	texts     map[string]map[string]string
	templates map[string]*template.Template
}

func newPages(base string) (*pages, error) {
	p := &pages{
		policy:    fmt.Sprintf(pagePolicy, base),
		matcher:   language.NewMatcher([]language.Tag{language.English, language.German}),
		languages: []string{"en", "de"},
		texts:     map[string]map[string]string{}, templates: map[string]*template.Template{},
	}
	for _, lang := range p.languages {
		file, err := site.ReadFile("site/" + lang + ".json")
		if err != nil {
			return nil, err
		}
		var texts map[string]string
		if err := json.Unmarshal(file, &texts); err != nil {
			return nil, fmt.Errorf("%s.json: %w", lang, err)
		}
		p.texts[lang] = texts
	}
	for _, name := range []string{"start", "confirm", "account", "message"} {
		var err error
		if p.templates[name], err = template.ParseFS(site, "site/layout.html", "site/"+name+".html"); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// A view is what a template sees.
type view struct {
	Language string
	Data     any
	texts    map[string]string
}

// Text returns a text in the visitor's language.
func (v *view) Text(key string, args ...any) (string, error) {
	text, ok := v.texts[key]
	if !ok {
		return "", fmt.Errorf("there is no text %q in %s", key, v.Language)
	}
	if len(args) > 0 {
		return fmt.Sprintf(text, args...), nil
	}
	return text, nil
}

// Role returns the name of a role in the visitor's language.
func (v *view) Role(role string) (string, error) { return v.Text("role." + role) }

// view returns what a template sees of a request. Browsers send the languages
// that their user reads in the order of preference.
func (p *pages) view(r *http.Request, data any) *view {
	_, i := language.MatchStrings(p.matcher, r.Header.Get("Accept-Language"))
	lang := p.languages[i]
	return &view{Language: lang, Data: data, texts: p.texts[lang]}
}

func (p *pages) show(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	view := p.view(r, data)
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", view.Language)
	header.Set("Content-Security-Policy", p.policy)
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// It fails when the browser is gone. Then there is nothing to do.
	_ = p.templates[name].Execute(w, view)
}

// A message is a page that says what happened and what to do next.
type message struct {
	Key     string            // of its texts
	Button  string            // is the key of the text of a button, if there is a form
	Fields  map[string]string // of the form
	Actions []action
}

// An action leads on from a message. An empty address is that of the page.
type action struct {
	Key, Address string
}

// tell shows a message. The first action is the one that helps most.
func (p *pages) tell(w http.ResponseWriter, r *http.Request, status int, key string, actions ...action) {
	p.show(w, r, status, "message", message{Key: key, Actions: actions})
}

// assets serves the files that the pages load.
func assets() (http.Handler, error) {
	files, err := fs.Sub(site, "site")
	if err != nil {
		return nil, err
	}
	return http.StripPrefix(portalPath+"/", http.FileServerFS(files)), nil
}
