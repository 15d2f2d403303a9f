package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/customersession/customersession/keys/jwk/ijson"
	"github.com/customersession/customersession/verify/internal/outbound"
)

// Limits of what [Verifier.User] asks and remembers.
const (
	// userTimeout is how long the issuer may take: a page waits.
	userTimeout = 2 * time.Second
	// userAge is how old an answer may get, and userPause how long an error is
	// repeated, which keeps a busy page from asking at each request.
	userAge   = time.Minute
	userPause = time.Second
	// maxUserRequests bounds the requests at one time, and maxUserAnswer an answer,
	// in bytes.
	maxUserRequests = 64
	maxUserAnswer   = 16 << 10
)

// Reasons why [Verifier.User] returns no user, beside those of [Verifier.Verify] and
// [ErrNoToken].
var (
	// ErrUserUnavailable means that the issuer cannot be asked now: show the page
	// without a name.
	ErrUserUnavailable = errors.New("user is unavailable")
	// ErrNoUsers means that no issuer can be asked: it knows no customers (its
	// customer directory is "request"), or the verifier does not know its address
	// (Config.Keys or Config.KeySource without a URL).
	ErrNoUsers = errors.New("issuer knows no users")
)

// A User is the person who is signed in, as the issuer's customer directory has them
// now. It is for display: what a session may do depends on [Session] alone.
// Escape Name and Email in your output.
type User struct {
	// Name is the customer's name, or the member's in the session of a member. It
	// may be empty.
	Name string
	// Email is the e-mail address of the customer or the member. It may be empty.
	Email string
	// CustomerID is the session's.
	CustomerID string
	// MemberID is the session's, empty in a session of the customer's own. Role is
	// the member's role now: "owner", "billing_manager" or "member". It is empty
	// without a MemberID.
	MemberID, Role string
}

// User returns who is signed in, for a page to show. The context is that of a
// request behind a middleware, or another one with a [Token]. The token holds no name
// and no e-mail address, so User asks the issuer, which may take 2 seconds; it
// remembers the answer for a minute, but not past the end of the session. Callers
// with the same token share one request.
//
// The error is one of [Verifier.Verify] if the session has ended since the request
// began: [ErrRevoked] also when the issuer says so, because the customer or the
// member is gone. It is [ErrUserUnavailable] if the issuer cannot be asked or ctx is
// done first, [ErrNoUsers] if no issuer can be asked, and [ErrNoToken] without a
// token. A page can go without a name:
//
//	user, err := v.User(r.Context())
//	if errors.Is(err, verify.ErrRevoked) {
//		… // lead to the page of ended sessions
//	}
//	page.Name = user.Name // "" after any other error
func (v *Verifier) User(ctx context.Context) (User, error) {
	token, ok := Token(ctx)
	if !ok {
		return User{}, ErrNoToken
	}
	verified, _, err := v.verify(ctx, token, 0)
	switch {
	case err != nil:
		return User{}, err
	case v.users == nil:
		return User{}, &failure{ErrNoUsers, nil, "the issuer's address is not known"}
	}
	return v.users.find(ctx, verified)
}

// users asks an issuer who is signed in, and remembers the answers.
type users struct {
	url    string
	client *http.Client
	// limit returns the context of a request, which ends with the verifier.
	limit func() (context.Context, context.CancelFunc)
	stop  context.CancelFunc
	// slots has room for the requests under way, and running counts them.
	slots   chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	known  map[string]*userAnswer // by token: the whole of it, byte by byte
	// queue has the same answers, oldest first, and those that have been replaced. It
	// has at most size.
	queue []*userAnswer
	size  int
}

// A userAnswer is what the issuer says about a token, once done is closed.
type userAnswer struct {
	token string
	done  chan struct{}
	user  User
	err   error
	until time.Time // the end of its use
}

// newUsers returns how to ask the issuer, nil if its address is not known. The context
// of a request is no caller's: the answer is for all of them.
//
//nolint:contextcheck,nolintlint // see above; nolintlint does not see that contextcheck uses it
func newUsers(config *Config) *users {
	issuer := config.issuerURL()
	if issuer == "" {
		return nil
	}
	verifier, stop := context.WithCancel(context.Background())
	return &users{
		url: issuer + endPath + "/user", client: outbound.Client(config.HTTPClient, userTimeout),
		limit: func() (context.Context, context.CancelFunc) { return context.WithTimeout(verifier, userTimeout) },
		stop:  stop, slots: make(chan struct{}, maxUserRequests), known: map[string]*userAnswer{},
		size: max(1, config.CacheSize),
	}
}

