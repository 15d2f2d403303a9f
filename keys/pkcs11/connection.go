package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A connection is the sessions with one token from when it was found until it
// is lost, and the handles of its keys, which are valid as long.
type connection struct {
	pool  *pool
	slot  uint
	token tokenInfo
	// idle has room for all sessions that may be open.
	idle chan uint
	gone chan struct{}

	mu     sync.Mutex
	closed bool
	count  int // of open sessions
	keys   map[keyAddress]uint
}

var (
	errGone      = errors.New("the connection to the token was lost")
	errLogin     = errors.New("cannot log in")
	errPINLocked = errors.New("the token has locked the PIN; its security officer can set a new one")
	errFinalTry  = errors.New("one more wrong PIN would lock the token, so this program does not try;" +
		" log in by hand with the PIN that is in its file, as with pkcs11-tool --login --list-objects, and the token counts anew")
)

func newConnection(p *pool, slot uint, token tokenInfo) *connection {
	return &connection{
		pool: p, slot: slot, token: token,
		idle: make(chan uint, cap(p.permits)), gone: make(chan struct{}),
		keys: map[keyAddress]uint{},
	}
}

func (c *connection) library() *guarded { return c.pool.device.library }

// take returns a session for the use of the caller, which must put it back.
func (c *connection) take(ctx context.Context) (uint, error) {
	select {
	case session := <-c.idle:
		return session, nil
	default:
	}
	session, err := c.open(ctx)
	if !returned(err, codeSessionCount) || c.openSessions() == 0 {
		return session, err
	}
	// The token allows fewer sessions than there are permits.
	select {
	case session := <-c.idle:
		return session, nil
	case <-c.gone:
		return 0, errGone
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for a session; the token allows no more of them: %w", context.Cause(ctx))
	}
}

func (c *connection) openSessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// open opens another session, in which the user is logged in.
func (c *connection) open(ctx context.Context) (uint, error) {
	session, err := c.library().OpenSession(c.slot)
	if err != nil {
		return 0, err
	}
	if err := c.logIn(ctx, session); err != nil {
		_ = c.library().CloseSession(session) // the error is that of the login
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	return session, nil
}

// put returns a session. One in which a call failed is not used again, as its
// state is unknown.
func (c *connection) put(session uint, err error) {
	_, failed := errors.AsType[*callError](err)
	c.mu.Lock()
	keep := !c.closed && !failed
	if keep {
		c.idle <- session
	} else {
		c.count--
	}
	c.mu.Unlock()
	if !keep {
		_ = c.library().CloseSession(session) // it may be closed already
	}
}

// close closes the idle sessions, and the others when they are put back.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.gone)
	for {
		select {
		case session := <-c.idle:
			c.count--
			_ = c.library().CloseSession(session) // it may be closed already
		default:
			return
		}
	}
}

// logIn logs the user in unless the user is logged in already: a login is for all
// sessions of the process with the token, and ends with the last of them.
func (c *connection) logIn(ctx context.Context, session uint) error {
	if !c.needsLogin() {
		return nil
	}
	d := c.pool.device
	select {
	case d.loggingIn <- struct{}{}:
		defer func() { <-d.loggingIn }()
	case <-ctx.Done():
		return fmt.Errorf("waiting to log in: %w", context.Cause(ctx))
	}
	if in, err := c.library().LoggedIn(session); in || err != nil {
		return err
	}
	info, err := c.library().TokenInfo(c.slot)
	switch {
	case err != nil:
		return err
	case info.Flags&flagUserPINLocked != 0:
		return fmt.Errorf("%w: %w", errLogin, errPINLocked)
	case info.Flags&flagUserPINFinalTry != 0:
		return fmt.Errorf("%w: %w", errLogin, errFinalTry)
	}
	err = d.pins.use(c.token.ID, c.pool.token.pinFile, func(pin string) error {
		return c.library().Login(session, pin)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errLogin, err)
	}
	return nil
}

func (c *connection) needsLogin() bool { return c.token.Flags&flagLoginRequired != 0 }

// key returns the handle of a private key, and looks it up once a connection.
func (c *connection) key(session uint, address keyAddress) (uint, error) {
	c.mu.Lock()
	key, ok := c.keys[address]
	c.mu.Unlock()
	if ok {
		return key, nil
	}
	key, err := c.findKey(session, address)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[address] = key
	return key, nil
}
