//go:build !unix

package file

import (
	"context"
	"os"
)

// Without advisory locks, two commands at the same instant are told apart by
// what each of them read, a moment before it writes.
func lockDir(context.Context, string) (unlock func(), err error) { return func() {}, nil }

func giveTo(string, *os.File) error { return nil }

// othersMay: permissions are not in the mode there.
func othersMay(os.FileInfo) bool { return false }
