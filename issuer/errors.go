package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/ratelimit"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/verify"
)

// statusClientGone is what nginx calls it; HTTP has no number for it.
const statusClientGone = 499

const realm = `Bearer realm="customersession"`

// Errors of the edge, which have no other home.
var (
	errTooLarge    = errors.New("request body is too large")
	errSlowBody    = errors.New("request body did not arrive in time")
	errBrokenBody  = errors.New("request body could not be read")
	errContentType = errors.New("content type is not application/json")
	errNoTokenForm = errors.New(`form has no parameter "token", or several`)
	errNoCustomers = errors.New("this server has no customers of its own")
)

// A refusal is an answer that is not what the client asked for. Its zero
// fields are left out.
type refusal struct {
	status int
	// The body: "error" with either "detail", a text or a list, or with
	// "error_description", depending on which specification it comes from.
	code, detail, description string
	problems                  []problem
	// challenge is the WWW-Authenticate header.
	challenge  string
	retryAfter int // seconds
	// internal means that the cause goes into the log and nowhere else.
	internal bool
}

// refuse is the table: what an error looks like to the client. Unknown errors
// are our fault and say nothing.
func refuse(err error) refusal {
	var body *invalidBodyError
	var value *invalidValueError
	var scope *missingScopeError
	var many *tooManyError
	var framework *echo.HTTPError
	switch {
	case errors.As(err, &body):
		return refusal{status: http.StatusUnprocessableEntity, code: "RequestValidationError", problems: body.problems}
	case errors.As(err, &value):
		return refusal{status: http.StatusUnprocessableEntity, code: "PolarRequestValidationError", problems: []problem{value.problem}}
	case errors.As(err, &many):
		return refusal{status: http.StatusTooManyRequests, retryAfter: ratelimit.RetryAfterSeconds(many.wait)}
	case errors.As(err, &scope):
		return refuseBearer(http.StatusForbidden, "insufficient_scope",
			"The API key needs the scope "+string(scope.scope), `, scope="`+string(scope.scope)+`"`)
	case errors.As(err, &framework):
		return refusal{status: framework.Code, detail: http.StatusText(framework.Code)}
	}
	if r, ok := refuseCredentials(err); ok {
		return r
	}
	if r, ok := refuseRequest(err); ok {
		return r
	}
	if r, ok := refuseForNow(err); ok {
		return r
	}
	return refusal{
		status: http.StatusInternalServerError, code: "InternalServerError", detail: "Internal Server Error", internal: true,
	}
}

// refuseCredentials has the answers of RFC 6750, Section 3.
func refuseCredentials(err error) (refusal, bool) {
	switch {
	case errors.Is(err, verify.ErrNoToken), errors.Is(err, errCustomerToken):
		return refusal{
			status: http.StatusUnauthorized, code: "Unauthorized", detail: "Unauthorized", challenge: realm,
		}, true
	case errors.Is(err, verify.ErrInvalidRequest):
		return refuseBearer(http.StatusBadRequest, "invalid_request", "The Authorization header cannot be read", ""), true
	case errors.Is(err, organizations.ErrExpiredKey):
		return refuseBearer(http.StatusUnauthorized, "invalid_token", "The API key has expired", ""), true
	case errors.Is(err, organizations.ErrUnknownKey):
		return refuseBearer(http.StatusUnauthorized, "invalid_token", "The API key is unknown", ""), true
	case isBadToken(err):
		// One answer for every reason: why is nobody's business.
		return refuseBearer(http.StatusUnauthorized, "invalid_token", "The session token is expired or not valid here", ""), true
	default:
		return refusal{}, false
	}
}

// isBadToken reports whether err is a verifier's "no" rather than its "cannot
// tell".
func isBadToken(err error) bool {
	for _, bad := range []error{
		verify.ErrMalformed, verify.ErrAlgorithm, verify.ErrUnknownKey, verify.ErrSignature, verify.ErrType,
		verify.ErrClaims, verify.ErrExpired, verify.ErrNotYetValid, verify.ErrIssuer, verify.ErrAudience, verify.ErrRevoked,
	} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return false
}

