package pkcs11

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
)

// maxPIN bounds a PIN file. Devices take PINs of at most 255 bytes.
const maxPIN = 1024

// pins logs in with PINs from files, but not with a PIN that the token has refused:
// a token locks after a few wrong PINs, often for good. It is not safe for
// concurrent use.
type pins struct {
	secret []byte
	// refused holds, for each token, a code of the last wrong PIN.
	refused map[tokenID][sha256.Size]byte
}

func newPINs() *pins {
	secret := make([]byte, sha256.Size)
	rand.Read(secret) // never fails
	return &pins{secret: secret, refused: map[tokenID][sha256.Size]byte{}}
}

// use logs in to the token with the PIN that the file holds now.
func (p *pins) use(token tokenID, file string, login func(pin string) error) error {
	pin, err := readPIN(file)
	if err != nil {
		return fmt.Errorf("reading the PIN: %w", err)
	}
	defer clear(pin)
	code := p.code(pin)
	if last, wrong := p.refused[token]; wrong && last == code {
		return fmt.Errorf("the token has refused the PIN in %s, so it is not tried again; write the right one to the file", file)
	}
	err = login(string(pin))
	if returned(err, codePINIncorrect, codePINInvalid, codePINLenRange, codePINExpired, codePINLocked) {
		p.refused[token] = code
		return fmt.Errorf("logging in with the PIN in %s: %w", file, err)
	}
	if err != nil && !returned(err, codeAlreadyLoggedIn) {
		return fmt.Errorf("logging in: %w", err)
	}
	delete(p.refused, token)
	return nil
}

// code identifies a PIN, and reveals nothing about it without the secret.
func (p *pins) code(pin []byte) [sha256.Size]byte {
	mac := hmac.New(sha256.New, p.secret)
	mac.Write(pin)
	return [sha256.Size]byte(mac.Sum(nil))
}

// readPIN reads a file that holds only a PIN, with or without a line feed.
func readPIN(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// A user that can write it can lock the token. Who can read it is not
	// checked: Kubernetes mounts a Secret with mode 0644 in its own volume, and
	// with 0440 for a container that does not run as root.
	if info.Mode().Perm()&0o022 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s can be written by users other than its owner; run chmod go-w on it", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxPIN+1))
	if err != nil {
		return nil, err
	}
	pin := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	switch {
	case bytes.HasPrefix(pin, []byte("\ufeff")):
		return nil, fmt.Errorf("%s begins with a byte order mark, which some editors write; save it as UTF-8 without one", path)
	case len(pin) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	case len(pin) > maxPIN:
		return nil, fmt.Errorf("%s holds more than a PIN", path)
	}
	return pin, nil
}

var errNoPINFile = errors.New("the token demands a PIN; name the file that holds it, with pin-source in the URI or in the settings of this program")
