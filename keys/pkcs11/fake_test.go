package pkcs11_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"math/big"
	"slices"
	"sync"
	"testing"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/keys/pkcs11"
)

// fake is a PKCS #11 library with one token, in memory. It works, and can be
// told to fail.
type fake struct {
	mu          sync.Mutex
	initialized bool
	unloaded    bool
	token       pkcs11.TokenInfo
	pin         string
	maxSessions int
	loggedIn    bool
	sessions    map[uint]bool
	// handles count up and are never used twice.
	last    uint
	objects map[uint]*object

	// before is called at the start of each call, without the lock; an error
	// is what the call returns.
	before func(call string) error
	calls  map[string]int
	// most is how many sessions were open at the same time.
	most int
}

type object struct {
	class, kind uint
	label       string
	id          []byte
	key         crypto.Signer
	// rawPoint has the point without its OCTET STRING.
	rawPoint bool
	// point is there instead of that of the key.
	point []byte
}

const rightPIN = "right-PIN-7391"

func newFake(objects ...*object) *fake {
	f := &fake{
		token: pkcs11.TokenInfo{
			ID:    pkcs11.TokenID{Label: "sessions", Manufacturer: "fake", Model: "v1", Serial: "1"},
			Flags: pkcs11.FlagLoginRequired | pkcs11.FlagTokenInitialized,
		},
		pin: rightPIN, maxSessions: 1000, sessions: map[uint]bool{}, objects: map[uint]*object{},
		calls: map[string]int{}, before: func(string) error { return nil },
	}
	for _, o := range objects {
		f.add(o)
	}
	return f
}

func (f *fake) add(o *object) {
	f.last++
	f.objects[f.last] = o
}

// pair makes the two objects of a new key.
func pair(t testing.TB, algorithm jwk.Algorithm, label, id string) (private, public *object) {
	t.Helper()
	var key crypto.Signer
	var kind uint
	var err error
	switch algorithm {
	case jwk.RS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
		kind = pkcs11.KeyTypeRSA
	case jwk.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
		kind = pkcs11.KeyTypeECEdwards
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		kind = pkcs11.KeyTypeEC
	}
	must(t, err)
	private = &object{class: pkcs11.ClassPrivateKey, kind: kind, label: label, id: []byte(id), key: key}
	other := *private
	other.class = pkcs11.ClassPublicKey
	return private, &other
}

func (o *object) public(t testing.TB) *jwk.Key {
	t.Helper()
	key, err := jwk.New(o.key.Public())
	must(t, err)
	return key
}

// set changes the fake under its lock.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

// enter locks; a session that is not zero must be open.
func (f *fake) enter(call string, session uint) error {
	f.mu.Lock()
	f.calls[call]++
	before := f.before
	f.mu.Unlock()
	err := before(call)
	f.mu.Lock()
	switch {
	case err != nil:
		return err
	case !f.initialized && call != "C_Initialize":
		return &pkcs11.CallError{Call: call, Code: 0x190}
	case session != 0 && !f.sessions[session]:
		return &pkcs11.CallError{Call: call, Code: 0xB3}
	}
	return nil
}

func (f *fake) Initialize() error {
	err := f.enter("C_Initialize", 0)
	defer f.mu.Unlock()
	if err == nil && f.initialized {
		return &pkcs11.CallError{Call: "C_Initialize", Code: 0x191}
	}
	f.initialized = err == nil
	return err
}

func (f *fake) Finalize() error {
	err := f.enter("C_Finalize", 0)
	defer f.mu.Unlock()
	f.initialized, f.loggedIn = false, false
	clear(f.sessions)
	return err
}

func (f *fake) Unload() { f.set(func() { f.unloaded = true }) }

func (f *fake) Info() (pkcs11.LibraryInfo, error) {
	err := f.enter("C_GetInfo", 0)
	defer f.mu.Unlock()
	return pkcs11.LibraryInfo{Manufacturer: "fake", Description: "in memory", Major: 2, Minor: 40}, err
}

func (f *fake) Slots() ([]uint, error) {
	err := f.enter("C_GetSlotList", 0)
	defer f.mu.Unlock()
	return []uint{7}, err
}

func (f *fake) SlotInfo(uint) (pkcs11.SlotInfo, error) {
	err := f.enter("C_GetSlotInfo", 0)
	defer f.mu.Unlock()
	return pkcs11.SlotInfo{Manufacturer: "fake", Description: "slot"}, err
}

func (f *fake) TokenInfo(uint) (pkcs11.TokenInfo, error) {
	err := f.enter("C_GetTokenInfo", 0)
	defer f.mu.Unlock()
	return f.token, err
}

