package command

import (
	"context"

	"github.com/customersession/customersession/keys"
)

// A manifestStore is where a manifest is kept: a file, or a Secret of
// Kubernetes. It is safe for concurrent use, also by several machines.
type manifestStore interface {
	// Read returns the manifest, and the revision that names what was read.
	// The error wraps [fs.ErrNotExist] when there is none.
	Read(ctx context.Context) (m *keys.Manifest, revision string, err error)
	// Write puts m in the place of the manifest that was read with that
	// revision, as a whole or not at all. An empty revision means that there
	// was none. The error wraps [keys.ErrConflict] when something else is there
	// by now. After any other error the write may have taken place.
	Write(ctx context.Context, m *keys.Manifest, revision string) error
	// String names the place in messages, without a secret.
	String() string
}
