package verify

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	firstUUID  = "992fae2a-2a17-4b7a-8d9e-e287cf90131b"
	secondUUID = "0ef31f6a-0a3c-4c1b-b6f7-55b2e2b1c9a0"
)

// payloadOf is as our issuer writes it.
func payloadOf(customer, session, organization string, issuedAt, expiresAt int, more string) string {
	return fmt.Sprintf(`{"iss":"https://a.example","aud":"portal","sub":%q,"sid":%q,"org":%q,"iat":%d,"exp":%d%s,"scope":"customer_portal:write"}`,
		customer, session, organization, issuedAt, expiresAt, more)
}

func withURL(url string) string { return `,"return_url":"` + url + `"` }

// oddPayloads have one meaning, too, but our issuer writes none of them.
func oddPayloads() []string {
	good := payloadOf(firstUUID, secondUUID, firstUUID, 1700000000, 1700003600, withURL("https://shop.example/a"))
	return []string{
		good,
		payloadOf(firstUUID, secondUUID, firstUUID, 1, 2, ""),
		strings.NewReplacer(`":`, "\" :\n", `,"`, "\t, \"").Replace(strings.ReplaceAll(good, "https://", `https:\/\/`)),
		strings.Replace(good, `"sub":"9`, `"sub":"\u0039`, 1),
		strings.Replace(good, `"aud":"portal"`, `"aud":["portal","other"],"x":{"sub":[1.5e3,"é"]}`, 1),
		strings.Replace(good, `"scope":"customer_portal:write"`, `"nbf":1700000000`, 1),
		strings.Replace(good, `https://shop.example/a`, `http://shop.example/é?q=\"`, 1),
		strings.Replace(good, `https://shop.example/a`, `http://shop.example/é`, 1),
	}
}

func checkLayout(t *testing.T, l *layout, payload []byte) (known bool) {
	t.Helper()
	var got, want claims
	if !l.parse(&got, payload) {
		return false
	}
	if err := want.parse(payload); err != nil {
		t.Errorf("%q is taken for one like %q, but is refused: %v", payload, l.text, err)
	} else if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q is read as %+v, want %+v", payload, got, want)
	}
	return true
}

// Whatever is read by its layout, the strict reader accepts and reads the same
// way: all that is a byte away from a good payload, or two digits.
func TestLayoutIsNoShortCut(t *testing.T) {
	t.Parallel()
	for _, text := range oddPayloads() {
		payload := []byte(text)
		l := newLayout(payload)
		if !checkLayout(t, l, payload) {
			t.Errorf("a payload does not have its own layout: %s", text)
		}
		for i := range payload {
			checkLayout(t, l, payload[:i])
			checkLayout(t, l, slices.Delete(bytes.Clone(payload), i, i+1))
			for c := range 256 {
				changed := bytes.Clone(payload)
				changed[i] = byte(c)
				checkLayout(t, l, changed)
				checkLayout(t, l, slices.Insert(changed, i, payload[i]))
				checkLayout(t, l, slices.Insert(changed, i, '0', '0'))
			}
		}
	}
}

// Tokens of one issuer are read by the layout of the first one, whatever the
// values are that differ.
func TestLayoutIsKnown(t *testing.T) {
	t.Parallel()
	var l layouts
	parse := func(payload string) (known bool) {
		t.Helper()
		before := l.missed.Load()
		var got, want claims
		if err := l.parse(&got, []byte(payload)); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		if err := want.parse([]byte(payload)); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is read as %+v, want %+v, %v", payload, got, want, err)
		}
		return l.missed.Load() == before
	}
	for _, first := range []string{
		payloadOf(firstUUID, firstUUID, firstUUID, 1700000000, 1700003600, ""),
		payloadOf(firstUUID, firstUUID, firstUUID, 1700000000, 1700003600, withURL("https://shop.example/")),
	} {
		if parse(first) {
			t.Errorf("nothing was known, but %s was", first)
		}
	}
	for _, other := range []string{
		payloadOf(secondUUID, firstUUID, firstUUID, 1, maxDate, ""),
		payloadOf(firstUUID, secondUUID, secondUUID, 1800000000, 1800000001, withURL("http://a")),
		payloadOf(secondUUID, secondUUID, secondUUID, 1800000000, 20, withURL("https://"+strings.Repeat("a", 2000))),
	} {
		if !parse(other) {
			t.Errorf("%s was read as JSON", other)
		}
	}
	// One of another kind displaces a known one, but only when there are many.
	third := strings.Replace(payloadOf(firstUUID, firstUUID, firstUUID, 1, 2, ""), "portal", "other", 1)
	for n := range 200 {
		if parse(third) {
			if n < 32 {
				t.Errorf("the third layout was taken after %d payloads", n)
			}
			return
		}
	}
	t.Error("the third layout is never taken")
}

// FuzzLayout is TestLayoutIsNoShortCut for any two payloads.
func FuzzLayout(f *testing.F) {
	for _, a := range oddPayloads() {
		for _, b := range oddPayloads() {
			f.Add([]byte(a), []byte(b))
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var c claims
		if c.parse(first) != nil {
			return
		}
		l := newLayout(first)
		if !checkLayout(t, l, first) {
			t.Errorf("%q does not have its own layout", first)
		}
		checkLayout(t, l, second)
	})
}
