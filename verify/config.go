package verify

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/wire"
)

// Defaults and bounds of [Config], which documents them.
const (
	defaultLeeway      = 30 * time.Second
	maxLeeway          = 5 * time.Minute
	defaultMaxLifetime = 24 * time.Hour
	defaultMaxStale    = time.Hour
	defaultCacheSize   = 4096

	jwkSetPath = "/.well-known/jwks.json"
)

// Config says whose tokens to accept. Issuer and Audience are required; every
// other zero field stands for its documented default. No field switches a
// check off.
type Config struct {
	// Issuer is the issuer's URL, character by character as in its tokens.
	Issuer string
	// Audience is the audience that tokens must be for, such as
	// "customer-portal".
	Audience string
	// TokenType is the "typ" that tokens must have. Only an issuer that takes its
	// own codes back needs another one. Default: "customer-session+jwt".
	TokenType string
	// JWKSetURL is the address of the issuer's JWK Set. It must be https,
	// except on a loopback address. Default: Issuer +
	// "/.well-known/jwks.json".
	JWKSetURL string
	// RevocationsURL is the address of the issuer's feed of revocations, which
	// the verifier follows. It must be https, except on a loopback address.
	// Default: beside the JWK Set, if that is at "/.well-known/jwks.json" below
	// any URL. Without a JWKSetURL (Config.Keys alone, Config.KeySource) nothing
	// is followed by default.
	RevocationsURL string
	// MaxRevocationAge is how old the knowledge of ended sessions may be, if that
	// is less than the feed's own limit. When it is older, the error is
	// [ErrRevocationsUnavailable]. Negative: the feed is not followed, and a
	// session is good until it expires. Default: the feed's limit.
	MaxRevocationAge time.Duration
	// HTTPClient fetches the JWK Set and follows the feed. Its transport and
	// time-out are used; redirects are never followed. A request to the feed
	// waits for news for up to 25 seconds, and less if the time-out is shorter.
	// Default: a client of our own, with the transport of
	// [http.DefaultTransport].
	HTTPClient *http.Client
	// Keys are known from the start. Without a JWKSetURL nothing is ever
	// fetched, and MaxStale must be zero. With a JWKSetURL the keys are used,
	// however old, until the issuer has answered for the first time.
	Keys *jwk.Set
	// SnapshotFile keeps the last good JWK Set for a restart during an
	// outage, and a file beside it, with ".revocations" after its name, what is
	// known of ended sessions. The directory must exist; the files are replaced as
	// a whole, with mode 0600. One is ignored when it is damaged, of another
	// issuer, too old, or writable by anyone but this process's user and root.
	// Default: none.
	SnapshotFile string
	// KeySource finds keys instead of a JWK Set over HTTP. It cannot be
	// combined with JWKSetURL, Keys or MaxStale, and with HTTPClient and
	// SnapshotFile only if there is a RevocationsURL.
	KeySource KeySource
	// Algorithms lists the algorithms to accept. Default: ES256 and EdDSA.
	Algorithms []jwk.Algorithm
	// Leeway is how far this clock and the issuer's may be apart, at most 5
	// minutes. Default: 30 seconds.
	Leeway time.Duration
	// MaxLifetime is the longest session to accept, from "iat" to "exp".
	// Default: 24 hours.
	MaxLifetime time.Duration
	// MaxStale is how long keys are used past their freshness while the
	// issuer cannot be reached. Freshness is the max-age of the JWK Set,
	// within 1 minute and 1 hour. A removed key is accepted until the end of
	// the freshness while the issuer answers, and for MaxStale longer while
	// it does not. Default: 1 hour.
	MaxStale time.Duration
	// Logger gets a line when an outage of the issuer begins and ends, when
	// some of its keys cannot be used, about the snapshot files, and when a
	// session cannot be ended at the issuer. At debug
	// level it also gets a line for each refused token, with the reason and
	// what was expected, and nothing of the token. Default: none.
	Logger *slog.Logger
	// Observer is called after each verification and each fetch of keys, and
	// after each answer of the feed if it is a [RevocationsObserver]. Default:
	// none.
	Observer Observer
	// CacheSize is how many verified tokens are remembered, so that a token
	// that is seen again costs a hash; negative for none. [Verifier.User]
	// remembers as many users. Default: 4096.
	CacheSize int
	// IsRevoked reports whether a session was ended before it expired, beside
	// what the feed says. It is called on every verification, and must be fast
	// and safe for concurrent use. Default: no session is.
	IsRevoked func(Session) bool
	// Realm is the protection space named in challenges (RFC 9110, Section
	// 11.5). Default: "customersession".
	Realm string
}

