package pkcs11_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/customersession/customersession/keys/pkcs11"
)

const module = "/usr/lib/softhsm/libsofthsm2.so"

func TestURI(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	for _, c := range []struct {
		uri  string
		want m
	}{
		{"pkcs11:object=a", m{"object": "a"}},
		{"PKCS11:object=a", m{"object": "a"}},
		{"pkcs11:id=%00%ff%2F", m{"id": "\x00\xff/"}},
		{"pkcs11:id=A1", m{"id": "A1"}},
		{"pkcs11:object=;token=", m{"object": "", "token": ""}},
		{"pkcs11:object=a%3Bb%20=c,d&e", m{"object": "a;b =c,d&e"}},
		{"pkcs11:type=private;object=a", m{"object": "a"}},
		{
			"pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;serial=X2;object=a",
			m{"token": "The Software PKCS#11 Softtoken", "manufacturer": "Snake Oil, Inc.", "model": "1.0", "serial": "X2", "object": "a"},
		},
		{
			"pkcs11:slot-id=007;slot-description=d;slot-manufacturer=m;library-manufacturer=x;library-description=y;library-version=3;id=1",
			m{"slot-id": "7", "slot-description": "d", "slot-manufacturer": "m", "library-manufacturer": "x", "library-description": "y", "library-version": "3.0", "id": "1"},
		},
		{"pkcs11:library-version=2.40;id=1", m{"library-version": "2.40", "id": "1"}},
		{"pkcs11:object=a?pin-source=file:/etc/token", m{"object": "a", "pin-source": "/etc/token"}},
		{"pkcs11:object=a?pin-source=file:///etc/a%20b", m{"object": "a", "pin-source": "/etc/a b"}},
		{"pkcs11:object=a?pin-source=file://localhost/etc/token", m{"object": "a", "pin-source": "/etc/token"}},
		{"pkcs11:object=a?pin-source=/etc/token", m{"object": "a", "pin-source": "/etc/token"}},
		{"pkcs11:object=a?module-path=" + module, m{"object": "a"}},
		{"pkcs11:object=a?module-name=softhsm2", m{"object": "a"}},
		{"pkcs11:object=a?x-vendor=1&x-vendor=2&pin-source=/p", m{"object": "a", "pin-source": "/p"}},
	} {
		got, err := pkcs11.ParseURI(c.uri, module)
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v, want %q", c.uri, got, err, c.want)
		}
	}
}

func TestURIRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ uri, want string }{
		{"", "not a URI of the scheme pkcs11"},
		{"pkcs1:object=a", "not a URI of the scheme pkcs11"},
		{"awskms:object=a", "not a URI of the scheme pkcs11"},
		{"pkcs11:", "URI names no key"},
		{"pkcs11:token=a", "URI names no key"},
		{"pkcs11:object=a;object=a", "object twice"},
		{"pkcs11:object=a;type=private;type=private", "type twice"},
		{"pkcs11:object=a;type=public", "type is not private"},
		{"pkcs11:object=a;type=", "type is not private"},
		{"pkcs11:object=a;x-shelf=3", `path attribute "x-shelf"`},
		{"pkcs11:object=a;Token=3", `path attribute "Token"`},
		{"pkcs11:object=a;pin-value=1234", `path attribute "pin-value"`},
		{"pkcs11:object", "not name=value"},
		{"pkcs11:object=a;", "not name=value"},
		{"pkcs11:=a", "not name=value"},
		{"pkcs11:obj%65ct=a", "not name=value"},
		{"pkcs11:object=a?pin-source", "not name=value"},
		{"pkcs11:object=a b", "percent-encoded"},
		{"pkcs11:object=ä", "percent-encoded"},
		{"pkcs11:object=a/b", "percent-encoded"},
		{"pkcs11:object=a#b", "percent-encoded"},
		{"pkcs11:id=%0", "percent-encoded"},
		{"pkcs11:id=%GG", "percent-encoded"},
		{"pkcs11:object=a;slot-id=x", "slot-id is not a decimal number"},
		{"pkcs11:object=a;slot-id=-1", "slot-id is not a decimal number"},
		{"pkcs11:object=a;library-version=1.2.3", "library-version is not"},
		{"pkcs11:object=a;library-version=256", "library-version is not"},
		{"pkcs11:object=a?pin-value=1234", "must not hold a PIN"},
		{"pkcs11:object=a?pin-source=|/bin/pin", "names a command"},
		{"pkcs11:object=a?pin-source=%7C/bin/pin", "names a command"},
		{"pkcs11:object=a?pin-source=pin.txt", "neither an absolute path"},
		{"pkcs11:object=a?pin-source=file:pin.txt", "neither an absolute path"},
		{"pkcs11:object=a?pin-source=", "neither an absolute path"},
		{"pkcs11:object=a?pin-source=file://elsewhere/pin", "not the URI of a file on this machine"},
		{"pkcs11:object=a?pin-source=https://elsewhere/pin", "neither an absolute path"},
		{"pkcs11:object=a?pin-source=/a&pin-source=/a", "pin-source twice"},
		{"pkcs11:object=a?module-path=/tmp/evil.so", "must not choose what code runs here"},
		{"pkcs11:object=a?module-name=evil", "must not choose what code runs here"},
		{"pkcs11:object=a?module-path=" + module + "&module-path=/tmp/evil.so", "module-path twice"},
	} {
		_, err := pkcs11.ParseURI(c.uri, module)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.uri, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "1234") || strings.Contains(err.Error(), "evil")) {
			t.Errorf("%s: the error quotes a value: %v", c.uri, err)
		}
	}
}

func FuzzURI(f *testing.F) {
	f.Add("pkcs11:token=a;id=%01?pin-source=file:/a&module-path=" + module)
	f.Add("pkcs11:object=%;type=private")
	f.Fuzz(func(t *testing.T, uri string) {
		got, err := pkcs11.ParseURI(uri, module)
		if err != nil {
			return
		}
		_, object := got["object"]
		_, id := got["id"]
		if !object && !id {
			t.Errorf("%q: names no key", uri)
		}
		if pin, ok := got["pin-source"]; ok && !strings.HasPrefix(pin, "/") {
			t.Errorf("%q: PIN file %q", uri, pin)
		}
	})
}
