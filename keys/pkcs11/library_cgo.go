//go:build pkcs11

package pkcs11

import (
	"errors"
	"fmt"
	"os"

	"github.com/miekg/pkcs11"
)

// cryptoki is a PKCS #11 library that was loaded into this process.
type cryptoki struct {
	ctx *pkcs11.Ctx
}

// load loads the library, which runs its code in this process.
//
//nolint:ireturn // the other load has no such type
func load(path string) (library, error) {
	// The loader does not report its reasons; this is the most common one.
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("%s is not a PKCS #11 library for this machine, or needs a library that is missing; see ldd", path)
	}
	return cryptoki{ctx}, nil
}

// failed says which function returned the error.
func failed(call string, err error) error {
	if code, ok := errors.AsType[pkcs11.Error](err); ok {
		return &callError{Call: call, Code: uint(code)}
	}
	return err
}

func (c cryptoki) Initialize() error { return failed("C_Initialize", c.ctx.Initialize()) }

func (c cryptoki) Finalize() error { return failed("C_Finalize", c.ctx.Finalize()) }

func (c cryptoki) Unload() { c.ctx.Destroy() }

func (c cryptoki) Info() (libraryInfo, error) {
	info, err := c.ctx.GetInfo()
	return libraryInfo{
		Manufacturer: info.ManufacturerID, Description: info.LibraryDescription,
		Major: info.LibraryVersion.Major, Minor: info.LibraryVersion.Minor,
	}, failed("C_GetInfo", err)
}

func (c cryptoki) Slots() ([]uint, error) {
	slots, err := c.ctx.GetSlotList(true)
	return slots, failed("C_GetSlotList", err)
}

func (c cryptoki) SlotInfo(slot uint) (slotInfo, error) {
	info, err := c.ctx.GetSlotInfo(slot)
	return slotInfo{Manufacturer: info.ManufacturerID, Description: info.SlotDescription}, failed("C_GetSlotInfo", err)
}

func (c cryptoki) TokenInfo(slot uint) (tokenInfo, error) {
	info, err := c.ctx.GetTokenInfo(slot)
	id := tokenID{Label: info.Label, Manufacturer: info.ManufacturerID, Model: info.Model, Serial: info.SerialNumber}
	return tokenInfo{ID: id, Flags: info.Flags}, failed("C_GetTokenInfo", err)
}

func (c cryptoki) OpenSession(slot uint) (uint, error) {
	session, err := c.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	return uint(session), failed("C_OpenSession", err)
}

func (c cryptoki) CloseSession(session uint) error {
	return failed("C_CloseSession", c.ctx.CloseSession(pkcs11.SessionHandle(session)))
}

func (c cryptoki) LoggedIn(session uint) (bool, error) {
	info, err := c.ctx.GetSessionInfo(pkcs11.SessionHandle(session))
	user := info.State == pkcs11.CKS_RO_USER_FUNCTIONS || info.State == pkcs11.CKS_RW_USER_FUNCTIONS
	return user, failed("C_GetSessionInfo", err)
}

func (c cryptoki) Login(session uint, pin string) error {
	return failed("C_Login", c.ctx.Login(pkcs11.SessionHandle(session), pkcs11.CKU_USER, pin))
}

func (c cryptoki) Find(session uint, template []attribute, most int) ([]uint, error) {
	handle := pkcs11.SessionHandle(session)
	list := make([]*pkcs11.Attribute, len(template))
	for i, a := range template {
		list[i] = pkcs11.NewAttribute(a.Type, a.Value)
	}
	if err := c.ctx.FindObjectsInit(handle, list); err != nil {
		return nil, failed("C_FindObjectsInit", err)
	}
	found, _, err := c.ctx.FindObjects(handle, most)
	if err := errors.Join(failed("C_FindObjects", err), failed("C_FindObjectsFinal", c.ctx.FindObjectsFinal(handle))); err != nil {
		return nil, err
	}
	objects := make([]uint, len(found))
	for i, object := range found {
		objects[i] = uint(object)
	}
	return objects, nil
}

func (c cryptoki) Read(session, object uint, types ...uint) ([][]byte, error) {
	list := make([]*pkcs11.Attribute, len(types))
	for i, t := range types {
		list[i] = pkcs11.NewAttribute(t, nil)
	}
	list, err := c.ctx.GetAttributeValue(pkcs11.SessionHandle(session), pkcs11.ObjectHandle(object), list)
	if err != nil {
		return nil, failed("C_GetAttributeValue", err)
	}
	values := make([][]byte, len(list))
	for i, a := range list {
		values[i] = a.Value
	}
	return values, nil
}

func (c cryptoki) Sign(session, mechanism, key uint, data []byte) ([]byte, error) {
	handle := pkcs11.SessionHandle(session)
	with := []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}
	if err := c.ctx.SignInit(handle, with, pkcs11.ObjectHandle(key)); err != nil {
		return nil, failed("C_SignInit", err)
	}
	signature, err := c.ctx.Sign(handle, data)
	return signature, failed("C_Sign", err)
}
