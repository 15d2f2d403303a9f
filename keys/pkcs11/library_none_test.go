//go:build !pkcs11

package pkcs11_test

import (
	"testing"

	"github.com/customersession/customersession/keys/pkcs11"
)

func TestBuiltWithout(t *testing.T) {
	t.Parallel()
	d, err := pkcs11.New(pkcs11.Config{Module: module})
	if d != nil {
		t.Error("got a device")
	}
	mustFail(t, err, "this program was built without support for PKCS #11; build it with -tags pkcs11")
}
