package verify

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// Defaults of [Config].
const (
	DefaultLeeway      = 30 * time.Second
	DefaultMaxLifetime = 24 * time.Hour
	DefaultMaxStale    = time.Hour
	DefaultCacheSize   = 4096

	maxLeeway = 5 * time.Minute
)

// Config says whose tokens to accept. Issuer and Audience are required; every
// other zero field stands for its documented default. No field switches a
// check off.
type Config struct {
	// Issuer is the issuer's URL, character by character as in its tokens.
	Issuer string
	// Audience is what the tokens must be for, e.g. "customer-portal".
	Audience string
	// JWKSetURL is where the issuer publishes its keys. It must be https,
	// except on a loopback address. Default: Issuer +
	// "/.well-known/jwks.json".
	JWKSetURL string
	// HTTPClient fetches the JWK Set; its transport and time-out are kept,
	// redirects are never followed. Default: a client of our own, with the
	// transport of [http.DefaultTransport].
	HTTPClient *http.Client
	// Keys are known from the start. Without a JWKSetURL they are all there
	// is, and nothing is ever fetched; HTTPClient, MaxStale and SnapshotFile
	// must be zero then. With a JWKSetURL they serve, however old, until the
	// issuer has answered for the first time.
	Keys *jwk.Set
	// SnapshotFile is where the last good JWK Set is kept for a restart
	// during an outage. Its directory must be there; the file is replaced as
	// a whole, mode 0600, after each good answer. It is ignored when it is
	// damaged, of another issuer, older than MaxStale, or when anybody but
	// this process's user and root can have written it. Default: none.
	SnapshotFile string
	// KeySource finds keys instead of a JWK Set over HTTP. JWKSetURL,
	// HTTPClient, Keys, SnapshotFile and MaxStale then have no meaning and
	// must be zero.
	KeySource KeySource
	// Algorithms are the ones that are accepted. Default: ES256 and EdDSA.
	Algorithms []jwk.Algorithm
	// Leeway is how far this clock and the issuer's may be apart; at most 5
	// minutes. Default: [DefaultLeeway].
	Leeway time.Duration
	// MaxLifetime is the longest session that is accepted, from "iat" to
	// "exp". Default: [DefaultMaxLifetime].
	MaxLifetime time.Duration
	// MaxStale is how long keys are still used past their freshness, which is
	// the max-age of the JWK Set within 1 minute and 1 hour, while the issuer
	// cannot be reached. A key that was removed is accepted until the end of
	// the freshness at most while the issuer answers, and for MaxStale more
	// while it does not. Default: [DefaultMaxStale].
	MaxStale time.Duration
	// Logger gets a line when an outage of the issuer begins and ends, when
	// some of its keys cannot be used, and about the snapshot file; nothing
	// about tokens. Default: none.
	Logger *slog.Logger
	// Observer is told about each verification and each fetch. Default: none.
	Observer Observer
	// CacheSize is how many verified tokens are remembered, so that seeing one
	// again costs a hash; negative for none. Default: [DefaultCacheSize].
	CacheSize int
	// IsRevoked reports whether a session was ended before its time. It is
	// asked on every verification and must be fast and safe for concurrent
	// use. Default: no session is.
	IsRevoked func(Session) bool
	// Realm is the protection space named in challenges (RFC 9110, Section
	// 11.5). Default: "customersession".
	Realm string
}

func (c *Config) setDefaults() {
	if c.Algorithms == nil {
		c.Algorithms = []jwk.Algorithm{jwk.ES256, jwk.EdDSA}
	}
	if c.Leeway == 0 {
		c.Leeway = DefaultLeeway
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = DefaultMaxLifetime
	}
	if c.CacheSize == 0 {
		c.CacheSize = DefaultCacheSize
	}
	if c.Realm == "" {
		c.Realm = "customersession"
	}
	if c.KeySource != nil || c.offline() {
		return
	}
	if c.JWKSetURL == "" {
		c.JWKSetURL = c.Issuer + "/.well-known/jwks.json"
	}
	if c.MaxStale == 0 {
		c.MaxStale = DefaultMaxStale
	}
}

// offline tells whether Keys are all there is.
func (c *Config) offline() bool { return c.Keys != nil && c.JWKSetURL == "" }

// validate reports every problem at once.
func (c *Config) validate() error {
	var problems []error
	problem := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(text))
		}
	}
	problem(c.Issuer == "", "config has no Issuer")
	problem(c.Audience == "", "config has no Audience")
	problem(len(c.Algorithms) == 0, "config has an empty list of Algorithms; leave it nil for the default")
	for _, a := range c.Algorithms {
		problem(!a.Known(), fmt.Sprintf("algorithm %q is not one of %q", string(a), jwk.Algorithms()))
	}
	problem(c.Leeway < 0 || c.Leeway > maxLeeway, "Leeway is not between 0 and 5 minutes")
	problem(c.MaxLifetime < 0, "MaxLifetime is negative")
	problem(!isQuotable(c.Realm), "Realm has characters that a challenge cannot quote")
	problem(c.Keys != nil && c.Keys.Len() == 0, "Keys is an empty set; leave it nil to fetch keys")
	fetches := c.JWKSetURL != "" || c.HTTPClient != nil || c.MaxStale != 0 || c.SnapshotFile != ""
	switch {
	case c.KeySource != nil:
		problem(fetches || c.Keys != nil,
			"KeySource leaves no use for JWKSetURL, HTTPClient, Keys, SnapshotFile and MaxStale")
	case c.offline():
		problem(fetches, "Keys without JWKSetURL leave no use for HTTPClient, SnapshotFile and MaxStale")
	default:
		problem(c.MaxStale < 0, "MaxStale is negative")
		if err := checkURL(c.JWKSetURL); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// isQuotable tells whether text can stand in a quoted-string as it is (RFC
// 9110, Section 5.6.4).
func isQuotable(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(c byte) bool {
		return c < ' ' || c > '~' || c == '"' || c == '\\'
	})
}

// checkURL demands https: whoever can change the answer can forge any token.
// On loopback there is nobody in between.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("JWKSetURL %q is not an absolute URL without user and fragment", text)
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("JWKSetURL %q is not https; http is for loopback addresses only", text)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
