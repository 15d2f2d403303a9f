package verifytest

import (
	"encoding/json"
	"net/http"

	"github.com/customersession/customersession/verify"
)

const userPath = sessionPath + "/user"

// The name and the e-mail address of everybody who is signed in: what
// [verify.Verifier.User] returns.
const (
	UserName  = "Ada Lovelace"
	UserEmail = "ada@example.com"
)

// FailUser makes the issuer answer with a status when it is asked who is signed in:
// 404 as an issuer that knows no customers, 401 as if the customer were gone, 503 as
// if it could not read its customers. 0 makes it work again.
func (i *Issuer) FailUser(status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.userFailure = status
}

// UserRequests returns how often the issuer was asked who is signed in.
func (i *Issuer) UserRequests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.userRequests
}

// serveUser answers who is signed in, to the holder of a token.
func (i *Issuer) serveUser(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.userRequests++
	status := i.userFailure
	i.mu.Unlock()
	token, err := verify.BearerToken(r.Header)
	var session verify.Session
	if err == nil {
		session, err = i.verifierOf("", i.audience).Verify(r.Context(), token)
	}
	switch {
	case err != nil:
		status = http.StatusUnauthorized
	case status == 0:
		status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if status != http.StatusOK {
		return
	}
	user := map[string]any{
		"type": "customer", "name": UserName, "email": UserEmail, "customer_id": session.CustomerID, "member_id": nil, "role": nil,
	}
	if session.MemberID != "" {
		user["type"], user["member_id"], user["role"] = "member", session.MemberID, session.Role
	}
	_, _ = w.Write(must(json.Marshal(user)))
}
