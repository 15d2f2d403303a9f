//go:build !unix

package orgfile

import (
	"context"
	"errors"
)

func lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }

// replace is for systems that can replace a file that others have open.
func replace(string, []byte) error {
	return errors.New("files cannot be replaced safely on this system; edit it yourself")
}
