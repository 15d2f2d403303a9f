package weburl_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer/internal/weburl"
)

const host = "https://shop.example.com"

// accepted are URLs and how a browser writes them.
func accepted() map[string]string {
	return map[string]string{
		"https://A?\\": "https://a/?\\",
		// Host and port.
		host:                                       host + "/",
		"HTTPS://Shop.EXAMPLE.com/A":               host + "/A",
		"https://bücher.example/":                  "https://xn--bcher-kva.example/",
		"https://BÜCHER.example/":                  "https://xn--bcher-kva.example/",
		"https://XN--BCHER-KVA.example/":           "https://xn--bcher-kva.example/",
		"https://faß.example/":                     "https://xn--fa-hia.example/",
		"https://日本語。jp/":                          "https://xn--wgv71a119e.jp/",
		"https://ｓｈｏｐ.example.com/":                host + "/",
		"https://shop%2Eexample.com/":              host + "/",
		"https://shop_1.example.com/":              "https://shop_1.example.com/",
		"https://shop.example.com./":               "https://shop.example.com./",
		host + ":443/":                             host + "/",
		host + ":/":                                host + "/",
		host + ":80/":                              host + ":80/",
		host + ":00080/":                           host + ":80/",
		host + ":65535/":                           host + ":65535/",
		"http://shop.example.com:80/":              "http://shop.example.com/",
		"http://127.0.0.1:3000/":                   "http://127.0.0.1:3000/",
		"http://[::1]:8080/":                       "http://[::1]:8080/",
		"http://[2001:DB8:0:0:0:0:0:1]/":           "http://[2001:db8::1]/",
		"http://[::ffff:1.2.3.4]/":                 "http://[::ffff:102:304]/",
		"  " + host + "/a ":                        host + "/a",
		"https://" + strings.Repeat("a", 63) + "/": "https://" + strings.Repeat("a", 63) + "/",
		// Path.
		host + "/a/../b/./c":    host + "/b/c",
		host + "/../../etc":     host + "/etc",
		host + "/a/%2e%2E/b":    host + "/b",
		host + "/a/..":          host + "/",
		host + "/a//b":          host + "/a//b",
		host + `/a\b`:           host + "/a/b",
		host + "/a b":           host + "/a%20b",
		host + "/é/✓/😀":         host + "/%C3%A9/%E2%9C%93/%F0%9F%98%80",
		host + `/"<>{}` + "`":   host + "/%22%3C%3E%7B%7D%60",
		host + "/%":             host + "/%",
		host + "/100%/%zz/%e9":  host + "/100%/%zz/%e9",
		host + "/a;b=c,d/~'()*": host + "/a;b=c,d/~'()*",
		host + "/a@b:c":         host + "/a@b:c",
		// Query and fragment.
		host + "?a=b":              host + "/?a=b",
		host + "/?q=a b&r=✓":       host + "/?q=a%20b&r=%E2%9C%93",
		host + `/?q="<>'`:          host + "/?q=%22%3C%3E%27",
		host + "/?q=%&r=%20&s=+":   host + "/?q=%&r=%20&s=+",
		host + "/?u=https://a/../": host + "/?u=https://a/../",
		host + "/?":                host + "/?",
		host + "/#a b<":            host + "/#a%20b%3C",
		host + "/?a#b?c#d":         host + "/?a#b?c#d",
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range accepted() {
		u, err := weburl.Parse(text)
		if err != nil || u.String() != want {
			t.Errorf("Parse(%q) is %q, %v, want %q", text, u, err, want)
		}
		if again, err := weburl.Parse(want); err != nil || again != u {
			t.Errorf("Parse(%q) is %q, %v: not what it was parsed from", want, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range refused() {
		if u, err := weburl.Parse(text); err == nil {
			t.Errorf("Parse(%q) is %q, want an error", text, u)
		}
	}
	// These are refused although a browser takes them: to people, or to other
	// programs, they seem to name another host, or none.
	for _, text := range []string{
		"https:/shop.example.com/", "https:shop.example.com", "https:///shop.example.com/", `https:\\shop.example.com\`,
		`https://shop.example.com\@evil.example/`, "https://ada@shop.example.com/", "https://ada:pw@shop.example.com/",
		"https://shop.example.com@evil.example/", "https://@shop.example.com/",
		"https://.example.com/", "https://shop..example.com/",
		`https://shop".example.com/`, "https://shop'.example.com/", "https://shop`.example.com/", "https://*.example.com/", "https://a,b.example/",
		host + "/\n", "ht\ntps://shop.example.com/", host + "/\u0085",
		"http://0x7f.1/", "http://0177.0.0.1/", "http://2130706433/", "http://127.1/", "http://127.0.0-1/", "http://0x-ffffffff/", "http://1.2.3.+4/",
	} {
		if u, err := weburl.Parse(text); err == nil {
			t.Errorf("Parse(%q) is %q, want an error", text, u)
		}
	}
	for _, text := range []string{"ftp://shop.example.com/", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "mailto:a@b.example"} {
		if _, err := weburl.Parse(text); !errors.Is(err, weburl.ErrScheme) {
			t.Errorf("Parse(%q): %v, want ErrScheme", text, err)
		}
	}
}

// refused are URLs that browsers refuse.
func refused() []string {
	return []string{
		"", "/account", "shop.example.com/account", "//shop.example.com/", "https", "https:", "https://", "https:///", "://shop.example.com/",
		"https://:443/a", "https://?a", "https://#a",
		host + ":99999/", host + ":65536/", host + ":80a/", host + ":-1/", host + ":+1/",
		"https://256.256.256.256/", "https://1.2.3.4.5/", "https://1.2.3.400/", "https://a.1/", "http://4294967296/", "http://1.2.3.08/",
		"http://[::1", "http://[::1]a/", "http://[::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[::1]]/", "http://[[::1]]/", "http://[1.2.3.4]/", "http://[]/",
		"https://xn--/", "https://xn--a/", "https://xn--zn7c.example/", "https://a..xn--zzzz/", "https://xn--bcher✓-kva.example/",
		"https://shop example.com/", "https://shop<example.com/", "https://shop^.example.com/", "https://shop|.example.com/",
		"https://%/", "https://%zz.example/", "https://%00.example/", "https://%ff.example/", "https://\u00ad/", "https://\ufffd.example/",
	}
}

// Node.js has the parser of a browser.
func TestParseLikeBrowsers(t *testing.T) {
	t.Parallel()
	node := needs.Program(t, "node", "install Node.js 20 or newer")
	want := accepted()
	for _, text := range refused() {
		want[text] = ""
	}
	input, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", `
		const want = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
		const got = {};
		for (const text in want) {
			try { got[text] = new URL(text).href; } catch { got[text] = ""; }
		}
		console.log(JSON.stringify(got));`)
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatal(err)
	}
	for text, normal := range want {
		if got[text] != normal {
			t.Errorf("new URL(%q) is %q, the table has %q", text, got[text], normal)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		host + ":8443/a":            "shop.example.com",
		"https://BÜCHER.example/":   "xn--bcher-kva.example",
		"http://[2001:DB8::1]:80/":  "[2001:db8::1]",
		"http://127.0.0.1:3000/a#b": "127.0.0.1",
	} {
		if u, err := weburl.Parse(text); err != nil || u.Host() != want {
			t.Errorf("the host of %q is %q, %v, want %q", text, u.Host(), err, want)
		}
	}
}

func TestCheckHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"shop.example.com":         "",
		"localhost":                "",
		"127.0.0.1":                "",
		"[::1]":                    "",
		"xn--bcher-kva.example":    "",
		"Shop.example.com":         "must be spelled as browsers do, in lower case and Punycode",
		"bücher.example":           "must be spelled as browsers do, in lower case and Punycode",
		"[::0:1]":                  "must be spelled as browsers do, in lower case and Punycode",
		"[::1]:80":                 "must be spelled as browsers do, in lower case and Punycode",
		"":                         "must be a host alone, such as shop.example.com",
		"https://shop.example.com": "must be a host alone, such as shop.example.com",
		"shop.example.com:443":     "must be a host alone, such as shop.example.com",
		"shop.example.com/":        "must be a host alone, such as shop.example.com",
		"shop.example.com?a":       "must be a host alone, such as shop.example.com",
		"*.example.com":            "must be a host alone, such as shop.example.com",
		"ada@shop.example.com":     "must be a host alone, such as shop.example.com",
		"shop .example.com":        "must be a host alone, such as shop.example.com",
		"256.256.256.256":          "must be a host alone, such as shop.example.com",
		"::1":                      "must be a host alone, such as shop.example.com",
	} {
		got := ""
		if err := weburl.CheckHost(host); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("CheckHost(%q) is %q, want %q", host, got, want)
		}
	}
}

// Whatever is accepted is written in one way, which is harmless in a page and in
// a token.
func FuzzParse(f *testing.F) {
	for text := range accepted() {
		f.Add(text)
	}
	for _, text := range refused() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := weburl.Parse(text)
		if err != nil {
			return
		}
		normal := u.String()
		if again, err := weburl.Parse(normal); err != nil || again != u {
			t.Errorf("Parse(%q) is %q, which is parsed as %q, %v", text, normal, again, err)
		}
		for _, c := range []byte(normal) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>`, c) >= 0 && !strings.Contains(normal, "#") {
				t.Errorf("Parse(%q) is %q, with %q in it", text, normal, c)
			}
		}
		// In a query, browsers leave a backslash as it is.
		if path, _, _ := strings.Cut(normal, "?"); strings.Contains(path, `\`) && !strings.Contains(path, "#") {
			t.Errorf("Parse(%q) is %q, with a backslash in the path", text, normal)
		}
		if !strings.HasPrefix(normal, "https://"+u.Host()) && !strings.HasPrefix(normal, "http://"+u.Host()) {
			t.Errorf("Parse(%q) is %q with the host %q", text, normal, u.Host())
		}
	})
}
