package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A callError is the return value of a function of the library, other than
// CKR_OK.
type callError struct {
	Call string
	Code uint
}

func (e *callError) Error() string {
	if name := codeName(e.Code); name != "" {
		return e.Call + ": " + name
	}
	return fmt.Sprintf("%s: return value 0x%08X", e.Call, e.Code)
}

// The return values that this package depends on.
const (
	codeArgumentsBad          = 0x7
	codeAttributeSensitive    = 0x11
	codeAttributeTypeInvalid  = 0x12
	codeAttributeValueInvalid = 0x13
	codeDataInvalid           = 0x20
	codeDataLenRange          = 0x21
	codeFunctionNotSupported  = 0x54
	codeKeySizeRange          = 0x62
	codeKeyTypeInconsistent   = 0x63
	codeKeyNotPermitted       = 0x68
	codeMechanismInvalid      = 0x70
	codeMechanismParamInvalid = 0x71
	codePINIncorrect          = 0xA0
	codePINInvalid            = 0xA1
	codePINLenRange           = 0xA2
	codePINExpired            = 0xA3
	codePINLocked             = 0xA4
	codeSessionCount          = 0xB1
	codeTemplateIncomplete    = 0xD0
	codeTemplateInconsistent  = 0xD1
	codeAlreadyLoggedIn       = 0x100
	codeNotLoggedIn           = 0x101
	codePINNotInitialized     = 0x102
	codeAnotherLoggedIn       = 0x104
	codeNotInitialized        = 0x190
	codeAlreadyInitialized    = 0x191
)

// returned reports whether err is one of these return values.
func returned(err error, codes ...uint) bool {
	e, ok := errors.AsType[*callError](err)
	return ok && slices.Contains(codes, e.Code)
}

// lost reports whether a new connection may help against err. It may against
// every return value that is not about the request itself: devices have many
// ways to report that they were away, some of them vendor-defined, and asking
// for a signature twice does no harm.
func lost(err error) bool {
	if errors.Is(err, errWrongSignature) || errors.Is(err, errKeyGone) || errors.Is(err, errGone) {
		return true
	}
	_, ok := errors.AsType[*callError](err)
	return ok && !returned(err,
		codeArgumentsBad, codeAttributeSensitive, codeAttributeTypeInvalid, codeAttributeValueInvalid,
		codeDataInvalid, codeDataLenRange, codeFunctionNotSupported,
		codeKeySizeRange, codeKeyTypeInconsistent, codeKeyNotPermitted,
		codeMechanismInvalid, codeMechanismParamInvalid,
		codePINIncorrect, codePINInvalid, codePINLenRange, codePINExpired, codePINLocked,
		codeSessionCount, codeTemplateIncomplete, codeTemplateInconsistent,
		codePINNotInitialized, codeAnotherLoggedIn)
}

// away reports whether the device may be the cause of err, for example because
// it is not there, was replaced by an empty one or has a new PIN, rather than
// the manifest.
func away(err error) bool {
	for _, reason := range []error{errNoToken, errNoKey, errLogin, context.DeadlineExceeded} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return lost(err)
}

// codeName returns the name of the return value in PKCS #11, or "".
func codeName(code uint) string {
	return map[uint]string{
		0x2:                       "CKR_HOST_MEMORY",
		0x3:                       "CKR_SLOT_ID_INVALID",
		0x5:                       "CKR_GENERAL_ERROR",
		0x6:                       "CKR_FUNCTION_FAILED",
		codeArgumentsBad:          "CKR_ARGUMENTS_BAD",
		0xA:                       "CKR_CANT_LOCK",
		codeAttributeSensitive:    "CKR_ATTRIBUTE_SENSITIVE",
		codeAttributeTypeInvalid:  "CKR_ATTRIBUTE_TYPE_INVALID",
		codeAttributeValueInvalid: "CKR_ATTRIBUTE_VALUE_INVALID",
		codeDataInvalid:           "CKR_DATA_INVALID",
		codeDataLenRange:          "CKR_DATA_LEN_RANGE",
		0x30:                      "CKR_DEVICE_ERROR",
		0x31:                      "CKR_DEVICE_MEMORY",
		0x32:                      "CKR_DEVICE_REMOVED",
		0x50:                      "CKR_FUNCTION_CANCELED",
		codeFunctionNotSupported:  "CKR_FUNCTION_NOT_SUPPORTED",
		0x60:                      "CKR_KEY_HANDLE_INVALID",
		codeKeySizeRange:          "CKR_KEY_SIZE_RANGE",
		codeKeyTypeInconsistent:   "CKR_KEY_TYPE_INCONSISTENT",
		codeKeyNotPermitted:       "CKR_KEY_FUNCTION_NOT_PERMITTED",
		codeMechanismInvalid:      "CKR_MECHANISM_INVALID",
		codeMechanismParamInvalid: "CKR_MECHANISM_PARAM_INVALID",
		0x82:                      "CKR_OBJECT_HANDLE_INVALID",
		0x90:                      "CKR_OPERATION_ACTIVE",
		0x91:                      "CKR_OPERATION_NOT_INITIALIZED",
		codePINIncorrect:          "CKR_PIN_INCORRECT",
		codePINInvalid:            "CKR_PIN_INVALID",
		codePINLenRange:           "CKR_PIN_LEN_RANGE",
		codePINExpired:            "CKR_PIN_EXPIRED",
		codePINLocked:             "CKR_PIN_LOCKED",
		0xB0:                      "CKR_SESSION_CLOSED",
		codeSessionCount:          "CKR_SESSION_COUNT",
		0xB3:                      "CKR_SESSION_HANDLE_INVALID",
		codeTemplateIncomplete:    "CKR_TEMPLATE_INCOMPLETE",
		codeTemplateInconsistent:  "CKR_TEMPLATE_INCONSISTENT",
		0xE0:                      "CKR_TOKEN_NOT_PRESENT",
		0xE1:                      "CKR_TOKEN_NOT_RECOGNIZED",
		codeAlreadyLoggedIn:       "CKR_USER_ALREADY_LOGGED_IN",
		codeNotLoggedIn:           "CKR_USER_NOT_LOGGED_IN",
		codePINNotInitialized:     "CKR_USER_PIN_NOT_INITIALIZED",
		codeAnotherLoggedIn:       "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
		0x150:                     "CKR_BUFFER_TOO_SMALL",
		codeNotInitialized:        "CKR_CRYPTOKI_NOT_INITIALIZED",
		codeAlreadyInitialized:    "CKR_CRYPTOKI_ALREADY_INITIALIZED",
	}[code]
}
