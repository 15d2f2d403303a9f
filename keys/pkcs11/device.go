package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/customersession/customersession/keys"
	"github.com/customersession/customersession/keys/jwk"
)

const (
	defaultSessions = 8
	maxSessions     = 1024
	// openTimeout bounds the opening of a key.
	openTimeout = 10 * time.Second
	// closeTimeout bounds the closing of a device.
	closeTimeout = 5 * time.Second
)

// Config says how to reach a device. Module is required.
type Config struct {
	// Module is the absolute path of the PKCS #11 library of the device. Its
	// code runs in this process.
	Module string
	// PINFile is the file with the PIN of the user, for URIs without a
	// pin-source. It is read at each login.
	PINFile string
	// Sessions is how many sessions with each token may be open, and so how
	// many signatures it makes at the same time. Zero means 8.
	Sessions int
}

func (c *Config) check() error {
	switch {
	case !filepath.IsAbs(c.Module):
		return errors.New("the PKCS #11 library must be an absolute path")
	case c.Sessions < 0 || c.Sessions > maxSessions:
		return fmt.Errorf("%d sessions with a device are not between 1 and %d", c.Sessions, maxSessions)
	}
	if c.Sessions == 0 {
		c.Sessions = defaultSessions
	}
	return nil
}

// A Device signs with the keys that a PKCS #11 library reaches. A process
// makes one for each library, and keeps it when the manifest changes: signers
// for the same token share its sessions. It is safe for concurrent use.
type Device struct {
	config  Config
	library *guarded
	// loggingIn is held while pins is in use.
	loggingIn chan struct{}
	pins      *pins
	closing   chan struct{}

	mu     sync.Mutex
	closed bool
	// initialized means that the library was initialized here, not by other
	// code in this process.
	initialized bool
	pools       map[tokenAddress]*pool
}

var errClosed = errors.New("the device is closed")

// New loads the library, and initializes it if that is possible now. It does not
// connect to a token. Without the build tag pkcs11 it always fails.
func New(config Config) (*Device, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	library, err := load(config.Module)
	if err != nil {
		return nil, fmt.Errorf("loading the PKCS #11 library: %w", err)
	}
	return newDevice(config, library), nil
}

// newDevice takes over the library.
func newDevice(config Config, library library) *Device {
	d := &Device{
		config: config, library: &guarded{library: library},
		loggingIn: make(chan struct{}, 1), pins: newPINs(),
		closing: make(chan struct{}), pools: map[tokenAddress]*pool{},
	}
	// Some libraries cannot be initialized while their device is away. The next
	// signature tries again, and returns the error.
	_ = d.initialize()
	return d
}

// initialize initializes the library unless that is done already.
func (d *Device) initialize() error {
	err := d.library.Initialize()
	if returned(err, codeAlreadyInitialized) {
		return nil
	}
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.initialized = true
	}
	return err
}

// restart initializes the library again, without which some libraries do not see
// a device or token that is back, and others do not work again. It does so only
// if this package initialized it and no other token is in use.
func (d *Device) restart(p *pool) error {
	d.mu.Lock()
	free := d.initialized
	for _, other := range d.pools {
		free = free && (other == p || !other.connected())
	}
	d.mu.Unlock()
	if !free {
		return nil
	}
	return d.library.restart()
}

// Open is a [keys.OpenSigner]. It finds the private key that the URI names and
// makes sure, with a signature, that it belongs to the public key. It takes at
// most 10 seconds. The URI is one of RFC 7512; the package comment lists what it
// may hold. The error wraps [keys.ErrSignerAway] if there is no such token or key
// now, logging in is not possible, or the device does not answer.
//
//nolint:ireturn // a keys.OpenSigner
func (d *Device) Open(uri string, public *jwk.Key) (keys.Signer, error) {
	s, err := d.signer(uri)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	s.public = public
	_, err = s.prove(ctx)
	if away(err) {
		return nil, fmt.Errorf("%w: %w", keys.ErrSignerAway, err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Public returns the public key of the private key that the URI names, for a new
// key in a manifest. A signature proves that the two belong together. The device
// must hold the public key, too, under the same ID.
func (d *Device) Public(ctx context.Context, uri string) (*jwk.Key, error) {
	s, err := d.signer(uri)
	if err != nil {
		return nil, err
	}
	return s.prove(ctx)
}

// signer returns a signer for a key that is not looked up yet.
func (d *Device) signer(uri string) (*signer, error) {
	a, err := parseURI(uri, d.config.Module)
	if err != nil {
		return nil, err
	}
	if a.token.pinFile == "" {
		a.token.pinFile = d.config.PINFile
	}
	p, err := d.pool(a.token)
	if err != nil {
		return nil, err
	}
	return &signer{pool: p, key: a.key}, nil
}

// pool returns the sessions with a token, the same pool at each call.
func (d *Device) pool(token tokenAddress) (*pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	p := d.pools[token]
	if p == nil {
		p = newPool(d, token)
		d.pools[token] = p
	}
	return p, nil
}

// Close closes all sessions and unloads the library; signers of the device fail
// afterwards. If the device does not answer a call within 5 seconds, Close fails
// and leaves the library loaded, as the call is still in it.
func (d *Device) Close() error {
	pools := d.close()
	timeout, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, p := range pools {
		if err := p.close(timeout); err != nil {
			return fmt.Errorf("closing the device: %w", err)
		}
	}
	if pools == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.initialized {
		err = d.library.Finalize()
	}
	d.library.Unload()
	if returned(err, codeNotInitialized) {
		return nil
	}
	return err
}

// close stops new work. It returns nil if the device is closed already.
func (d *Device) close() []*pool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	close(d.closing)
	pools := make([]*pool, 0, len(d.pools))
	for _, p := range d.pools {
		pools = append(pools, p)
	}
	return pools
}
