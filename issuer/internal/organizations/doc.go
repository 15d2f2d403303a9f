// Package organizations holds the organizations that may create customer
// sessions, their API keys and the scopes of each key.
//
// They are one JSON file:
//
//	{"organizations": [{
//	  "id": "0191c0de-5eed-4000-8000-0123456789ab",
//	  "slug": "acme",
//	  "portal_url": "https://portal.example.com/{slug}/portal",
//	  "link": "token",
//	  "email_in_link": false,
//	  "return_url_hosts": ["shop.example.com"],
//	  "support_url": "https://shop.example.com/help",
//	  "recovery": {
//	    "webhook_url": "https://shop.example.com/hooks/recovery",
//	    "secret_file": "/etc/customersession/recovery-secret",
//	    "max_age": "168h"
//	  },
//	  "api_keys": [{
//	    "name": "checkout",
//	    "secret_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
//	    "scopes": ["customer_sessions:write"],
//	    "expires_at": "2027-01-01T00:00:00Z"
//	  }]
//	}]}
//
// [Parse] reads it strictly into a [Registry], or reports all its problems at
// once. The registry authenticates each request:
//
//	key, err := registry.Authenticate(secret, time.Now())
//	if err != nil { … } // ErrUnknownKey, ErrExpiredKey: 401
//	if !key.Has(organizations.ScopeWrite) { … } // 403
//	link := key.Organization.PortalLink(token, customer.Email) // or a code: LinksHoldCodes
//
// # Members
//
// The list of organizations may be empty: then no secret authenticates. An
// organization needs an id (a UUID), a slug (lower-case letters, digits and
// hyphens) and a portal_url; link, email_in_link, return_url_hosts, support_url,
// recovery and api_keys may be absent. An API key needs a name (unique within its
// organization), the hash of its secret (unique within the file) and at least one
// scope; expires_at may be absent, and then the key does not expire. An optional
// member that is null is absent.
//
// link is "token", the default, or "code": then portal links hold a code that is
// good for ten minutes and once, and the portal exchanges it for the session.
//
// return_url_hosts lists the hosts that the return_url of a session may name,
// on any port, in lower case and in Punycode; absent, all are allowed.
//
// support_url is a page that helps customers who cannot sign in. With recovery, the
// holder of an expired link can ask for a new one: the webhook at webhook_url (https,
// or http on loopback) gets an event signed with the secret in secret_file, until
// max_age after the session expired: 168h by default, at most 720h.
//
// # API keys
//
// [NewAPIKey] makes a secret and the entry for the file. The file never holds
// the secret, only its SHA-256: a plain hash is enough because a secret is 256
// random bits, which cannot be guessed, however fast the hash is. For the same
// reason [Registry.Authenticate] accepts only secrets of this form, see
// [WellFormed]: the hash of a password could be guessed, so it never
// authenticates.
//
// Tokens name the key that created them by its [APIKey.ClientID], the first 8
// characters of
//
//	base64url(SHA-256("customersession client_id" || 0x00 || SHA-256(secret)))
//
// # Portal links
//
// portal_url is a URI template (RFC 6570) with the variables slug and
// organization_id. It is expanded once, when the file is read;
// [Organization.PortalLink] only adds the query parameters, before a fragment
// if there is one.
package organizations
