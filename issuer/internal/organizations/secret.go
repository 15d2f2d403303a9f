package organizations

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/customersession/customersession/issuer/internal/secret"
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
)

// GenerateSecret returns a new secret: "csk_", 32 random bytes as 43 digits in
// base 62 (0-9, a-z, A-Z), and the CRC-32 (IEEE) of these 43 characters as 6
// more digits. By prefix and checksum, scanners recognize leaked secrets, as with
// GitHub's tokens.
func GenerateSecret() secret.Text {
	var random [randomBytes]byte
	rand.Read(random[:]) // never returns an error, see crypto/rand
	digits := new(big.Int).SetBytes(random[:]).Text(62)
	body := strings.Repeat("0", randomDigits-len(digits)) + digits
	check := checksum(body)
	return secret.Text(secretPrefix + body + string(check[:]))
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
func HashSecret(text string) string {
	sum := sha256.Sum256([]byte(text))
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
