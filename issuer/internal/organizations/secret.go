package organizations

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/big"
	"strings"
)

// The form of a secret: prefix, random part, checksum.
const (
	secretPrefix   = "csk_"
	randomBytes    = 32
	randomDigits   = 43 // 62^43 > 2^256
	checksumDigits = 6  // 62^6 > 2^32
	secretLength   = len(secretPrefix) + randomDigits + checksumDigits

	// base62 is the alphabet of [big.Int.Text].
	base62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

	redacted = secretPrefix + "[redacted]"
)

// Secret is the secret of an API key. It is hidden when it is printed, logged or
// marshaled; [Secret.Reveal] returns it. It cannot hide in an unexported field,
// which fmt prints without calling a method, nor as the key of a map, which
// encoding/json writes as it is.
type Secret string

// GenerateSecret returns a new secret: "csk_", 32 random bytes as 43 digits in
// base 62 (0-9, a-z, A-Z), and the CRC-32 (IEEE) of these 43 characters as 6
// more digits. By prefix and checksum, scanners recognize leaked secrets, as with
// GitHub's tokens.
func GenerateSecret() Secret {
	var random [randomBytes]byte
	rand.Read(random[:]) // never returns an error, see crypto/rand
	digits := new(big.Int).SetBytes(random[:]).Text(62)
	body := strings.Repeat("0", randomDigits-len(digits)) + digits
	check := checksum(body)
	return Secret(secretPrefix + body + string(check[:]))
}

// WellFormed reports whether text has the form of a secret of
// [GenerateSecret], checksum included. It does not allocate.
func WellFormed(text string) bool {
	body, found := strings.CutPrefix(text, secretPrefix)
	if !found || len(text) != secretLength {
		return false
	}
	for i := range len(body) {
		if strings.IndexByte(base62, body[i]) < 0 {
			return false
		}
	}
	check := checksum(body[:randomDigits])
	return body[randomDigits:] == string(check[:])
}

// HashSecret returns the SHA-256 of a secret as 64 lower-case hexadecimal
// digits, as in the file.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// checksum returns the CRC-32 of body in base 62.
func checksum(body string) [checksumDigits]byte {
	// Byte by byte, because crc32.ChecksumIEEE would make a copy of body
	// escape to the heap at each request.
	sum := ^uint32(0)
	for i := range len(body) {
		sum = crc32.IEEETable[(sum^uint32(body[i]))&0xFF] ^ sum>>8
	}
	sum = ^sum
	var digits [checksumDigits]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return digits
}

// Reveal returns the secret itself, to be shown once to its owner.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string { return redacted }

// GoString hides the secret.
func (s Secret) GoString() string { return redacted }

// Format hides the secret, whatever the verb.
func (s Secret) Format(state fmt.State, _ rune) {
	// fmt ignores the error.
	_, _ = io.WriteString(state, redacted)
}

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret, in JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