func (c *Config) setDefaults() {
	if c.TokenType == "" {
		c.TokenType = wire.TokenType
	}
	if c.Algorithms == nil {
		c.Algorithms = []jwk.Algorithm{jwk.ES256, jwk.EdDSA}
	}
	if c.Leeway == 0 {
		c.Leeway = defaultLeeway
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = defaultMaxLifetime
	}
	if c.CacheSize == 0 {
		c.CacheSize = defaultCacheSize
	}
	if c.Realm == "" {
		c.Realm = "customersession"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.KeySource != nil || c.offline() {
		return
	}
	if c.JWKSetURL == "" {
		c.JWKSetURL = c.Issuer + jwkSetPath
	}
	if c.RevocationsURL == "" {
		c.RevocationsURL = c.besideKeys()
	}
	if c.MaxStale == 0 {
		c.MaxStale = defaultMaxStale
	}
}

// besideKeys returns the address of the feed of an issuer whose JWK Set is in the
// usual place; empty if it is not.
func (c *Config) besideKeys() string {
	base, found := strings.CutSuffix(c.JWKSetURL, jwkSetPath)
	if !found {
		return ""
	}
	return base + wire.RevocationsPath
}

// issuerURL returns the base of the calls to the issuer: where the JWK Set is, or
// the feed. It is empty if neither is in its usual place.
func (c *Config) issuerURL() string {
	base, found := strings.CutSuffix(c.JWKSetURL, jwkSetPath)
	if c.JWKSetURL == "" {
		base, found = strings.CutSuffix(c.RevocationsURL, wire.RevocationsPath)
	}
	if !found {
		return ""
	}
	return base
}

// follows reports whether the issuer's feed is followed.
func (c *Config) follows() bool { return c.RevocationsURL != "" && c.MaxRevocationAge >= 0 }

// offline reports whether Keys are the only keys.
func (c *Config) offline() bool { return c.Keys != nil && c.JWKSetURL == "" }

// validate reports every problem at once.
func (c *Config) validate() error {
	var problems []error
	problem := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(text))
		}
	}
	problem(strings.TrimSpace(c.Issuer) == "", "config has no Issuer")
	problem(strings.TrimSpace(c.Audience) == "", "config has no Audience")
	problem(len(c.Algorithms) == 0, "config has an empty list of Algorithms; leave it nil for the default")
	for _, a := range c.Algorithms {
		problem(!a.Known(), fmt.Sprintf("algorithm %q is not one of %q", string(a), jwk.Algorithms()))
	}
	problem(c.Leeway < 0 || c.Leeway > maxLeeway, "Leeway is not between 0 and 5 minutes")
	problem(c.MaxLifetime < 0, "MaxLifetime is negative")
	problem(!isQuotable(c.Realm), "Realm has characters that a challenge cannot quote")
	problem(c.Keys != nil && c.Keys.Len() == 0, "Keys is an empty set; leave it nil to fetch keys")
	problem(c.MaxRevocationAge > 0 && c.RevocationsURL == "", "MaxRevocationAge needs a RevocationsURL")
	problem(c.MaxRevocationAge > 0 && c.MaxRevocationAge < time.Second, "MaxRevocationAge is less than a second, which no feed can keep")
	idle := !c.follows() && (c.HTTPClient != nil || c.SnapshotFile != "")
	switch {
	case c.KeySource != nil:
		problem(c.JWKSetURL != "" || c.MaxStale != 0 || c.Keys != nil || idle,
			"KeySource cannot be combined with JWKSetURL, Keys or MaxStale, nor without RevocationsURL with HTTPClient or SnapshotFile")
	case c.offline():
		problem(c.MaxStale != 0 || idle,
			"Keys without JWKSetURL cannot be combined with MaxStale, nor without RevocationsURL with HTTPClient or SnapshotFile")
	default:
		problem(c.MaxStale < 0, "MaxStale is negative")
		problems = append(problems, checkURL("JWKSetURL", c.JWKSetURL))
	}
	if c.RevocationsURL != c.besideKeys() { // or the same problem twice
		problems = append(problems, checkURL("RevocationsURL", c.RevocationsURL))
	}
	return errors.Join(problems...)
}

// isQuotable reports whether text can stand in a quoted-string as it is (RFC
// 9110, Section 5.6.4).
func isQuotable(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(c byte) bool {
		return c < ' ' || c > '~' || c == '"' || c == '\\'
	})
}

// checkURL demands https: an attacker who can change the answer can forge any
// token. On loopback nothing is in between.
func checkURL(name, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%s %q is not an absolute URL without user and fragment", name, text)
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s %q is not https; http is for loopback addresses only", name, text)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
