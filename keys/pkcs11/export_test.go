package pkcs11

// What a fake library is made of.
type (
	Library     = library
	LibraryInfo = libraryInfo
	SlotInfo    = slotInfo
	TokenInfo   = tokenInfo
	TokenID     = tokenID
	Attribute   = attribute
	CallError   = callError
)

// The numbers that a fake library knows.
const (
	FlagLoginRequired    = flagLoginRequired
	FlagTokenInitialized = flagTokenInitialized
	FlagUserPINFinalTry  = flagUserPINFinalTry
	FlagUserPINLocked    = flagUserPINLocked

	ClassPublicKey  = classPublicKey
	ClassPrivateKey = classPrivateKey

	AttributeClass          = attributeClass
	AttributeLabel          = attributeLabel
	AttributeKeyType        = attributeKeyType
	AttributeID             = attributeID
	AttributeModulus        = attributeModulus
	AttributePublicExponent = attributePublicExponent
	AttributeECPoint        = attributeECPoint

	KeyTypeRSA       = keyTypeRSA
	KeyTypeEC        = keyTypeEC
	KeyTypeECEdwards = keyTypeECEdwards

	MechanismRSAPKCS = mechanismRSAPKCS
	MechanismECDSA   = mechanismECDSA
	MechanismEdDSA   = mechanismEdDSA

	RestTime     = restTime
	CloseTimeout = closeTimeout
)

// NewWith is New with a library that is loaded already.
func NewWith(config Config, library Library) (*Device, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	return newDevice(config, library), nil
}

// ParseURI returns what a URI says, by the names of its attributes.
func ParseURI(uri, module string) (map[string]string, error) {
	a, err := parseURI(uri, module)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for name, w := range map[string]wanted{
		"token": a.token.label, "manufacturer": a.token.manufacturer, "serial": a.token.serial,
		"model": a.token.model, "slot-id": a.token.slotID, "slot-manufacturer": a.token.slotManufacturer,
		"slot-description": a.token.slotDescription, "library-manufacturer": a.token.libraryManufacturer,
		"library-description": a.token.libraryDescription, "library-version": a.token.libraryVersion,
		"object": a.key.label, "id": a.key.id, "pin-source": {a.token.pinFile, a.token.pinFile != ""},
	} {
		if w.set {
			found[name] = w.value
		}
	}
	return found, nil
}
