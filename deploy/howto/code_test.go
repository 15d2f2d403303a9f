package howto_test

// The Go code of the pages, as it stands there.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"time"

	"github.com/customersession/customersession/verify"
)

// NewPortal returns a portal.
func NewPortal(v *verify.Verifier) http.Handler {
	guard := v.NewMiddleware(verify.MiddlewareConfig{Cookie: true, OnError: notSignedIn})
	account := func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		name := "customer " + session.CustomerID
		user, err := v.User(r.Context())
		switch {
		case errors.Is(err, verify.ErrRevoked):
			notSignedIn(w, r, err)
			return
		case err == nil: // otherwise the ID must do
			name = user.Name + " (" + user.Email + ") " + user.Role
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><title>Your account</title><h1>%s</h1>
<form method="post" action="/sign-out"><button>Sign out</button></form>`, html.EscapeString(name))
	}
	mux := http.NewServeMux()
	mux.Handle("/portal", v.NewSignIn(verify.SignInConfig{
		Next:    guard(http.HandlerFunc(account)),
		Confirm: true, // links arrive by mail, and scanners open them
	}))
	mux.Handle("/sign-out", v.SignOut("/signed-out"))
	mux.HandleFunc("/signed-out", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "You are signed out.")
	})
	return mux
}

// notSignedIn answers requests without a session. The status is set already.
func notSignedIn(w http.ResponseWriter, _ *http.Request, err error) {
	if errors.Is(err, verify.ErrKeysUnavailable) || errors.Is(err, verify.ErrRevocationsUnavailable) {
		fmt.Fprintln(w, "We cannot check your session at the moment. Please try again.")
		return
	}
	fmt.Fprintln(w, "Open your account again in the shop.")
}

// Landing returns the landing route of a portal, for links with tokens and links with
// codes. Next is behind NewMiddleware with Cookie.
func Landing(v *verify.Verifier, next http.Handler, apiKeyFile string) http.Handler {
	return v.NewSignIn(verify.SignInConfig{
		Next:     next,
		Exchange: verify.Exchange{APIKeyFile: apiKeyFile},
	})
}

// OpenPortal sends a customer who is signed in to the shop into the portal. Browsers
// come with a GET, from the shop's own pages or from the portal.
func OpenPortal(issuer, apiKey string, customerOf func(*http.Request) string) http.Handler {
	client := &http.Client{Timeout: 10 * time.Second}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := json.Marshal(map[string]any{
			"external_customer_id": customerOf(r), // from the shop's own cookie
			"expires_in":           3600,
		})
		if err != nil {
			http.Error(w, "Please try again", http.StatusInternalServerError)
			return
		}
		request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, issuer+"/v1/customer-sessions/", bytes.NewReader(body))
		if err != nil {
			http.Error(w, "Please try again", http.StatusInternalServerError)
			return
		}
		request.Header.Set("Authorization", "Bearer "+apiKey)
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			http.Error(w, "Please try again", http.StatusServiceUnavailable)
			return
		}
		defer response.Body.Close()
		var session struct {
			URL string `json:"customer_portal_url"`
		}
		if response.StatusCode != http.StatusCreated || json.NewDecoder(response.Body).Decode(&session) != nil {
			http.Error(w, "Please try again", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		http.Redirect(w, r, session.URL, http.StatusSeeOther)
	})
}

// SignOutEverywhere ends all sessions of the customer who is signed in. Put it
// behind Verifier.NewMiddleware with Cookie, which refuses other sites' forms.
func SignOutEverywhere(issuer string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := verify.Token(r.Context())
		request, err := http.NewRequestWithContext(r.Context(), http.MethodDelete,
			issuer+"/v1/customer-portal/customer-session?everywhere=true", http.NoBody)
		if err != nil {
			http.Error(w, "Please try again", http.StatusServiceUnavailable)
			return
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
		}
		if err != nil || response.StatusCode != http.StatusNoContent {
			http.Error(w, "Please try again: your sessions may still be open", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/signed-out", http.StatusSeeOther)
	})
}

// NewAPI returns an API for an app of another origin.
func NewAPI(v *verify.Verifier, appOrigin string, api http.Handler) http.Handler {
	guarded := v.Middleware(api)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		if r.Header.Get("Origin") == appOrigin {
			w.Header().Set("Access-Control-Allow-Origin", appOrigin)
			w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
			w.Header().Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// Associate serves the files by which iOS and Android check that the app belongs to
// this host. Replace both IDs and the fingerprint of the certificate by your own.
func Associate(mux *http.ServeMux) {
	serve := func(path, body string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		})
	}
	serve("/.well-known/apple-app-site-association", `{"applinks": {"details": [{
		"appIDs": ["ABCDE12345.com.example.shop"],
		"components": [{"/": "/portal", "?": {"customer_session_token": "?*"}}]
	}]}}`)
	serve("/.well-known/assetlinks.json", `[{
		"relation": ["delegate_permission/common.handle_all_urls"],
		"target": {"namespace": "android_app", "package_name": "com.example.shop",
			"sha256_cert_fingerprints": ["14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5"]}
	}]`)
}
