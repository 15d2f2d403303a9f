package howto_test

// The Go code of the pages, as it stands there.

import (
	"net/http"

	"github.com/customersession/customersession/verify"
)

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