func (f *fake) OpenSession(uint) (uint, error) {
	err := f.enter("C_OpenSession", 0)
	defer f.mu.Unlock()
	if err == nil && len(f.sessions) >= f.maxSessions {
		err = &pkcs11.CallError{Call: "C_OpenSession", Code: 0xB1}
	}
	if err != nil {
		return 0, err
	}
	f.last++
	f.sessions[f.last] = true
	f.most = max(f.most, len(f.sessions))
	return f.last, nil
}

func (f *fake) CloseSession(session uint) error {
	err := f.enter("C_CloseSession", session)
	defer f.mu.Unlock()
	delete(f.sessions, session)
	f.loggedIn = f.loggedIn && len(f.sessions) > 0
	return err
}

func (f *fake) LoggedIn(session uint) (bool, error) {
	err := f.enter("C_GetSessionInfo", session)
	defer f.mu.Unlock()
	return f.loggedIn, err
}

func (f *fake) Login(session uint, pin string) error {
	err := f.enter("C_Login", session)
	defer f.mu.Unlock()
	switch {
	case err != nil:
		return err
	case f.loggedIn:
		return &pkcs11.CallError{Call: "C_Login", Code: 0x100}
	case pin != f.pin:
		return &pkcs11.CallError{Call: "C_Login", Code: 0xA0}
	}
	f.loggedIn = true
	return nil
}

func (f *fake) Find(session uint, template []pkcs11.Attribute, most int) ([]uint, error) {
	err := f.enter("C_FindObjects", session)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var found []uint
	for handle, o := range f.objects {
		if (f.loggedIn || o.class == pkcs11.ClassPublicKey) && o.fits(template) {
			found = append(found, handle)
		}
	}
	slices.Sort(found)
	return found[:min(most, len(found))], nil
}

func (o *object) fits(template []pkcs11.Attribute) bool {
	for _, a := range template {
		fits := true
		switch value := a.Value.(type) {
		case uint:
			fits = a.Type == pkcs11.AttributeClass && value == o.class
		case string:
			fits = a.Type == pkcs11.AttributeLabel && value == o.label
		case []byte:
			fits = a.Type == pkcs11.AttributeID && bytes.Equal(value, o.id)
		}
		if !fits {
			return false
		}
	}
	return true
}

func (f *fake) Read(session, handle uint, types ...uint) ([][]byte, error) {
	err := f.enter("C_GetAttributeValue", session)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var values [][]byte
	for _, kind := range types {
		values = append(values, f.objects[handle].value(kind))
	}
	return values, nil
}

func (o *object) value(kind uint) []byte {
	switch kind {
	case pkcs11.AttributeID:
		return o.id
	case pkcs11.AttributeKeyType:
		return binary.NativeEndian.AppendUint64(nil, uint64(o.kind))
	}
	if o.point != nil {
		return o.point
	}
	switch public := o.key.Public().(type) {
	case *rsa.PublicKey:
		if kind == pkcs11.AttributeModulus {
			return public.N.Bytes()
		}
		return big.NewInt(int64(public.E)).Bytes()
	case ed25519.PublicKey:
		return o.wrap(public)
	default:
		point, _ := public.(*ecdsa.PublicKey).Bytes()
		return o.wrap(point)
	}
}

func (o *object) wrap(point []byte) []byte {
	if o.rawPoint {
		return point
	}
	return append([]byte{4, byte(len(point))}, point...)
}

func (f *fake) Sign(session, mechanism, key uint, data []byte) ([]byte, error) {
	err := f.enter("C_Sign", session)
	o := f.objects[key]
	in := f.loggedIn
	f.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case !in:
		return nil, &pkcs11.CallError{Call: "C_SignInit", Code: 0x101}
	case o == nil:
		return nil, &pkcs11.CallError{Call: "C_SignInit", Code: 0x60}
	}
	wanted := map[uint]uint{
		pkcs11.KeyTypeRSA: pkcs11.MechanismRSAPKCS, pkcs11.KeyTypeEC: pkcs11.MechanismECDSA, pkcs11.KeyTypeECEdwards: pkcs11.MechanismEdDSA,
	}
	if wanted[o.kind] != mechanism {
		return nil, &pkcs11.CallError{Call: "C_SignInit", Code: 0x63}
	}
	switch k := o.key.(type) {
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, k, 0, data)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, data), nil
	default:
		r, s, err := ecdsa.Sign(rand.Reader, k.(*ecdsa.PrivateKey), data)
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature, nil
	}
}
