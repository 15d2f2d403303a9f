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
	// openTimeout is for a device that does not answer when a key is opened.
	openTimeout = 10 * time.Second
	// closeTimeout is for one that does not answer at the end.
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
	// Sessions is how many sessions with each token may be open, which is how
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
	// loggingIn is held by whoever uses pins.
	loggingIn chan struct{}
	pins      *pins
	closing   chan struct{}

	mu     sync.Mutex
	closed bool
	// initialized says that the library was initialized here, and not by
	// somebody else in this process.
	initialized bool
	pools       map[tokenAddress]*pool
}

var errClosed = errors.New("the device is closed")

// New loads the library and initializes it, if that is possible now. It does
// not yet speak to a token.
// Without the build tag pkcs11 it is always an error.
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
	// Some libraries cannot be initialized while their device is away. It is
	// tried again when there is something to sign, and that error is told.
	_ = d.initialize()
	return d
}

// initialize makes the library usable, if nobody did so yet.
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

// restart initializes the library anew: some see a device or a token that was
// away only then, others can be talked to only then. That is for the one who
// initialized it, and not while another token is at work.
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
// makes sure, with a signature, that it is the one of the public key. It takes
// 10 seconds at most. The URI is one of RFC 7512; see the package on what it
// may hold. The error wraps [keys.ErrSignerAway] when there is no such token or
// key now, it lets nobody log in, or the device does not answer.
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

// Public returns the public key that belongs to the private one that the URI
// names, after a signature has proved that it does. The device must hold the
// public key as well, under the same ID. It is for who adds a key of the device
// to a manifest.
func (d *Device) Public(ctx context.Context, uri string) (*jwk.Key, error) {
	s, err := d.signer(uri)
	if err != nil {
		return nil, err
	}
	return s.prove(ctx)
}

// signer returns one for a key that was not looked up yet.
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

// pool returns the sessions with a token, the same ones at each call.
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

// Close ends all sessions and the use of the library. Signers of the device
// are of no use afterwards. A call that the device does not answer within 5
// seconds is an error, and leaves the library loaded, as the call is in there.
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

// close lets nothing more begin. It returns nil when that was so already.
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
