//go:build !unix

package file

import (
	"context"
	"os"
)

// Without advisory locks, concurrent commands are only kept apart by the
// revision that each of them read.
func lockDir(context.Context, string) (unlock func(), err error) { return func() {}, nil }

func giveTo(string, *os.File) error { return nil }

// othersMay is false, as the mode has no permissions.
func othersMay(os.FileInfo) bool { return false }

// everyoneMayWrite is false for the same reason.
func everyoneMayWrite(os.FileInfo) bool { return false }