// close ends the requests under way, and returns when they have ended.
func (u *users) close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.stop()
	u.running.Wait()
}

// find returns the user of a token that has been verified.
func (u *users) find(ctx context.Context, verified *entry) (User, error) {
	answer := u.answer(verified)
	select {
	case <-answer.done:
		return answer.user, answer.err
	case <-ctx.Done():
		return User{}, fmt.Errorf("verify: %w: %w", ErrUserUnavailable, ctx.Err())
	}
}

// answer returns the answer about a token, which may be under way.
func (u *users) answer(verified *entry) *userAnswer {
	u.mu.Lock()
	defer u.mu.Unlock()
	if known := u.known[verified.token]; known != nil && known.usable(time.Now()) {
		return known
	}
	answer := &userAnswer{token: strings.Clone(verified.token), done: make(chan struct{})}
	if u.closed {
		answer.err = userUnavailable("the verifier is closed")
		close(answer.done)
		return answer
	}
	u.makeRoom()
	u.known[answer.token] = answer
	u.queue = append(u.queue, answer)
	u.running.Go(func() {
		defer close(answer.done)
		answer.user, answer.err = u.request(answer.token, &verified.claims.session)
		answer.until = time.Now().Add(userAge)
		if answer.err != nil {
			answer.until = time.Now().Add(userPause)
		}
	})
	return answer
}

// usable reports whether an answer is under way, or may still be used.
func (a *userAnswer) usable(now time.Time) bool {
	select {
	case <-a.done:
		return now.Before(a.until)
	default:
		return true
	}
}

// makeRoom forgets answers that may not be used any more, and the oldest one if
// there are too many. Those who wait for it get it all the same. The caller holds mu.
func (u *users) makeRoom() {
	for now := time.Now(); len(u.queue) > 0 && (len(u.queue) >= u.size || !u.queue[0].usable(now)); {
		oldest := u.queue[0]
		u.queue[0] = nil
		u.queue = u.queue[1:]
		if u.known[oldest.token] == oldest {
			delete(u.known, oldest.token)
		}
	}
}

// request asks the issuer. Errors say nothing of what was sent or received.
//
//nolint:contextcheck,nolintlint // see newUsers
func (u *users) request(token string, session *Session) (User, error) {
	ctx, cancel := u.limit()
	defer cancel()
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return User{}, userUnavailable("timeout")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url, http.NoBody)
	if err != nil {
		return User{}, userUnavailable("connection")
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	response, err := u.client.Do(request)
	if err != nil {
		return User{}, userUnavailable(networkProblem(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxUserAnswer+1))
	switch {
	case err != nil:
		return User{}, userUnavailable(networkProblem(err))
	case response.StatusCode == http.StatusUnauthorized:
		return User{}, errRevoked
	case response.StatusCode == http.StatusNotFound:
		return User{}, &failure{ErrNoUsers, nil, ""}
	case response.StatusCode != http.StatusOK:
		return User{}, userUnavailable("status " + strconv.Itoa(response.StatusCode))
	case len(body) > maxUserAnswer:
		return User{}, userUnavailable("too_large")
	}
	return parseUser(body, session)
}

// parseUser reads an answer, which must be about the session: one about somebody
// else comes from a cache in between.
func parseUser(body []byte, session *Session) (User, error) {
	var user User
	wrong := false
	_, err := ijson.Members(body, ijson.Limits{}, func(name []byte, value ijson.Value) error {
		fields := map[string]*string{
			"name": &user.Name, "email": &user.Email, "customer_id": &user.CustomerID,
			"member_id": &user.MemberID, "role": &user.Role,
		}
		if field := fields[string(name)]; field != nil && value.Kind() != ijson.Null {
			text, ok := value.Text()
			*field, wrong = string(text), wrong || !ok
		}
		return nil
	})
	if err != nil || wrong || user.CustomerID != session.CustomerID || user.MemberID != session.MemberID ||
		(user.MemberID == "") != (user.Role == "") {
		return User{}, userUnavailable("document")
	}
	return user, nil
}

func userUnavailable(detail string) error {
	return &failure{ErrUserUnavailable, nil, detail}
}

// networkProblem classifies an error of a request.
func networkProblem(err error) string {
	if outbound.TimedOut(err) {
		return "timeout"
	}
	return "connection"
}
