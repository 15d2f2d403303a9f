package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/feed"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/ratelimit"
	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/verify"
)

// statusClientGone is nginx's status for a client that hung up. HTTP has none.
const statusClientGone = 499

const realm = `Bearer realm="customersession"`

// A refusal is what the client sees of an error: status, body and headers.
// Fields that are zero are left out.
type refusal struct {
	status int
	// The body has the member "error" and either "detail", a text or a list of
	// problems, or "error_description", depending on the specification.
	code, detail, description string
	problems                  []problem
	// names returns the member of the request for a session that the one problem is
	// about, and its value; nil if the problem says it.
	names      func(*createRequest) (member, value string)
	challenge  string         // the WWW-Authenticate header
	retryAfter int            // seconds
	more       map[string]any // further members of the body
	// internal means that the cause goes into the log and nowhere else.
	internal bool
}

// refusals is the table of errors and answers. The first row that matches
// counts. Errors that carry data have their answers in refuse.
type refusals []struct {
	err    error
	answer refusal
}

func newRefusals() refusals {
	badToken := invalidToken("The session token is expired or not valid here")
	return slices.Concat(codeRefusals(), refusals{
		// Credentials. The answer to a bad session token is always the same.
		{errNoScheme, refusal{
			status: http.StatusUnauthorized, code: "Unauthorized", detail: "Unauthorized", // as without a header
			challenge: realm + `, error="invalid_request", error_description="Write Bearer and a space before the key or token"`,
		}},
		{verify.ErrNoToken, refusal{status: http.StatusUnauthorized, code: "Unauthorized", detail: "Unauthorized", challenge: realm}},
		{errCustomerToken, refusal{status: http.StatusUnauthorized, code: "Unauthorized", detail: "Unauthorized", challenge: realm}},
		{verify.ErrInvalidRequest, bearer(http.StatusBadRequest, "invalid_request", "The Authorization header cannot be read", "")},
		{organizations.ErrUnknownKey, invalidToken("The API key is unknown")},
		{organizations.ErrExpiredKey, invalidToken("The API key has expired")},
		{verify.ErrMalformed, badToken},
		{verify.ErrAlgorithm, badToken},
		{verify.ErrUnknownKey, badToken},
		{verify.ErrSignature, badToken},
		{verify.ErrType, badToken},
		{verify.ErrClaims, badToken},
		{verify.ErrExpired, badToken},
		{verify.ErrNotYetValid, badToken},
		{verify.ErrIssuer, badToken},
		{verify.ErrAudience, badToken},
		{verify.ErrRevoked, badToken},

		// The request as a whole.
		{errTooLarge, refusal{status: http.StatusRequestEntityTooLarge, code: "PayloadTooLarge", detail: "The body may have 64 KiB"}},
		{errSlowBody, refusal{status: http.StatusRequestTimeout, code: "RequestTimeout", detail: "The body did not arrive in time"}},
		{errBrokenBody, refusal{status: http.StatusBadRequest, code: "invalid_request", description: "The body could not be read to its end"}},
		{errContentType, refusal{status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaType", detail: "Send application/json"}},
		{errCoding, refusal{status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaType", detail: "Send the body as it is, without Content-Encoding"}},
		{errNoTokenForm, refusal{status: http.StatusBadRequest, code: "invalid_request", description: "Send the form parameter token, once"}},
		{errFeedQuery, refusal{status: http.StatusBadRequest, code: "invalid_request", description: "after and wait are numbers from 0 up; nonce has at most 64 letters, digits, - and _"}},
		{errNoCustomers, refusal{status: http.StatusNotFound, code: "ResourceNotFound", detail: "This server does not know its customers"}},
		// A client that hung up does not read this. It must not look like an
		// outage in logs and metrics.
		{context.Canceled, refusal{status: statusClientGone, code: "ClientClosedRequest", detail: "The request was given up"}},

		// Ending sessions.
		{feed.ErrOff, refusal{status: http.StatusNotImplemented, code: "NotImplemented", detail: "Sessions cannot be ended here: this server keeps no log of revocations"}},
		{errSessionID, invalidBody([]problem{{Type: "uuid_parsing", Loc: []any{"path", "id"}, Msg: "Input should be a valid UUID"}})},
		{errEverywhere, invalidBody([]problem{{Type: "bool_parsing", Loc: []any{"query", "everywhere"}, Msg: "Input should be true or false"}})},
		{errUnknownAPIKey, invalidValue("api_key", "API key does not exist. If it was removed already, use client_id.")},
		{errRevokeCustomer, invalidValue("external_customer_id", "Customer does not exist. If the customer was deleted, use customer_id.")},
		{errRevokeStated, invalidValue("external_customer_id", "This server has no customers of its own; use customer_id.")},
		{feed.ErrTooMany, refusal{status: http.StatusTooManyRequests, retryAfter: int(tooManyWait.Seconds())}},

		// What may work when it is tried again.
		{feed.ErrUnknown, unavailable("The log of revocations did not answer: it may have been ended or not. Repeating is safe")},
		{errWebhook, unavailable("The request for a new link could not be passed on")},
		{errWebhookBusy, unavailable("Too many requests for a new link are in progress")},
		{errJustEnded, unavailable("All sessions of this customer were just ended")},
		{customers.ErrUnavailable, unavailable("The customer directory is unavailable")},
		{keys.ErrNoSigningKey, unavailable("No session can be signed at the moment")},
		{errSigner, unavailable("No session can be signed at the moment")},
		{verify.ErrKeysUnavailable, unavailable("Tokens cannot be verified at the moment")},
		{feed.ErrClock, unavailable("The clocks of this server and of the log of revocations are too far apart: what was asked for has not ended")},
		{feed.ErrUnavailable, unavailable("It is not known at the moment which sessions have been ended")},
	}, createRefusals())
}

// codeRefusals are the rows about exchanging codes.
func codeRefusals() refusals {
	return refusals{
		{feed.ErrNoRedemptions, refusal{status: http.StatusNotImplemented, code: "NotImplemented", detail: "Codes cannot be exchanged here: this server keeps no redemptions, or does not look customers up"}},
		{errCodeInvalid, invalidCode("code_invalid", "The code is not valid here.")},
		{errCodeExpired, invalidCode("code_expired", "The code has expired.")},
		{errCodeUsed, invalidCode("code_used", "The code has been used.")},
		{errSessionEnded, invalidCode("session_ended", "The session of the code has ended.")},
		{feed.ErrRedeem, unavailable("The code cannot be exchanged at the moment: it may have been redeemed or not. Repeating with the same redemption is safe")},
	}
}

// createRefusals is the part of the table about one member of a request for a session.
func createRefusals() refusals {
	return refusals{
		{customers.ErrNotFound, invalidName((*createRequest).namesCustomer, "Customer does not exist.")},
		{customers.ErrMismatch, invalidName((*createRequest).namesCustomer, "The two identifiers name different customers.")},
		{errMemberRequired, memberRequired()},
		{customers.ErrMemberNotFound, invalidName((*createRequest).namesMember, "Member does not exist for this customer.")},
		{customers.ErrNoMembers, invalidName((*createRequest).namesMember, "This server has no members: CUSTOMERSESSION_CUSTOMERS_QUERY_MEMBERS is not set.")},
		{customers.ErrMemberExternalID, invalidName((*createRequest).namesMember, "Members of a customer without an external ID have no path by external ID; use member_id.")},
		{customers.ErrStated, invalidValue("customer", "This server looks customers up; leave this out.")},
		{customers.ErrStatedMissing, invalidValue("customer", "This server has no customers of its own; state the customer here.")},
		{customers.ErrStatedID, invalidValue("customer_id", "A stated customer needs an ID.")},
		{errReturnHost, invalidValue("return_url", "The organization does not list this host among its return_url_hosts.")},
		{errTooLong, invalidValue("return_url", "The token would not fit a cookie with this URL; use a shorter one.")},
	}
}

// refuse returns the answer to an error. An error that is not known is ours,
// and the client learns nothing about it.
func (t refusals) refuse(err error) refusal {
	if body, ok := errors.AsType[*invalidBodyError](err); ok {
		return invalidBody(body.problems)
	}
	if stated, ok := errors.AsType[*customers.ValidationError](err); ok {
		return invalidCustomer(stated)
	}
	if many, ok := errors.AsType[*tooManyError](err); ok {
		return refusal{status: http.StatusTooManyRequests, retryAfter: ratelimit.RetryAfterSeconds(many.wait)}
	}
	if missing, ok := errors.AsType[*missingScopeError](err); ok {
		scope := string(missing.scope)
		return bearer(http.StatusForbidden, "insufficient_scope", "The API key needs the scope "+scope, `, scope="`+scope+`"`)
	}
	if without, ok := errors.AsType[*noRecoveryError](err); ok {
		return refusal{
			status: http.StatusNotFound, code: "ResourceNotFound", detail: "This organization sends no new links",
			more: map[string]any{"support_url": nullable(without.supportURL)},
		}
	}
	if framework, ok := errors.AsType[*echo.HTTPError](err); ok {
		return refusal{status: framework.Code, detail: http.StatusText(framework.Code)}
	}
	for _, row := range t {
		if errors.Is(err, row.err) {
			return row.answer.about(err)
		}
	}
	return refusal{
		status: http.StatusInternalServerError, code: "InternalServerError", detail: "Internal Server Error", internal: true,
	}
}

// bearer is an answer of RFC 6750, Section 3.
func bearer(status int, code, description, parameters string) refusal {
	return refusal{
		status: status, code: code, description: description,
		challenge: realm + `, error="` + code + `", error_description="` + description + `"` + parameters,
	}
}

func invalidToken(description string) refusal {
	return bearer(http.StatusUnauthorized, "invalid_token", description, "")
}

func unavailable(detail string) refusal {
	return refusal{status: http.StatusServiceUnavailable, code: "ServiceUnavailable", detail: detail, retryAfter: 5, internal: true}
}

// invalidValue is the answer to a well-formed request that cannot be fulfilled
// because of one of its members.
func invalidValue(member, msg string) refusal {
	return refusal{
		status: http.StatusUnprocessableEntity, code: "PolarRequestValidationError",
		problems: []problem{{Type: "value_error", Loc: []any{"body", member}, Msg: msg}},
	}
}

// invalidCode is the answer to a code that is not exchanged, with the reason as type.
func invalidCode(reason, msg string) refusal {
	return refusal{
		status: http.StatusUnprocessableEntity, code: "PolarRequestValidationError",
		problems: []problem{{Type: reason, Loc: []any{"body", "code"}, Msg: msg}},
	}
}

// invalidName is invalidValue for what names a customer or a member, in one of two
// ways.
func invalidName(names func(*createRequest) (member, value string), msg string) refusal {
	r := invalidValue("", msg)
	r.names = names
	return r
}

// memberRequired is the answer to a request for a team that names no member. The input
// is null, also in JSON.
func memberRequired() refusal {
	r := invalidValue("member_id", "member_id is required for team customers.")
	r.problems[0].Input = json.RawMessage("null")
	return r
}

// invalidBody is the answer to a request that breaks the schema.
func invalidBody(problems []problem) refusal {
	return refusal{status: http.StatusUnprocessableEntity, code: "RequestValidationError", problems: problems}
}

func invalidCustomer(err *customers.ValidationError) refusal {
	var problems []problem
	for _, p := range err.Problems {
		problems = append(problems, problem{Type: p.Type, Loc: append([]any{"body", "customer"}, p.Loc...), Msg: p.Msg})
	}
	return invalidBody(problems)
}

// about names the member of the request where the row leaves it open, with its
// value.
func (r refusal) about(err error) refusal {
	create, ok := errors.AsType[*createError](err)
	if ok && r.names != nil {
		member, value := r.names(create.request)
		r.problems = []problem{{Type: r.problems[0].Type, Loc: []any{"body", member}, Msg: r.problems[0].Msg, Input: value}}
	}
	return r
}

// handleError answers what goes wrong outside of observe, which answers all
// else.
func (s *Server) handleError(err error, c echo.Context) {
	if !c.Response().Committed {
		s.refusals.refuse(err).write(c.Response())
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
	// It fails when the client is gone. Then there is nothing to do.
	_, _ = w.Write(body)
}

// body returns nil for an answer that has none.
func (r refusal) body() []byte {
	members := maps.Clone(r.more)
	if members == nil {
		members = map[string]any{}
	}
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

// text is what the log says about the error: for errors of ours their text,
// otherwise a kind of problem, which holds nothing from the client.
func (r refusal) text(err error) string {
	switch {
	case r.internal:
		return err.Error()
	case r.problems != nil:
		return r.code + ": " + r.problems[0].Type
	case r.code != "":
		return r.code
	default:
		return http.StatusText(r.status)
	}
}

// credentialsReason is the reason for which credentials were refused, for the
// metric: one of a closed list.
func credentialsReason(err error) string {
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
	case errors.Is(err, feed.ErrUnavailable):
		return "revocations_unavailable"
	case errors.Is(err, verify.ErrRevoked):
		return "ended_session"
	default:
		return "bad_token"
	}
}
