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

// A Secret is the [keys.Store] in a Secret of Kubernetes. It is safe for
// concurrent use.
type Secret struct {
	namespace, name, key string
	timeout              time.Duration
	// logIn is a function, so that whatever prints a Secret does not print the
	// credentials that are in a kubeconfig.
	logIn login
}

// A login makes a client with credentials that it reads anew.
type login func(context.Context) (*client, error)

// String returns "Secret namespace/name", with the data key unless that is the
// default one.
func (s *Secret) String() string {
	if s.key == defaultKey {
		return "Secret " + s.namespace + "/" + s.name
	}
	return fmt.Sprintf("%q of Secret %s/%s", s.key, s.namespace, s.name)
}

// Read returns the manifest, and the revision that names what was read. The
// error wraps [fs.ErrNotExist] when there is no such Secret, or one without a
// manifest. A request that finds nobody, or a server in trouble, is repeated
// within the time that there is.
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
	c, err := s.client(ctx)
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

// Write puts m in the place of the manifest that was read with that revision.
// An empty revision means that there was none: then the Secret is created, or
// the manifest is added to one that has no other. The error wraps
// [keys.ErrConflict] when something else is there by now, and [fs.ErrExist] as
// well when the revision is empty. It says so when the write may have taken
// place all the same. No write is ever sent twice.
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
	c, err := s.client(ctx)
	if err != nil {
		return err
	}
	o, err := s.get(ctx, c)
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

// mayUpdate tells why the manifest may not be written to what is there.
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
		return fmt.Errorf("it is of type %q, and so for something else than a manifest; name another Secret", o.Type)
	}
	return nil
}

// errExists is that there is a manifest where there should be none.
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
	// The object names the UID and the resourceVersion that it was read with,
	// and the API server compares both in the moment it writes.
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

// client logs in. The causes of what can go wrong are hidden: a token file that
// is missing must not look like a manifest that is missing.
func (s *Secret) client(ctx context.Context) (*client, error) {
	c, err := s.logIn(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.New(err.Error())
	}
	return c, nil
}

func (s *Secret) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.timeout,
		fmt.Errorf("it took longer than %s: %w", s.timeout, context.DeadlineExceeded))
}

func (s *Secret) collection() string { return "/api/v1/namespaces/" + s.namespace + "/secrets" }
func (s *Secret) path() string       { return s.collection() + "/" + s.name }
