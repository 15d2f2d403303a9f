package pkcs11

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// An address is the content of a URI of the scheme pkcs11 (RFC 7512): the place of
// a private key. Equal addresses mean the same key.
type address struct {
	token tokenAddress
	key   keyAddress
}

// A tokenAddress identifies a token, and names the file with its PIN.
type tokenAddress struct {
	label, manufacturer, serial, model                      wanted
	slotID, slotManufacturer, slotDescription               wanted
	libraryManufacturer, libraryDescription, libraryVersion wanted
	// pinFile is empty if the URI does not name it.
	pinFile string
}

// A keyAddress identifies a key of a token.
type keyAddress struct {
	label, id wanted
}

// wanted is the value that an attribute must have. The zero wanted allows any
// value, unlike one with an empty value.
type wanted struct {
	value string
	set   bool
}

func (w wanted) allows(value string) bool { return !w.set || w.value == value }

const scheme = "pkcs11:"

// Beside letters, digits and percent-encodings (RFC 7512, Section 2.3).
const (
	pathCharacters  = "-._~:[]@!$'()*+,=&"
	queryCharacters = "-._~:[]@!$'()*+,=/?|"
)

// parseURI reads a URI that names one private key. The error quotes no value of
// it, which may be a secret.
func parseURI(uri, module string) (address, error) {
	// Schemes are case-insensitive (RFC 3986, Section 3.1).
	if len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme) {
		return address{}, errors.New(`not a URI of the scheme pkcs11, such as "pkcs11:token=sessions;object=2026"`)
	}
	path, query, _ := strings.Cut(uri[len(scheme):], "?")
	var a address
	if err := a.readPath(path); err != nil {
		return address{}, err
	}
	if err := a.readQuery(query, module); err != nil {
		return address{}, err
	}
	if !a.key.label.set && !a.key.id.set {
		return address{}, errors.New("URI names no key; add object= with its label, or id=")
	}
	return a, nil
}

// readPath refuses unknown attributes, which readQuery ignores: each attribute of
// the path narrows the match, so ignoring one would widen it.
func (a *address) readPath(path string) error {
	seen := map[string]bool{}
	for part := range attributesOf(path, ";") {
		name, value, err := decode(part, pathCharacters)
		if err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("URI has %s twice", name)
		}
		seen[name] = true
		if err := a.narrow(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (a *address) narrow(name, value string) error {
	member, known := map[string]*wanted{
		"token":                &a.token.label,
		"manufacturer":         &a.token.manufacturer,
		"serial":               &a.token.serial,
		"model":                &a.token.model,
		"slot-id":              &a.token.slotID,
		"slot-manufacturer":    &a.token.slotManufacturer,
		"slot-description":     &a.token.slotDescription,
		"library-manufacturer": &a.token.libraryManufacturer,
		"library-description":  &a.token.libraryDescription,
		"library-version":      &a.token.libraryVersion,
		"object":               &a.key.label,
		"id":                   &a.key.id,
	}[name]
	switch {
	case name == "type" && value == "private":
		return nil
	case name == "type":
		return errors.New("type is not private, as that of a signing key is; leave it out")
	case !known:
		return fmt.Errorf("URI has the path attribute %q, which is not one of RFC 7512, Section 2.3; leave it out", name)
	}
	value, err := canonical(name, value)
	if err != nil {
		return err
	}
	*member = wanted{value: value, set: true}
	return nil
}

// canonical converts a number to the form in which it is compared.
func canonical(name, value string) (string, error) {
	switch name {
	case "slot-id":
		slot, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return "", errors.New("slot-id is not a decimal number")
		}
		return strconv.FormatUint(slot, 10), nil
	case "library-version":
		major, minor, hasMinor := strings.Cut(value, ".")
		if !hasMinor {
			minor = "0"
		}
		high, highErr := strconv.ParseUint(major, 10, 8)
		low, lowErr := strconv.ParseUint(minor, 10, 8)
		if highErr != nil || lowErr != nil {
			return "", errors.New("library-version is not a number, or two with a dot between them")
		}
		return versionText(byte(high), byte(low)), nil
	default:
		return value, nil
	}
}

func versionText(major, minor byte) string { return fmt.Sprintf("%d.%d", major, minor) }

func (a *address) readQuery(query, module string) error {
	seen := map[string]bool{}
	for part := range attributesOf(query, "&") {
		name, value, err := decode(part, queryCharacters)
		if err != nil {
			return err
		}
		switch name {
		case "pin-source", "pin-value", "module-path", "module-name":
			if seen[name] {
				return fmt.Errorf("URI has %s twice", name)
			}
			seen[name] = true
		default:
			continue // a vendor attribute, which may occur twice
		}
		if err := a.readStandard(name, value, module); err != nil {
			return err
		}
	}
	return nil
}

func (a *address) readStandard(name, value, module string) error {
	var err error
	switch {
	case name == "pin-value":
		return errors.New("URI must not hold a PIN; put it in a file and name that with pin-source")
	case name == "pin-source":
		a.token.pinFile, err = pinFile(value)
		return err
	case name == "module-path" && value != module,
		name == "module-name" && !strings.EqualFold(value, moduleName(module)):
		return fmt.Errorf("%s names another library than this program is configured to load;"+
			" whoever writes a URI must not choose what code runs here: leave it out", name)
	default:
		return nil
	}
}

// moduleName removes what operating systems add to the name of a module, as
// module-name lacks it (RFC 7512, Section 2.3).
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return strings.TrimPrefix(name, "lib")
}

// pinFile returns the path in a pin-source: a file URI (RFC 8089) or a path.
func pinFile(source string) (string, error) {
	if strings.HasPrefix(source, "|") {
		return "", errors.New("pin-source names a command, which this program does not run; name a file")
	}
	path := source
	if strings.HasPrefix(strings.ToLower(source), "file:") {
		u, err := url.Parse(source)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.RawQuery != "" || u.Fragment != "" {
			return "", errors.New("pin-source is not the URI of a file on this machine, such as file:/run/secrets/pin")
		}
		path = u.Path
	}
	if !filepath.IsAbs(path) {
		return "", errors.New("pin-source is neither an absolute path nor a file URI, such as file:/run/secrets/pin")
	}
	return path, nil
}

// attributesOf yields the attributes of a part of the URI, which may be empty.
func attributesOf(part, separator string) func(yield func(string) bool) {
	if part == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(part, separator)
}

// decode splits an attribute and decodes its value, which is binary.
func decode(attribute, allowed string) (name, value string, err error) {
	name, value, ok := strings.Cut(attribute, "=")
	if !ok || name == "" || strings.ContainsFunc(name, notInName) {
		return "", "", errors.New("URI has a part that is not name=value")
	}
	bad := func(r rune) bool {
		return r != '%' && !isLetterOrDigit(r) && !strings.ContainsRune(allowed, r)
	}
	decoded, err := url.PathUnescape(value)
	if err != nil || strings.ContainsFunc(value, bad) {
		return "", "", fmt.Errorf("value of %s in the URI has a character that must be percent-encoded", name)
	}
	return name, decoded, nil
}

func notInName(r rune) bool { return !isLetterOrDigit(r) && r != '-' && r != '_' }

func isLetterOrDigit(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// percentEncoded writes binary data as RFC 7512 recommends for id.
func percentEncoded(data []byte) string {
	var b strings.Builder
	for _, c := range data {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
