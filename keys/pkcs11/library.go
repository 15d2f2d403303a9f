package pkcs11

// A library is what this package needs of a PKCS #11 library. There are two
// implementations: the one that cgo loads, in programs built with the tag
// pkcs11, and the one of the tests. An error that a function of the library
// returned is a *callError. Any method may block as long as the device does;
// all may be called concurrently, but with one session one at a time.
type library interface {
	Initialize() error
	Finalize() error
	// Unload is the last call.
	Unload()
	Info() (libraryInfo, error)
	// Slots returns the slots with a token in them.
	Slots() ([]uint, error)
	SlotInfo(slot uint) (slotInfo, error)
	TokenInfo(slot uint) (tokenInfo, error)
	OpenSession(slot uint) (session uint, err error)
	CloseSession(session uint) error
	// LoggedIn reports whether the session is that of a logged-in user.
	LoggedIn(session uint) (bool, error)
	Login(session uint, pin string) error
	// Find returns at most that many objects.
	Find(session uint, template []attribute, most int) (objects []uint, err error)
	// Read returns the values in the order of the types.
	Read(session, object uint, types ...uint) (values [][]byte, err error)
	Sign(session, mechanism, key uint, data []byte) (signature []byte, err error)
}

type libraryInfo struct {
	Manufacturer, Description string
	Major, Minor              byte
}

type slotInfo struct {
	Manufacturer, Description string
}

type tokenInfo struct {
	ID    tokenID
	Flags uint
}

// A tokenID identifies a token, whatever slot it is in.
type tokenID struct {
	Label, Manufacturer, Model, Serial string
}

// An attribute is what an object must have. The value is a uint, a string or a
// []byte.
type attribute struct {
	Type  uint
	Value any
}

// The constants of PKCS #11 that this package uses.
const (
	flagLoginRequired    = 0x4
	flagTokenInitialized = 0x400
	flagUserPINFinalTry  = 0x20000
	flagUserPINLocked    = 0x40000

	classPublicKey  = 0x2
	classPrivateKey = 0x3

	attributeClass          = 0x0
	attributeLabel          = 0x3
	attributeKeyType        = 0x100
	attributeID             = 0x102
	attributeModulus        = 0x120
	attributePublicExponent = 0x122
	attributeECPoint        = 0x181

	keyTypeRSA       = 0x0
	keyTypeEC        = 0x3
	keyTypeECEdwards = 0x40

	mechanismRSAPKCS = 0x1
	mechanismECDSA   = 0x1041
	mechanismEdDSA   = 0x1057
)
