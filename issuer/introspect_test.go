package issuer_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// ask sends a form to the introspection endpoint.
func (f *fixture) ask(t testing.TB, secret, form string) *answer {
	t.Helper()
	return f.do(t, http.MethodPost, askPath, form, "Authorization", "Bearer "+secret, "Content-Type", formType)
}

func TestIntrospectActive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	session := f.create(t, `{"customer_id":"`+customerID+`","return_url":"https://shop.example.com"}`)
	token := session.text(t, "token")
	seconds := func(member string) json.Number {
		return json.Number(strconv.FormatInt(instant(t, session.text(t, member)).Unix(), 10))
	}
	want := map[string]any{
		"active": true, "token_type": "Bearer", "scope": "customer_portal:write", "iss": f.base, "aud": "customer-portal",
		"sub": customerID, "sid": session.text(t, "id"), "org": orgID, "iat": seconds("created_at"), "exp": seconds("expires_at"),
		"client_id": clientID(f.secret), "return_url": "https://shop.example.com/",
	}
	for name, form := range map[string]string{
		"token":              "token=" + token,
		"with a hint":        "token_type_hint=access_token&token=" + token,
		"with another hint":  "token=" + token + "&token_type_hint=refresh_token",
		"escaped":            "token=" + strings.ReplaceAll(token, ".", "%2E"),
		"with more members":  "a=b&token=" + token + "&c",
		"with an empty pair": "&token=" + token + "&",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := f.ask(t, f.introspectOnly, form)
			if a.status != http.StatusOK || !reflect.DeepEqual(object(t, a.body), want) {
				t.Errorf("got %d %s, want 200 %v", a.status, a.body, want)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q, want no-store", got)
			}
		})
	}
	t.Run("without a return URL", func(t *testing.T) {
		t.Parallel()
		a := f.ask(t, f.secret, "token="+f.createAny(t).text(t, "token"))
		if _, ok := a.members(t)["return_url"]; ok || a.members(t)["active"] != true {
			t.Errorf("got %d %s, want an active token without return_url", a.status, a.body)
		}
	})
}

// Of a token that is not active, for whatever reason, nothing is told.
func TestIntrospectInactive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tokens := f.badTokens(t)
	tokens["another organization's"] = f.post(t, f.foreign, `{"customer_id":"`+foreignID+`"}`).text(t, "token")
	tokens["with white space"] = f.forge(t, nil, nil) + "%20"
	for name, token := range tokens {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := f.ask(t, f.secret, "token="+strings.ReplaceAll(token, "=", "%3D"))
			if want := map[string]any{"active": false}; a.status != http.StatusOK || !reflect.DeepEqual(a.members(t), want) {
				t.Errorf("got %d %s, want 200 %v", a.status, a.body, want)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q, want no-store", got)
			}
		})
	}
}

func TestIntrospectForm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.createAny(t).text(t, "token")
	for _, test := range []struct{ name, query, contentType, body string }{
		{"empty", "", formType, ""},
		{"another parameter", "", formType, "tokens=" + token},
		{"empty token", "", formType, "token="},
		{"token twice", "", formType, "token=" + token + "&token=" + token},
		{"token only in the query", "?token=" + token, formType, "token_type_hint=access_token"},
		{"bad escape", "", formType, "token=%zz"},
		{"semicolon", "", formType, "a=b;token=" + token},
		{"JSON", "", "application/json", `{"token":"` + token + `"}`},
		{"form that says it is text", "", "text/plain", "token=" + token},
		{"multipart", "", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + token + "\r\n--x--"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := f.do(t, http.MethodPost, askPath+test.query, test.body, "Authorization", "Bearer "+f.secret, "Content-Type", test.contentType)
			checkRefusal(t, a, http.StatusBadRequest,
				`{"error":"invalid_request","error_description":"Send the form parameter token, once"}`, "")
		})
	}
	t.Run("without a content type", func(t *testing.T) {
		t.Parallel()
		a := f.do(t, http.MethodPost, askPath, "token="+token, "Authorization", "Bearer "+f.secret)
		if a.status != http.StatusBadRequest {
			t.Errorf("got %d %s, want 400", a.status, a.body)
		}
	})
	t.Run("content type with a parameter", func(t *testing.T) {
		t.Parallel()
		a := f.do(t, http.MethodPost, askPath, "token="+token, "Authorization", "Bearer "+f.secret, "Content-Type", formType+"; charset=UTF-8")
		if a.members(t)["active"] != true {
			t.Errorf("got %d %s, want an active token", a.status, a.body)
		}
	})
	t.Run("too large", func(t *testing.T) {
		t.Parallel()
		a := f.ask(t, f.secret, "token="+token+"&a="+strings.Repeat("x", 64<<10))
		checkRefusal(t, a, http.StatusRequestEntityTooLarge, `{"error":"PayloadTooLarge","detail":"The body may have 64 KiB"}`, "")
	})
}
