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

// pins logs in with PINs out of files, and never with one that a token has
// refused: a token locks itself after a few wrong ones, often for good. One
// goroutine at a time uses it.
type pins struct {
	secret []byte
	// refused holds, for each token, a code of the last PIN that was wrong.
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
		return fmt.Errorf("the PIN in %s was refused by the token before and is not tried again; write the right one into the file", file)
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

// code stands for a PIN, and tells nothing about it without the secret.
func (p *pins) code(pin []byte) [sha256.Size]byte {
	mac := hmac.New(sha256.New, p.secret)
	mac.Write(pin)
	return [sha256.Size]byte(mac.Sum(nil))
}

// readPIN reads a file that holds nothing but a PIN and perhaps the end of the
// line.
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
	// Who can write it can lock the token. Who can read it is not checked:
	// Kubernetes mounts a Secret with mode 0644 into a volume of its own, and
	// with 0440 for a container that does not run as root.
	if info.Mode().Perm()&0o022 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s can be written by others than its owner; run chmod go-w on it", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxPIN+1))
	if err != nil {
		return nil, err
	}
	pin := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	switch {
	case len(pin) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	case len(pin) > maxPIN:
		return nil, fmt.Errorf("%s holds more than a PIN", path)
	}
	return pin, nil
}

var errNoPINFile = errors.New("the token wants a PIN; name the file that holds it, with pin-source in the URI or in the settings of this program")
