// Package pkcs11 signs with private keys that never leave a device: a hardware
// security module, a smart card, or SoftHSM, whatever has a PKCS #11 library.
//
// The library is C code, so that calling it takes cgo. Programs that do not
// want that pay nothing: only with the build tag pkcs11 does this package do
// what it says, and otherwise [New] is an error.
//
//	CGO_ENABLED=1 go build -tags pkcs11
//
// Such a program needs the C library of the system at run time, in its
// container image as well, and the device's own library.
//
// # Making a key
//
// The key is made in the device, by whoever looks after that, together with a
// public key object of the same ID. With OpenSC's pkcs11-tool:
//
//	pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label sessions \
//	  --login --keypairgen --key-type EC:prime256v1 --usage-sign --label 2026 --id 01
//
// For RS256 the key type is rsa:2048, for EdDSA EC:edwards25519 where the
// device has that. SoftHSM wants a token first:
//
//	softhsm2-util --init-token --free --label sessions
//
// A key that wants the PIN again for every signature (CKA_ALWAYS_AUTHENTICATE)
// cannot be used, nor can a reader with a keypad of its own.
//
// # Naming a key
//
// A manifest says where the private part of a key is with a URI of RFC 7512:
//
//	pkcs11:token=sessions;object=2026
//	pkcs11:serial=8acd7f5683ce3cce;id=%01?pin-source=file:/run/secrets/pin
//
// It must match exactly one token and one private key in it, and the error says
// what would tell several apart. [Device.Public] reads the public key to put
// beside it, and [Device.Open] makes sure that the two belong together: it has
// the device sign something new, and looks at the public key object as well if
// there is one.
//
// The path attributes are token, manufacturer, serial, model, slot-id,
// slot-manufacturer, slot-description, library-manufacturer,
// library-description, library-version, object, id, and type, which is private.
// Others are refused, as each of them narrows down what is meant. Of the query
// attributes, pin-source is a file, never a command; pin-value is refused, as a
// manifest holds no secret; and module-path and module-name may repeat the
// library that the program is set to load, but not choose another, since
// whoever writes a manifest would choose what code runs here. Others are
// ignored.
//
// # The PIN
//
// It is read from its file at each login and forgotten after it. A file that
// others than its owner can write is refused. That others can read it is left
// to the operator, because of how Kubernetes mounts a Secret.
//
// A token locks after a few wrong PINs, often for good. A PIN that a token has
// refused is therefore not tried again until the file holds another one or the
// program is started anew, and none is tried while the token says that one more
// wrong PIN would lock it.
//
// # When the device is lost
//
// A session, a login or the whole token can be lost at any time: by a restart
// of the device, a card that is pulled, somebody else who logs out. A signature
// that fails is tried once more over a new session, after a new login and with
// the key looked up anew, so that callers do not notice a short loss. While the
// device stays away every signature is an error, and one request a second tries
// to connect; the others fail at once. From the second such attempt on, the
// library is initialized anew as well, which some libraries need, unless
// somebody else in the process had initialized it or it is at work for another
// token. Nothing needs to be restarted when the device is back.
//
// A call that the device does not answer cannot be taken back. Callers leave
// when their context ends, and no more calls are begun than there are sessions.
//
// Every signature is verified before it is handed out.
package pkcs11
