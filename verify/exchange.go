package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/customersession/customersession/verify/internal/outbound"
	"github.com/customersession/customersession/verify/wire"
)

const (
	// exchangeTimeout bounds one attempt, and exchangeAttempts their number.
	exchangeTimeout  = 5 * time.Second
	exchangeAttempts = 2
	// recoverTimeout is longer than the issuer takes at most: 5 s to find the customer,
	// and 10.5 s to reach the shop.
	recoverTimeout = 18 * time.Second
	// maxIssuerAnswer bounds what is read of an answer: a session with its customer.
	maxIssuerAnswer = 256 << 10
	// maxKeyFile bounds the file with the API key.
	maxKeyFile = 4 << 10
	// maxRedemption is the length of the longest redemption. The shortest is 22, which
	// is 128 bits in base64url.
	minRedemption, maxRedemption = 22, 128
)

// Exchange configures how a portal redeems the codes of links.
type Exchange struct {
	// URL is the issuer's URL, https except on a loopback address. Default: where
	// the JWK Set is, if that is at "/.well-known/jwks.json" below any URL.
	URL string
	// APIKeyFile is a file with an API key that has the scope
	// customer_sessions:exchange, of the organization whose links lead here. It is
	// read for each exchange, so that the key can be replaced, and white space
	// around the key is ignored.
	APIKeyFile string
}

// An exchanger calls the issuer for the links of a portal.
type exchanger struct {
	sessions, codes *Verifier
	client          *http.Client
	keyFile         string // empty: codes are not exchanged
	exchangeURL     string
	recoverURL      string // empty: it is not known
	logger          *slog.Logger
}

// newExchanger panics if config cannot work.
func (v *Verifier) newExchanger(config Exchange) *exchanger {
	e := &exchanger{sessions: v, codes: v.forCodes(), client: v.client, keyFile: config.APIKeyFile, logger: v.logger}
	base := v.issuerURL
	if config.URL != "" {
		if err := checkURL("SignInConfig.Exchange.URL", config.URL); err != nil {
			panic("verify: " + err.Error())
		}
		if config.APIKeyFile == "" {
			panic("verify: SignInConfig.Exchange has a URL, but no APIKeyFile")
		}
		base = strings.TrimSuffix(config.URL, "/")
	}
	if base == "" && config.APIKeyFile != "" {
		panic("verify: SignInConfig.Exchange has no URL, and the address of the keys does not say it")
	}
	if base != "" {
		e.exchangeURL, e.recoverURL = base+wire.ExchangePath, base+wire.RecoverPath
	}
	return e
}

// forCodes returns a verifier that accepts codes, which are for the issuer, and no
// sessions. It shares the keys of v. Whether a session has ended, only the issuer
// decides when it exchanges the code.
func (v *Verifier) forCodes() *Verifier {
	return &Verifier{
		keys: v.keys, issuer: v.issuer, audience: v.issuer, tokenType: wire.CodeType, methods: v.methods,
		validator: newValidator(v.issuer, v.issuer, v.leeway),
		leeway:    v.leeway, maxLifetime: v.maxLifetime, logger: v.logger,
	}
}

// newValidator returns golang-jwt's validator of claims.
func newValidator(issuer, audience string, leeway time.Duration) *jwt.Validator {
	return jwt.NewValidator(
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
	)
}

// check returns the session that a code stands for, or why the code is no good. So
// only codes of the issuer reach it, and nothing else a client sends.
func (e *exchanger) check(ctx context.Context, code string) (Session, error) {
	if e.keyFile == "" {
		e.logger.LogAttrs(ctx, slog.LevelError, "a link holds a code, which this portal cannot exchange",
			slog.String("advice", "set SignInConfig.Exchange, or give the organization links with tokens"))
		return Session{}, ErrIssuerUnavailable
	}
	known, _, err := e.codes.examine(ctx, code)
	if err != nil {
		e.codes.logRefusal(ctx, err)
		return Session{}, err
	}
	return known.claims.session, nil
}

// exchange returns the token that the issuer gives for a code, and its session,
// which must be the one that the code stands for. If an answer is lost, the second
// attempt gets the same session, by its redemption.
func (e *exchanger) exchange(ctx context.Context, code, redemption string, of *Session) (token string, session Session, err error) {
	key, err := readKey(e.keyFile)
	if err != nil {
		e.logger.LogAttrs(ctx, slog.LevelError, "cannot read the API key that exchanges codes",
			slog.String("error", err.Error()), slog.String("advice", "write a key with the scope customer_sessions:exchange into the file"))
		return "", Session{}, ErrIssuerUnavailable
	}
	body, err := json.Marshal(map[string]string{"code": code, "redemption": redemption})
	if err != nil {
		return "", Session{}, ErrIssuerUnavailable
	}
	var got issuerAnswer
	for range exchangeAttempts {
		if got = e.post(ctx, e.exchangeURL, key, body, exchangeTimeout); !got.lost() || ctx.Err() != nil {
			break
		}
	}
	if token, err = e.readExchange(ctx, &got); err != nil {
		return "", Session{}, err
	}
	session, err = e.sessions.Verify(ctx, token)
	switch {
	case err == nil && session.ID == of.ID && samePerson(&session, of):
		if cookieAge(session.ExpiresAt) <= 0 {
			return "", Session{}, newExpiredError(&session)
		}
		return token, session, nil
	case err == nil:
		e.complain(ctx, e.exchangeURL, "another session", "the issuer answers for another code")
		return "", Session{}, ErrIssuerUnavailable
	case cannotTell(err), errors.Is(err, ErrRevoked), errors.Is(err, ErrExpired):
		return "", Session{}, err
	default:
		e.complain(ctx, e.exchangeURL, resultOf(err), "the portal must accept the issuer's tokens: compare issuer and audience")
		return "", Session{}, ErrIssuerUnavailable
	}
}

