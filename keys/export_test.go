package keys

// FromDER is what turns a signature of crypto/ecdsa into that of a JWS.
var FromDER = fromDER

// RotateWith is Rotate with a source of keys.
var RotateWith = rotate
