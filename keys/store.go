package keys

import (
	"context"
	"errors"
)

// ErrConflict is that a manifest was changed after it was read. Nothing was
// written; read it again, and decide anew.
var ErrConflict = errors.New("the manifest was changed by somebody else in the meantime")

// A Store is where a manifest is kept for those who change it, such as a [File]
// or a Secret of Kubernetes. Implementations are safe for concurrent use, also
// by several processes on several machines.
type Store interface {
	// Read returns the manifest, and the revision that names what was read.
	// The error wraps [fs.ErrNotExist] when there is none. It holds nothing of
	// a private key.
	Read(ctx context.Context) (m *Manifest, revision string, err error)
	// Write puts m in the place of the manifest that was read with that
	// revision, as a whole or not at all. An empty revision means that there
	// was none. The error wraps [ErrConflict] when something else is there by
	// now. Any other error may mean that the write took place: read again.
	Write(ctx context.Context, m *Manifest, revision string) error
	// String names the place in messages, without a secret.
	String() string
}