// readExchange returns the token of an answer, or why there is none.
func (e *exchanger) readExchange(ctx context.Context, got *issuerAnswer) (token string, err error) {
	advice := ""
	switch got.status {
	case http.StatusOK:
		var session struct {
			Token string `json:"token"`
		}
		if json.Unmarshal(got.body, &session) == nil && session.Token != "" {
			return session.Token, nil
		}
		got.problem = "no session object"
	case http.StatusUnprocessableEntity:
		switch got.validationType() {
		case "code_used":
			return "", ErrCodeUsed
		case "code_expired":
			return "", errExpired
		case "session_ended":
			return "", errRevoked
		case "code_invalid":
			e.complain(ctx, e.exchangeURL, "code_invalid", "the API key must be of the organization whose links lead here")
			return "", ErrCodeInvalid
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		advice = "the API key must be in force, with the scope customer_sessions:exchange"
	case http.StatusNotImplemented:
		advice = "the issuer needs a log of revocations to exchange codes"
	case http.StatusNotFound:
		advice = "compare the issuer's URL; an issuer of an older version must be upgraded first"
	}
	e.complain(ctx, e.exchangeURL, got.problem, advice)
	return "", ErrIssuerUnavailable
}

// recover asks the issuer to send a new link to the holder of an expired token or a
// code. The error is nil if the issuer tries; supportURL may go with
// [ErrNoRecovery].
func (e *exchanger) recover(ctx context.Context, tokenOrCode string) (supportURL string, err error) {
	if e.recoverURL == "" {
		return "", ErrNoRecovery
	}
	got := e.post(ctx, e.recoverURL, tokenOrCode, nil, recoverTimeout)
	switch got.status {
	case http.StatusOK, http.StatusAccepted:
		return "", nil
	case http.StatusUnauthorized:
		return "", ErrNoRecovery
	case http.StatusNotFound:
		var answer struct {
			SupportURL string `json:"support_url"`
		}
		if json.Unmarshal(got.body, &answer) == nil && isWebAddress(answer.SupportURL) {
			supportURL = answer.SupportURL
		}
		return supportURL, ErrNoRecovery
	case http.StatusTooManyRequests:
		return "", ErrRateLimited
	}
	e.complain(ctx, e.recoverURL, got.problem, "")
	return "", ErrIssuerUnavailable
}

// complain logs what went wrong with the issuer, and nothing that was sent or
// received.
func (e *exchanger) complain(ctx context.Context, url, problem, advice string) {
	attrs := []slog.Attr{slog.String("url", url), slog.String("error", problem)}
	if advice != "" {
		attrs = append(attrs, slog.String("advice", advice))
	}
	e.logger.LogAttrs(ctx, slog.LevelWarn, "a link does not work because of the issuer's answer", attrs...)
}

// An issuerAnswer is what a call to the issuer came to.
type issuerAnswer struct {
	status  int // 0: there is none
	body    []byte
	problem string // in our words, for the log
}

// lost reports whether the issuer may have acted although its answer is unknown.
func (a *issuerAnswer) lost() bool {
	return a.status == 0 || a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout
}

// validationType returns the type of the first problem that a 422 names.
func (a *issuerAnswer) validationType() string {
	var answer struct {
		Detail []struct {
			Type string `json:"type"`
		} `json:"detail"`
	}
	if json.Unmarshal(a.body, &answer) != nil || len(answer.Detail) == 0 {
		return ""
	}
	return answer.Detail[0].Type
}

// post makes one call.
func (e *exchanger) post(ctx context.Context, url, bearer string, body []byte, timeout time.Duration) issuerAnswer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return issuerAnswer{problem: "connection"}
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := e.client.Do(request)
	if err == nil {
		defer response.Body.Close()
		body, err = io.ReadAll(io.LimitReader(response.Body, maxIssuerAnswer))
	}
	switch {
	case err != nil && outbound.TimedOut(err):
		return issuerAnswer{problem: "timeout"}
	case err != nil:
		return issuerAnswer{problem: "connection"}
	}
	return issuerAnswer{response.StatusCode, body, "status " + strconv.Itoa(response.StatusCode)}
}

var errKeyFile = errors.New("the file does not hold one API key and nothing else")

// readKey reads an API key from a file.
func readKey(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(text))
	if key == "" || len(text) == maxKeyFile || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", errKeyFile
	}
	return key, nil
}

// isRedemption reports whether a form has a redemption as this package makes them.
func isRedemption(text string) bool {
	return len(text) >= minRedemption && len(text) <= maxRedemption && !strings.ContainsFunc(text, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_'
	})
}
