package organizations

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/yosida95/uritemplate/v3"

	"github.com/customersession/customersession/issuer/internal/loopback"
)

// The query parameters of a portal link.
const (
	tokenParameter = "customer_session_token"
	codeParameter  = "customer_session_code"
	emailParameter = "email"
)

// portal is an organization's portal URL, cut where the token or the code goes.
type portal struct {
	before string // ends with "customer_session_token=" or "customer_session_code="
	after  string // the fragment with its "#", or nothing
	bare   string // the URL itself
	options
}

// options are what a link may hold.
type options struct {
	withEmail bool
	withCode  bool // in place of the token
}

// parsePortal expands the URI template of one organization.
func parsePortal(template, slug string, id uuid.UUID, o options) (portal, error) {
	expanded, err := expand(template, slug, id)
	if err != nil {
		return portal{}, err
	}
	// The cause is left out because it repeats the URL, which may hold a password.
	target, err := url.Parse(expanded)
	if err != nil {
		return portal{}, errors.New("is not a URL when it is expanded")
	}
	if err := checkTarget(target, o.withEmail); err != nil {
		return portal{}, err
	}
	p := portal{options: o}
	if fragment := target.EscapedFragment(); fragment != "" {
		p.after = "#" + fragment
	}
	target.Fragment, target.RawFragment = "", ""
	if target.Path == "" {
		target.Path = "/"
	}
	query := strings.Trim(target.RawQuery, "&")
	target.RawQuery, target.ForceQuery = query, false
	p.bare, p.before = target.String()+p.after, target.String()+"?"
	if query != "" {
		p.before = target.String() + "&"
	}
	parameter := tokenParameter
	if o.withCode {
		parameter = codeParameter
	}
	p.before += parameter + "="
	return p, nil
}

// expand fills in the template's variables.
func expand(template, slug string, id uuid.UUID) (string, error) {
	parsed, err := uritemplate.New(template)
	if err != nil {
		// What follows the reason repeats the template, see parsePortal.
		reason, _, _ := strings.Cut(err.Error(), ":")
		return "", fmt.Errorf("is not a URI template (RFC 6570): %s", reason)
	}
	values := uritemplate.Values{
		"slug":            uritemplate.String(slug),
		"organization_id": uritemplate.String(id.String()),
	}
	for _, name := range parsed.Varnames() {
		if _, known := values[name]; !known {
			return "", fmt.Errorf("has the unknown variable %s; "+
				"there are {slug} and {organization_id}", quote(name))
		}
	}
	expanded, err := parsed.Expand(values)
	if err != nil {
		return "", fmt.Errorf("expanding the URI template: %w", err)
	}
	return expanded, nil
}

// checkTarget returns why a link must not lead to target.
func checkTarget(target *url.URL, withEmail bool) error {
	if target.Scheme != "http" && target.Scheme != "https" || target.Hostname() == "" {
		return errors.New("must be an absolute URL, https://…")
	}
	if target.Scheme == "http" && !isLocal(target.Hostname()) {
		return errors.New("must be https, because the link holds a token; " +
			"http is for loopback only")
	}
	if target.User != nil {
		return errors.New("must not hold a user name or password")
	}
	query, err := url.ParseQuery(target.RawQuery)
	if err != nil {
		return errors.New("has a query that cannot be parsed")
	}
	for _, parameter := range []string{tokenParameter, codeParameter} {
		if query.Has(parameter) {
			return errors.New("must not have the query parameter " + parameter +
				"; it is added to each link")
		}
	}
	if withEmail && query.Has(emailParameter) {
		return errors.New("must not have the query parameter " + emailParameter +
			", because email_in_link adds it")
	}
	return nil
}

// isLocal reports whether a browser finds host on its own machine: a loopback
// host, or a name below localhost (RFC 6761, Section 6.3).
func isLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return loopback.Host(host) || strings.HasSuffix(host, ".localhost")
}
