package organizations_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/customersession/customersession/issuer/internal/organizations"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	idA   = "0191c0de-5eed-4000-8000-00000000000a"
	idB   = "0191c0de-5eed-4000-8000-00000000000b"
)

// file returns an organizations file with the given organizations.
func file(organizations ...string) string {
	return `{"organizations":[` + strings.Join(organizations, ",") + `]}`
}

// acme returns the organization A with the given API keys.
func acme(keys ...string) string {
	return `{"id":"` + idA + `","slug":"acme","portal_url":"https://example.com/{slug}","api_keys":[` +
		strings.Join(keys, ",") + `]}`
}

// key returns an API key with more members at its end.
func key(name, hash, more string) string {
	return fmt.Sprintf(`{"name":%q,"secret_sha256":%q,"scopes":["customer_sessions:write"]%s}`,
		name, hash, more)
}

func TestParse(t *testing.T) {
	t.Parallel()
	registry, err := organizations.Parse(strings.NewReader(`{"organizations":[
		{"id":"` + strings.ToUpper(idA) + `","slug":"acme","portal_url":"https://portal.example.com/{slug}/portal",
		 "email_in_link":true, "return_url_hosts":["shop.example.com","[::1]"],
		 "support_url":"https://shop.example.com/help?topic=links",
		 "recovery":{"webhook_url":"https://shop.example.com/hooks?for=acme","secret_file":"secrets/acme","max_age":"720h"},
		 "api_keys":[
			{"name":"Kasse 1 – Zürich","secret_sha256":"` + hashA + `",
			 "scopes":["customer_sessions:write","customer_sessions:introspect"],
			 "expires_at":"2027-01-01T01:00:00+01:00"},
			{"name":"b","secret_sha256":"` + hashB + `","scopes":["customer_sessions:introspect"],"expires_at":null}]},
		{"id":"` + idB + `","slug":"b","portal_url":"http://localhost:8080",
		 "recovery":{"webhook_url":"http://127.0.0.1:9/hook","secret_file":"b"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Collect(registry.Organizations())
	if len(all) != 2 || all[0].Slug != "acme" || all[1].Slug != "b" {
		t.Fatalf("got the organizations %v", all)
	}
	if got := all[0].ID.String(); got != idA {
		t.Errorf("ID: got %s, want %s", got, idA)
	}
	if !all[0].AllowsReturnURL("shop.example.com") || !all[0].AllowsReturnURL("[::1]") || all[0].AllowsReturnURL("example.com") {
		t.Error("the first organization does not allow the two hosts of its list alone")
	}
	if !all[1].AllowsReturnURL("example.com") {
		t.Error("the second organization has no list, and does not allow a host")
	}
	if got, want := all[0].SupportURL, "https://shop.example.com/help?topic=links"; got != want || all[1].SupportURL != "" {
		t.Errorf("support_url: got %q and %q, want %q and none", got, all[1].SupportURL, want)
	}
	for i, want := range []organizations.Recovery{
		{WebhookURL: "https://shop.example.com/hooks?for=acme", SecretFile: "secrets/acme", MaxAge: 720 * time.Hour},
		{WebhookURL: "http://127.0.0.1:9/hook", SecretFile: "b", MaxAge: 168 * time.Hour},
	} {
		if got := all[i].Recovery; got == nil || *got != want {
			t.Errorf("recovery: got %+v, want %+v", got, want)
		}
	}
	keys := slices.Collect(all[0].APIKeys())
	if len(keys) != 2 || keys[0].Organization != all[0] {
		t.Fatalf("got the keys %v", keys)
	}
	first, second := keys[0], keys[1]
	if first.Name != "Kasse 1 – Zürich" || second.Name != "b" {
		t.Errorf("names: got %q, %q", first.Name, second.Name)
	}
	if got, want := first.ExpiresAt.Format("2006-01-02T15:04:05Z07:00"), "2027-01-01T00:00:00Z"; got != want {
		t.Errorf("expiry: got %s, want %s", got, want)
	}
	if !second.ExpiresAt.IsZero() {
		t.Errorf("expiry of a key without one: got %v", second.ExpiresAt)
	}
	if !first.Has(organizations.ScopeWrite) || !first.Has(organizations.ScopeIntrospect) {
		t.Error("the first key lacks a scope")
	}
	if second.Has(organizations.ScopeWrite) || !second.Has(organizations.ScopeIntrospect) {
		t.Error("the second key has the wrong scopes")
	}
	if first.Has("") || first.Has("customer_sessions") {
		t.Error("a scope that does not exist is granted")
	}
	if got := slices.Collect(all[1].APIKeys()); len(got) != 0 {
		t.Errorf("keys of an organization without any: got %d", len(got))
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"empty file", "", `the file is empty; without organizations, it is {"organizations":[]}`},
		{"half a file", file(acme())[:40], "line 1, column 41: not valid JSON"},
		{"not JSON", "organizations: []", "line 1, column 1: not a JSON object"},
		{"wrong line", "{\n\"organizations\":\n[x]}", "line 3, column 2: not valid JSON"},
		{"second document", file(acme()) + file(acme()), "data after the JSON object"},
		{"comment behind", file(acme()) + " // x", "data after the JSON object"},
		{"byte order mark", "\ufeff" + file(acme()), "line 1, column 1: not a JSON object"},
		{"not UTF-8", file(acme("{\"name\":\"\xff\"}")), "line 1, column 141: not valid UTF-8"},
		{"text that was damaged", file(acme(key("a\ufffd", hashA, ""))), "organizations[0].api_keys[0].name: holds damaged text"},
		{"half a surrogate pair", file(acme(`{"name":"\ud800"}`)), "line 1, column 141: lone surrogate in a string"},
		{"list at the top", "[]", "not a JSON object"},
		{"null", "null", "not a JSON object"},
		{"only white space", " \n", "the file is empty"},
		{"nothing in it", "{}", "organizations: is missing"},
		{"null", `{"organizations":null}`, "organizations: is missing"},
		{"organizations not a list", `{"organizations":{}}`, "organizations: must be a list"},
		{"organization not an object", file("7"), "organizations[0]: must be an object"},
		{"too deep", file(strings.Repeat("[", 20) + strings.Repeat("]", 20)), "nested too deeply"},

		{"unknown member at the top", `{"organizations":[` + acme() + `],"version":1}`, "version: unknown member"},
		{"unknown member of an organization", file(`{"Slug":"x"}`), "line 1, column 20: member name is not lower-case ASCII"},
		{"member that folds to a known one", file(`{"ſlug":"x"}`), "line 1, column 20: member name is not lower-case ASCII"},
		{"unknown member of a key", file(acme(key("a", hashA, `,"secret":"x"`))), "organizations[0].api_keys[0].secret: unknown member"},
		{"empty name of a member", file(`{"":1}`), "organizations[0].: unknown member"},
		{"member twice at the top", `{"organizations":[],"organizations":[` + acme() + `]}`, "line 1, column 21: member name used twice"},
		{"member twice in a key", file(acme(key("a", hashA, `,"name":"a"`))), "line 1, column 264: member name used twice"},
		{"member twice by an escape", file(`{"slug":"a","slu\u0067":"b"}`), "line 1, column 31: member name used twice"},

		{"no ID", file(`{"slug":"a","portal_url":"https://a.example"}`), "organizations[0].id: is missing"},
		{"null ID", file(`{"id":null}`), "organizations[0].id: is missing"},
		{"ID not a string", file(`{"id":1}`), "organizations[0].id: must be a string"},
		{"ID not a UUID", file(`{"id":"acme"}`), `organizations[0].id: "acme" is not a UUID`},
		{"ID without hyphens", file(`{"id":"0191c0de5eed4000800000000000000a"}`), "is not a UUID"},
		{"ID as URN", file(`{"id":"urn:uuid:` + idA + `"}`), "is not a UUID"},
		{"ID of 36 other characters", file(`{"id":"` + strings.Repeat("z", 36) + `"}`), "is not a UUID"},
		{"nil ID", file(`{"id":"00000000-0000-0000-0000-000000000000"}`), "is not a UUID"},
		{"ID twice", file(acme(), strings.Replace(acme(), `"acme"`, `"b"`, 1)), "organizations[1].id: is the same as organizations[0].id"},

		{"no slug", file(`{}`), "organizations[0].slug: is missing"},
		{"empty slug", file(`{"slug":""}`), "organizations[0].slug: \"\" must be"},
		{"slug in upper case", file(`{"slug":"Acme"}`), "organizations[0].slug: \"Acme\" must be"},
		{"slug with a slash", file(`{"slug":"a/b"}`), "organizations[0].slug: \"a/b\" must be"},
		{"slug with a dot", file(`{"slug":"a.b"}`), "organizations[0].slug: \"a.b\" must be"},
		{"slug with a hyphen at the end", file(`{"slug":"a-"}`), "organizations[0].slug: \"a-\" must be"},
		{"slug with a hyphen at the start", file(`{"slug":"-a"}`), "organizations[0].slug: \"-a\" must be"},
		{"slug not ASCII", file(`{"slug":"zürich"}`), "organizations[0].slug: \"zürich\" must be"},
		{"slug too long", file(`{"slug":"` + strings.Repeat("a", 64) + `"}`), "organizations[0].slug:"},
		{"slug twice", file(acme(), strings.Replace(acme(), idA, idB, 1)), "organizations[1].slug: is the same as organizations[0].slug"},

		{"link of another sort", file(`{"link":"Code"}`), `organizations[0].link: "Code" is not "token" or "code"`},
		{"link not a string", file(`{"link":true}`), "organizations[0].link: must be a string"},
		{"e-mail not a boolean", file(`{"email_in_link":"yes"}`), "organizations[0].email_in_link: must be true or false"},
		{"hosts not a list", file(`{"return_url_hosts":"shop.example.com"}`), "organizations[0].return_url_hosts: must be a list"},
		{"no host in the list", file(`{"return_url_hosts":[]}`), "organizations[0].return_url_hosts: at least one is needed; leave it out to allow all"},
		{"host not a string", file(`{"return_url_hosts":["a.example",1]}`), "organizations[0].return_url_hosts[1]: must be a string"},
		{"host that is a URL", file(`{"return_url_hosts":["https://a.example"]}`), `organizations[0].return_url_hosts[0]: "https://a.example" must be a host alone`},
		{"host with a port", file(`{"return_url_hosts":["a.example:443"]}`), `organizations[0].return_url_hosts[0]: "a.example:443" must be a host alone`},
		{"host in capitals", file(`{"return_url_hosts":["A.example"]}`), `organizations[0].return_url_hosts[0]: "A.example" must be spelled as browsers do`},
		{"host in Unicode", file(`{"return_url_hosts":["bücher.example"]}`), `organizations[0].return_url_hosts[0]: "bücher.example" must be spelled as browsers do`},
		{"support page not a string", file(`{"support_url":1}`), "organizations[0].support_url: must be a string"},
		{"support page of another kind", file(`{"support_url":"mailto:help@example.com"}`), "organizations[0].support_url: must be the address of a web page: scheme is not http or https"},
		{"support page relative", file(`{"support_url":"/help"}`), "organizations[0].support_url: must be the address of a web page: it must begin with https://"},
		{"recovery not an object", file(`{"recovery":true}`), "organizations[0].recovery: must be an object"},
		{"recovery with an unknown member", file(`{"recovery":{"secret":"x"}}`), "organizations[0].recovery.secret: unknown member"},
		{"recovery without a webhook", file(`{"recovery":{}}`), "organizations[0].recovery.webhook_url: is missing"},
		{"recovery without a secret", file(`{"recovery":{}}`), "organizations[0].recovery.secret_file: is missing"},
		{"webhook not a URL", file(`{"recovery":{"webhook_url":"hook"}}`), "organizations[0].recovery.webhook_url: must be a URL"},
		{"webhook without a host", file(`{"recovery":{"webhook_url":"https://:443/hook"}}`), "organizations[0].recovery.webhook_url: must be a URL"},
		{"webhook in clear text", file(`{"recovery":{"webhook_url":"http://shop.example.com/hook"}}`), "organizations[0].recovery.webhook_url: must be https; http is for loopback only"},
		{"webhook on a name below localhost", file(`{"recovery":{"webhook_url":"http://a.localhost/hook"}}`), "organizations[0].recovery.webhook_url: must be https"},
		{"webhook of another kind", file(`{"recovery":{"webhook_url":"ftp://127.0.0.1/hook"}}`), "organizations[0].recovery.webhook_url: must be https"},
		{"webhook with a fragment", file(`{"recovery":{"webhook_url":"https://a.example/#x"}}`), "organizations[0].recovery.webhook_url: must have no user, no password and no fragment"},
		{"no path of a secret", file(`{"recovery":{"secret_file":""}}`), "organizations[0].recovery.secret_file: is empty"},
		{"recovery for too long", file(`{"recovery":{"max_age":"720h0m1s"}}`), `organizations[0].recovery.max_age: "720h0m1s" is not a duration of at most 720h`},
		{"recovery for no time", file(`{"recovery":{"max_age":"0s"}}`), `organizations[0].recovery.max_age: "0s" is not a duration`},
		{"recovery in days", file(`{"recovery":{"max_age":"7d"}}`), `organizations[0].recovery.max_age: "7d" is not a duration`},
		{"recovery in seconds", file(`{"recovery":{"max_age":604800}}`), "organizations[0].recovery.max_age: must be a string"},
		{"keys not a list", file(`{"api_keys":{}}`), "organizations[0].api_keys: must be a list"},
		{"key not an object", file(acme(`"csk_x"`)), "organizations[0].api_keys[0]: must be an object"},

		{"no name", file(acme(`{}`)), "api_keys[0].name: is missing"},
		{"empty name", file(acme(key("", hashA, ""))), "api_keys[0].name: \"\" must be"},
		{"name with a newline", file(acme(`{"name":"a\nb"}`)), `api_keys[0].name: "a\nb" must be`},
		{"name with a bidirectional override", file(acme(`{"name":"a\u202eb"}`)), `api_keys[0].name: "a\u202eb" must be`},
		{"name with a space at the end", file(acme(key("a ", hashA, ""))), "api_keys[0].name: \"a \" must be"},
		{"name too long", file(acme(key(strings.Repeat("ü", 65), hashA, ""))), "api_keys[0].name:"},
		{"name twice", file(acme(key("a", hashA, ""), key("a", hashB, ""))), "organizations[0].api_keys[1].name: is the same as organizations[0].api_keys[0].name"},

		{"no hash", file(acme(`{}`)), "api_keys[0].secret_sha256: is missing"},
		{"hash too short", file(acme(key("a", hashA[2:], ""))), "api_keys[0].secret_sha256: must be 64 hexadecimal digits"},
		{"hash too long", file(acme(key("a", hashA+"aa", ""))), "api_keys[0].secret_sha256: must be 64 hexadecimal digits"},
		{"hash not hexadecimal", file(acme(key("a", "g"+hashA[1:], ""))), "api_keys[0].secret_sha256: must be 64 hexadecimal digits"},
		{"hash twice", file(acme(key("a", hashA, ""), key("b", strings.ToUpper(hashA), ""))), "api_keys[1].secret_sha256: is the same as organizations[0].api_keys[0].secret_sha256"},

		{"no scopes", file(acme(`{}`)), "api_keys[0].scopes: at least one is needed"},
		{"empty scopes", file(acme(`{"scopes":[]}`)), "api_keys[0].scopes: at least one is needed"},
		{"scopes as a string", file(acme(`{"scopes":"customer_sessions:write"}`)), "api_keys[0].scopes: must be a list"},
		{"unknown scope", file(acme(`{"scopes":["customer_sessions:write","customer_sessions:read"]}`)), `api_keys[0].scopes[1]: "customer_sessions:read" is not a scope`},
		{"scope not a string", file(acme(`{"scopes":[1]}`)), "api_keys[0].scopes[0]:"},
		{"scope twice", file(acme(`{"scopes":["customer_sessions:write","customer_sessions:write"]}`)), "api_keys[0].scopes[1]: customer_sessions:write is listed twice"},

		{"expiry not a string", file(acme(key("a", hashA, `,"expires_at":1`))), "api_keys[0].expires_at: must be a string"},
		{"expiry without a zone", file(acme(key("a", hashA, `,"expires_at":"2027-01-01T00:00:00"`))), "api_keys[0].expires_at:"},
		{"expiry a date", file(acme(key("a", hashA, `,"expires_at":"2027-01-01"`))), "api_keys[0].expires_at:"},
		{"empty expiry", file(acme(key("a", hashA, `,"expires_at":""`))), "api_keys[0].expires_at:"},
		{"expiry that Go takes for none", file(acme(key("a", hashA, `,"expires_at":"0001-01-01T00:00:00Z"`))), "api_keys[0].expires_at:"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			registry, err := organizations.Parse(strings.NewReader(test.text))
			if err == nil {
				t.Fatalf("accepted, want %q", test.want)
			}
			if registry != nil {
				t.Error("got a registry beside the error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want it to hold %q", err, test.want)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	text := file(acme())
	exact := text + strings.Repeat(" ", limit-len(text))
	if _, err := organizations.Parse(strings.NewReader(exact)); err != nil {
		t.Errorf("4 MiB: %v", err)
	}
	_, err := organizations.Parse(strings.NewReader(exact + " "))
	if err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("4 MiB and a byte: got %v", err)
	}
}

func TestParseReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	if _, err := organizations.Parse(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestParseReportsAllProblems(t *testing.T) {
	t.Parallel()
	text := file(
		`{"id":"x","slug":"A","portal_url":"https://example.com","api_keys":[{"name":"","secret_sha256":"1","scopes":["a"]}]}`,
		`{"id":"`+idB+`","slug":"b","portal_url":"http://example.com","color":"red"}`,
	)
	_, err := organizations.Parse(strings.NewReader(text))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"organizations[0].id:", "organizations[0].slug:",
		"organizations[0].api_keys[0].name:", "organizations[0].api_keys[0].secret_sha256:",
		"organizations[0].api_keys[0].scopes[0]:",
		"organizations[1].portal_url: must be https", "organizations[1].color:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not reported in:\n%v", want, err)
		}
	}
}

func TestParseReportIsBounded(t *testing.T) {
	t.Parallel()
	_, err := organizations.Parse(strings.NewReader(file(slices.Repeat([]string{"0"}, 1000)...)))
	if err == nil {
		t.Fatal("accepted")
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines > 60 {
		t.Errorf("the error has %d lines", lines)
	}
	if !strings.Contains(err.Error(), "and 950 more") {
		t.Errorf("the rest is not counted in:\n%v", err)
	}
}

// Whatever place a secret lands in by mistake, no error repeats it.
func TestParseErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	secret := organizations.GenerateSecret().Reveal()
	for name, text := range map[string]string{
		"hash":     file(acme(key("a", secret, ""))),
		"name":     file(acme(key(secret+"\n", hashA, ""))),
		"scope":    file(acme(`{"scopes":["` + secret + `"]}`)),
		"expiry":   file(acme(key("a", hashA, `,"expires_at":"`+secret+`"`))),
		"member":   file(acme(`{"` + secret + `":1}`)),
		"slug":     file(`{"slug":"` + secret + `"}`),
		"ID":       file(`{"id":"` + secret + `"}`),
		"URL":      file(`{"id":"` + idA + `","slug":"a","portal_url":"https://x:` + secret + `@example.com"}`),
		"bad URL":  file(`{"id":"` + idA + `","slug":"a","portal_url":"https://x:` + secret + `@[::1/"}`),
		"variable": file(`{"id":"` + idA + `","slug":"a","portal_url":"https://example.com/{` + secret + `}"}`),
		"template": file(`{"id":"` + idA + `","slug":"a","portal_url":"https://example.com/{` + secret + `"}`),
		"key":      file(acme(`"` + secret + `"`)),
		"host":     file(`{"return_url_hosts":["` + secret + `"]}`),
		"behind":   file(acme()) + secret,
		"webhook":  file(`{"recovery":{"webhook_url":"https://x:` + secret + `@example.com/#"}}`),
		"support":  file(`{"support_url":"https://x:` + secret + `@example.com/"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := organizations.Parse(strings.NewReader(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), secret[4:]) {
				t.Error("the error holds the secret")
			}
		})
	}
}
