// Package weburl reads the address of a web page as a browser does, by the URL
// Standard (https://url.spec.whatwg.org/), and writes it as a browser would.
package weburl

import (
	"errors"
	"net/netip"
	neturl "net/url"
	"strings"
	"unicode"

	whatwgerrors "github.com/nlnwa/whatwg-url/errors"
	whatwg "github.com/nlnwa/whatwg-url/url"
)

// ErrScheme means that the URL is absolute, but not http or https.
var ErrScheme = errors.New("scheme is not http or https")

// A URL is the address of a page.
type URL struct {
	text, host string
}

// String returns the URL in ASCII, without a default port, "." and "..".
func (u URL) String() string { return u.text }

// Host returns the host without the port: a name in lower-case Punycode, an
// IPv4 address, or an IPv6 address in brackets.
func (u URL) Host() string { return u.host }

// Parse reads an absolute http or https URL. Browsers find a host in almost
// everything; where the host is not spelled as people and other programs read
// it, the URL is refused. The errors hold nothing of text, and end a sentence.
func Parse(text string) (URL, error) {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return URL{}, errors.New("it holds control characters")
	}
	u, err := whatwg.Parse(text)
	if err != nil {
		return URL{}, reason(err)
	}
	if u.Scheme() != "http" && u.Scheme() != "https" {
		return URL{}, ErrScheme
	}
	_, rest, _ := strings.Cut(text, ":")
	authority, ok := strings.CutPrefix(rest, "//")
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority = authority[:end]
	}
	switch {
	case !ok || authority == "":
		return URL{}, errors.New("// and a host must follow the scheme")
	case strings.ContainsAny(authority, `@\`):
		return URL{}, errors.New("a user, a password or a backslash cannot come before the path")
	case !isPlain(u, authority):
		return URL{}, errors.New("the host is invalid")
	}
	return URL{text: u.Href(false), host: u.Hostname()}, nil
}

// isPlain reports whether the host is a usual name, or an IP address in its
// usual form. The parser also accepts quotation marks, empty labels and Punycode
// with other letters in names, and an octal number, a sign or a second bracket
// in addresses.
func isPlain(u *whatwg.Url, authority string) bool {
	if u.IsIPv4() || u.IsIPv6() {
		_, err := netip.ParseAddr((&neturl.URL{Host: authority}).Hostname())
		return err == nil
	}
	isASCII := !strings.ContainsFunc(authority, func(r rune) bool { return r > unicode.MaxASCII })
	return strings.Trim(u.Hostname(), "abcdefghijklmnopqrstuvwxyz0123456789-._") == "" &&
		!strings.Contains("."+u.Hostname(), "..") &&
		(isASCII || !strings.Contains(strings.ToLower(authority), "xn--"))
}

// reason returns why the parser fails, without its quotation of the URL.
func reason(err error) error {
	switch whatwgerrors.Type(err) {
	case whatwgerrors.MissingSchemeNonRelativeURL:
		return errors.New("it must begin with https:// or http://")
	case whatwgerrors.HostMissing:
		return errors.New("the host is missing")
	case whatwgerrors.PortInvalid, whatwgerrors.PortOutOfRange:
		return errors.New("the port is not a number up to 65535")
	default:
		return errors.New("the host is invalid")
	}
}

// CheckHost returns what is wrong with an entry of a list of hosts: it must be
// as [URL.Host] returns it.
func CheckHost(host string) error {
	u, err := Parse("https://" + host)
	isAlone := !strings.ContainsAny(host, "/?# ") && (!strings.Contains(host, ":") || strings.HasPrefix(host, "["))
	switch {
	case err != nil || !isAlone:
		return errors.New("must be a host alone, such as shop.example.com")
	case u.host != host:
		return errors.New("must be spelled as browsers do, in lower case and Punycode")
	}
	return nil
}
