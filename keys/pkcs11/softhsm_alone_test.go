//go:build pkcs11

package pkcs11_test

import (
	"errors"
	"os"
	"testing"
	"time"

	miekg "github.com/miekg/pkcs11"

	"github.com/customersession/customersession/keys/pkcs11"
)

// The tests of this file are not parallel: what they do to the library, every
// device of the process would feel.

// untilItSigns waits for the end of the pause after the device was lost.
func untilItSigns(t *testing.T, sign func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * pkcs11.RestTime)
	for {
		err := sign()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the device is back, and still: %v", err)
		}
		<-time.After(pkcs11.RestTime / 20)
	}
}

// TestSoftHSMFinalized: other code in this process finalizes the library.
func TestSoftHSMFinalized(t *testing.T) {
	h := useSoftHSM(t)
	d := h.open(t, 4)
	sign := h.signerFor(t, d, "finalized")
	for range 3 {
		must(t, h.ctx.Finalize())
		must(t, sign())
	}
	must(t, d.Close())
	// The device initialized the library last, and so finalized it.
	must(t, h.ctx.Initialize())
}

// TestSoftHSMTokenMovedAway: the token is gone for a while, and comes back. To
// SoftHSM its keys are gone for good then, until it is initialized again.
func TestSoftHSMTokenMovedAway(t *testing.T) {
	h := useSoftHSM(t)
	must(t, h.ctx.Finalize())
	d := h.open(t, 4)
	sign := h.signerFor(t, d, "moved")
	home := h.directories["moved"]
	for range 3 {
		must(t, os.Rename(home, home+".away"))
		for range 50 {
			if sign() == nil {
				t.Fatal("signed without the token")
			}
		}
		must(t, os.Rename(home+".away", home))
		untilItSigns(t, sign)
	}
	must(t, d.Close())
	must(t, h.ctx.Initialize())
}

// TestSoftHSMKeyGone: while its label is another one, the key is not there.
func TestSoftHSMKeyGone(t *testing.T) {
	h := useSoftHSM(t)
	sign := h.signerFor(t, h.open(t, 2), "renamed")
	must(t, sign())
	session, err := h.ctx.OpenSession(h.slot(t, "renamed"), miekg.CKF_SERIAL_SESSION|miekg.CKF_RW_SESSION)
	must(t, err)
	h.rename(t, session, "other")
	must(t, h.ctx.Logout(session)) // with which the handle is lost
	for range 10 {
		mustFail(t, sign(), "is no longer in the token")
	}
	h.rename(t, session, "es")
	must(t, h.ctx.CloseSession(session))
	untilItSigns(t, sign)
}

// rename gives the only private key of the token another label.
func (h *softHSM) rename(t *testing.T, session miekg.SessionHandle, label string) {
	t.Helper()
	err := h.ctx.Login(session, miekg.CKU_USER, rightPIN)
	if code, ok := errors.AsType[miekg.Error](err); !ok || code != miekg.CKR_USER_ALREADY_LOGGED_IN {
		must(t, err)
	}
	must(t, h.ctx.FindObjectsInit(session, []*miekg.Attribute{miekg.NewAttribute(miekg.CKA_CLASS, miekg.CKO_PRIVATE_KEY)}))
	found, _, err := h.ctx.FindObjects(session, 1)
	must(t, err)
	must(t, h.ctx.FindObjectsFinal(session))
	must(t, h.ctx.SetAttributeValue(session, found[0], []*miekg.Attribute{miekg.NewAttribute(miekg.CKA_LABEL, label)}))
}
