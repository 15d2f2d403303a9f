package kubesecret

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/customersession/customersession/keys"
)

// A Secret keeps a manifest in a Secret of Kubernetes. It is safe for concurrent
// use.
type Secret struct {
	namespace, name, key string
	timeout              time.Duration
	// logIn is a function so that printing a Secret does not print the
	// credentials of a kubeconfig.
	logIn login
}

// String returns "Secret namespace/name", with the data key unless it is the
// default.
func (s *Secret) String() string {
	if s.key == defaultKey {
		return "Secret " + s.namespace + "/" + s.name
	}
	return fmt.Sprintf("%q of Secret %s/%s", s.key, s.namespace, s.name)
}

// Read returns the manifest and the revision that it was read with. The error
// wraps [fs.ErrNotExist] if the Secret or the manifest in it does not exist. If
// the server cannot be reached or is overloaded, Read tries again until the
// timeout.
func (s *Secret) Read(ctx context.Context) (m *keys.Manifest, revision string, err error) {
	ctx, cancel := s.withTimeout(ctx)
	defer cancel()
	m, revision, err = s.read(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("reading %s: %w", s, err)
	}
	return m, revision, nil
}

func (s *Secret) read(ctx context.Context) (*keys.Manifest, string, error) {
	c, err := s.logIn(ctx)
	if err != nil {
		return nil, "", err
	}
	o, err := s.get(ctx, c)
	if err != nil {
		return nil, "", err
	}
	data, there := o.Data[s.key]
	if !there {
		return nil, "", fmt.Errorf("it has no member %q: %w", s.key, fs.ErrNotExist)
	}
	m, err := keys.ParseManifest(data)
	if err != nil {
		return nil, "", err
	}
	return m, o.revision(), nil
}

// Write replaces the manifest that was read with that revision. An empty
// revision means that there was no manifest: Write then creates the Secret, or
// adds the manifest to a Secret without one. The error wraps [keys.ErrConflict]
// if the Secret has changed since, and also [fs.ErrExist] if the revision is
// empty. If this clock and the API server's differ by more than the skew of the
// policy, nothing is written: the schedule in m would be wrong. If the write may
// have taken place in spite of an error, the error says so. No write is sent
// twice.
func (s *Secret) Write(ctx context.Context, m *keys.Manifest, revision string) error {
	ctx, cancel := s.withTimeout(ctx)
	defer cancel()
	if err := s.write(ctx, m, revision); err != nil {
		return fmt.Errorf("writing %s: %w", s, err)
	}
	return nil
}

func (s *Secret) write(ctx context.Context, m *keys.Manifest, revision string) error {
	if err := m.Validate(); err != nil {
		return err
	}
	c, err := s.logIn(ctx)
	if err != nil {
		return err
	}
	o, err := s.get(ctx, c)
	if wrong := checkClock(time.Now(), c.ahead, m.Policy.Skew); wrong != nil {
		return wrong
	}
	if errors.Is(err, fs.ErrNotExist) {
		if revision != "" {
			return fmt.Errorf("it was deleted: %w", keys.ErrConflict)
		}
		return s.create(ctx, c, m)
	}
	if err != nil {
		return err
	}
	if err := s.mayUpdate(o, revision); err != nil {
		return err
	}
	return s.update(ctx, c, o, m)
}

// checkClock returns an error if this clock, which shows now, is ahead of the API
// server's by too much, or behind it.
func checkClock(now time.Time, ahead, skew time.Duration) error {
	if ahead.Abs() <= skew+time.Second {
		return nil
	}
	where := "ahead of"
	if ahead < 0 {
		where = "behind"
	}
	return fmt.Errorf("the clock here is %s the API server's: here it is %s, there %s; nothing was written. "+
		"Correct the clock that is wrong, and try again",
		where, now.UTC().Format(time.RFC3339), now.Add(-ahead).UTC().Format(time.RFC3339))
}

// mayUpdate explains why the manifest may not be written to that Secret.
func (s *Secret) mayUpdate(o *object, revision string) error {
	_, there := o.Data[s.key]
	switch {
	case revision == "" && there:
		return errExists
	case revision != "" && revision != o.revision():
		return keys.ErrConflict
	case o.Immutable:
		return errors.New("it is immutable; write to another Secret, and let the servers mount that one")
	case !there && o.Type != opaque:
		return fmt.Errorf("it is of type %q, which is not for a manifest; name another Secret", o.Type)
	}
	return nil
}

// errExists means that there is a manifest where there should be none.
var errExists = fmt.Errorf("%w: %w", keys.ErrConflict, fs.ErrExist)

func (s *Secret) create(ctx context.Context, c *client, m *keys.Manifest) error {
	body := newObject(s.namespace, s.name, s.key, m.Encode())
	err := c.write(ctx, http.MethodPost, s.collection(), body)
	if hasStatus(err, http.StatusConflict) {
		return errExists
	}
	return s.explain(err, "create")
}

func (s *Secret) update(ctx context.Context, c *client, o *object, m *keys.Manifest) error {
	// The object names the UID and the resourceVersion that it was read with.
	// The API server compares both when it writes.
	err := c.write(ctx, http.MethodPut, s.path(), o.with(s.key, m.Encode()))
	switch {
	case hasStatus(err, http.StatusConflict):
		return keys.ErrConflict
	case hasStatus(err, http.StatusNotFound):
		return fmt.Errorf("it was deleted: %w", keys.ErrConflict)
	default:
		return s.explain(err, "update")
	}
}

// get returns the Secret, or an error that wraps [fs.ErrNotExist].
func (s *Secret) get(ctx context.Context, c *client) (*object, error) {
	body, err := c.read(ctx, s.path(), s.timeout/attempts)
	if status, ok := errors.AsType[*statusError](err); ok && status.noSuchSecret() {
		return nil, fmt.Errorf("there is no such Secret: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, s.explain(err, "get")
	}
	return parseObject(body, s.namespace, s.name)
}

func (s *Secret) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.timeout,
		fmt.Errorf("it took longer than %s: %w", s.timeout, context.DeadlineExceeded))
}

func (s *Secret) collection() string { return "/api/v1/namespaces/" + s.namespace + "/secrets" }
func (s *Secret) path() string       { return s.collection() + "/" + s.name }
