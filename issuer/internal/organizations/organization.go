package organizations

import (
	"iter"
	"net/url"
	"reflect"
	"slices"

	"github.com/google/uuid"
)

// Organization is one merchant. It is shared by all callers and must not be
// changed.
type Organization struct {
	// ID is the "org" of tokens.
	ID uuid.UUID
	// Slug is the organization's name in URLs.
	Slug string
	// SupportURL is a page that helps customers, or empty.
	SupportURL string
	// Recovery is how expired links are recovered, nil if they are not.
	Recovery *Recovery

	portal portal
	keys   []*APIKey
	// returnHosts are the hosts that return URLs may name; nil: all.
	returnHosts []string
}

// APIKeys yields the organization's API keys, expired ones too, in the order of
// the file.
func (o *Organization) APIKeys() iter.Seq[*APIKey] {
	return slices.Values(o.keys)
}

// Same reports whether two versions of an organization are the same, but for
// their API keys.
func (o *Organization) Same(other *Organization) bool {
	a, b := *o, *other
	a.keys, b.keys = nil, nil
	return reflect.DeepEqual(a, b)
}

// LinksHoldCodes reports whether portal links hold a code, which is exchanged for
// the session once, and not its token.
func (o *Organization) LinksHoldCodes() bool { return o.portal.withCode }

// PortalLink returns the absolute URL of the organization's portal with the
// credential as query parameter: customer_session_code if LinksHoldCodes, and
// customer_session_token otherwise. The customer's email is added as email when
// the organization wants that and it is not empty.
//
// Without a fragment in the organization's portal_url, the link ends with the
// query, so that "&name=value" can be appended.
func (o *Organization) PortalLink(credential, email string) string {
	if !o.portal.withEmail || email == "" {
		return o.portal.before + url.QueryEscape(credential) + o.portal.after
	}
	return o.portal.before + url.QueryEscape(credential) +
		"&" + emailParameter + "=" + url.QueryEscape(email) + o.portal.after
}

// PortalURL returns the absolute URL of the organization's portal, without a
// credential.
func (o *Organization) PortalURL() string { return o.portal.bare }
