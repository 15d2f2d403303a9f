//go:build !pkcs11

package pkcs11

import "errors"

// load fails: calling the library takes cgo, for which every build would need a C
// compiler and every image a libc.
//
//nolint:ireturn // the other load returns what needs the build tag
func load(string) (library, error) {
	return nil, errors.New("this program was built without support for PKCS #11; build it with -tags pkcs11")
}
