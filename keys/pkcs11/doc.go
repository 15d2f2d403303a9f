// Package pkcs11 signs with private keys that never leave a device: a hardware
// security module, a smart card or SoftHSM, anything with a PKCS #11 library.
//
// The library is C code, so calling it takes cgo. Programs that do not need it
// pay nothing: without the build tag pkcs11, [New] returns an error.
//
//	CGO_ENABLED=1 go build -tags pkcs11
//
// Such a program needs the C library of the system and the library of the device
// at run time, also in its container image.
//
// # Making a key
//
// The operator of the device makes the key in it, together with a public key
// object of the same ID. With OpenSC's pkcs11-tool:
//
//	pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label sessions \
//	  --login --keypairgen --key-type EC:prime256v1 --usage-sign --label 2026 --id 01
//
// The key type is rsa:2048 for RS256, and EC:edwards25519 for EdDSA if the device
// supports it. SoftHSM needs a token first:
//
//	softhsm2-util --init-token --free --label sessions
//
// A key that demands the PIN for every signature (CKA_ALWAYS_AUTHENTICATE) cannot
// be used, nor can a reader with its own keypad.
//
// # Naming a key
//
// A manifest names the private part of a key with a URI of RFC 7512:
//
//	pkcs11:token=sessions;object=2026
//	pkcs11:serial=8acd7f5683ce3cce;id=%01?pin-source=file:/run/secrets/pin
//
// It must match exactly one token, and one private key in it; otherwise the error
// says how to distinguish the matches. [Device.Public] reads the public key for
// the manifest, and [Device.Open] makes sure that the two belong together: it has
// the device sign a challenge, and also compares the public key object if there
// is one.
//
// The path attributes are token, manufacturer, serial, model, slot-id,
// slot-manufacturer, slot-description, library-manufacturer,
// library-description, library-version, object, id, and type, which is private.
// Others are refused, as each of them narrows the match. Of the query attributes,
// pin-source is a file, never a command; pin-value is refused, as a manifest must
// not hold a PIN; module-path and module-name may repeat the library that the
// program is configured to load, but not choose another, or a manifest could
// choose what code runs here. Others are ignored.
//
// # The PIN
//
// The PIN is read from its file at each login and forgotten after it. A file that
// anyone but its owner can write is refused. Who can read it is up to the
// operator, because of how Kubernetes mounts a Secret.
//
// A token locks after a few wrong PINs, often for good. So a PIN that a token has
// refused is not tried again until the file holds another one or the program
// restarts, and no PIN is tried while the token reports that one more wrong PIN
// would lock it.
//
// # When the device is lost
//
// A session, a login or the whole token can be lost at any time: the device
// restarts, a card is pulled, or other code in the process logs out. A signature
// that fails is tried once more with a new session, a new login and a new look-up
// of the key, so callers do not notice a short loss. While the device stays away,
// every signature is an error, and one request a second tries to connect; the
// others fail immediately. From the second such attempt on, the library is also
// initialized again, which some libraries need, unless other code in the process
// initialized it or another token is in use. Nothing needs to be restarted when
// the device is back.
//
// A call that the device does not answer cannot be cancelled. Callers return when
// their context ends, and there are never more calls than sessions.
//
// Every signature is verified before it is returned.
package pkcs11