func refuseBearer(status int, code, description, parameters string) refusal {
	return refusal{
		status: status, code: code, description: description,
		challenge: realm + `, error="` + code + `", error_description="` + description + `"` + parameters,
	}
}

func refuseRequest(err error) (refusal, bool) {
	switch {
	case errors.Is(err, errTooLarge):
		return refusal{status: http.StatusRequestEntityTooLarge, code: "PayloadTooLarge", detail: "The body may have 64 KiB"}, true
	case errors.Is(err, errSlowBody):
		return refusal{status: http.StatusRequestTimeout, code: "RequestTimeout", detail: "The body did not arrive in time"}, true
	case errors.Is(err, errBrokenBody):
		return refusal{status: http.StatusBadRequest, code: "invalid_request", description: "The body could not be read to its end"}, true
	case errors.Is(err, errContentType):
		return refusal{status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaType", detail: "Send application/json"}, true
	case errors.Is(err, errNoTokenForm):
		return refusal{status: http.StatusBadRequest, code: "invalid_request", description: "Send the form parameter token, once"}, true
	case errors.Is(err, errNoCustomers):
		return refusal{status: http.StatusNotFound, code: "ResourceNotFound", detail: "This server does not know its customers"}, true
	default:
		return refusal{}, false
	}
}

// refuseForNow has what may work when it is tried again.
func refuseForNow(err error) (refusal, bool) {
	unavailable := refusal{status: http.StatusServiceUnavailable, code: "ServiceUnavailable", retryAfter: 5, internal: true}
	switch {
	case errors.Is(err, context.Canceled):
		// Nobody reads this: it keeps a client that hung up from looking like
		// an outage in logs and metrics.
		return refusal{status: statusClientGone, code: "ClientClosedRequest", detail: "The request was given up"}, true
	case errors.Is(err, customers.ErrUnavailable):
		unavailable.detail = "The customer directory is unavailable"
	case errors.Is(err, keys.ErrNoSigningKey), errors.Is(err, errSigner):
		unavailable.detail = "No session can be signed at the moment"
	case errors.Is(err, verify.ErrKeysUnavailable):
		unavailable.detail = "Tokens cannot be verified at the moment"
	default:
		return refusal{}, false
	}
	return unavailable, true
}

// reason is an error's name in metrics: a closed list, never a text of a
// client's.
func reason(err error) string {
	switch {
	case errors.Is(err, verify.ErrNoToken):
		return "no_credentials"
	case errors.Is(err, verify.ErrInvalidRequest):
		return "ambiguous_header"
	case errors.Is(err, errCustomerToken):
		return "customer_token"
	case errors.Is(err, organizations.ErrUnknownKey):
		return "unknown_key"
	case errors.Is(err, organizations.ErrExpiredKey):
		return "expired_key"
	case errors.Is(err, verify.ErrExpired):
		return "expired_token"
	case errors.Is(err, verify.ErrKeysUnavailable):
		return "keys_unavailable"
	default:
		return "bad_token"
	}
}

// handleError is for what goes wrong before a request is on its way; the rest
// is observe's.
func handleError(err error, c echo.Context) {
	if !c.Response().Committed {
		refuse(err).write(c.Response())
	}
}

// write sends the refusal. Clients and caches must not keep it.
func (r refusal) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if r.challenge != "" {
		header.Set("WWW-Authenticate", r.challenge)
	}
	if r.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	body := r.body()
	if body != nil {
		header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	}
	header.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	w.WriteHeader(r.status)
	// The client is gone when this fails; there is nobody left to tell.
	_, _ = w.Write(body)
}

// body returns nil for an answer that has none.
func (r refusal) body() []byte {
	members := map[string]any{}
	if r.code != "" {
		members["error"] = r.code
	}
	switch {
	case r.problems != nil:
		members["detail"] = r.problems
	case r.detail != "":
		members["detail"] = r.detail
	case r.description != "":
		members["error_description"] = r.description
	default:
		return nil
	}
	body, err := json.Marshal(members)
	if err != nil {
		// Unreachable: strings, whole numbers and lists of them.
		return nil
	}
	return body
}
