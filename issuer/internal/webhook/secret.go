package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/customersession/customersession/issuer/internal/secret"
)

// The form of a secret, by Standard Webhooks, "Signature scheme".
const (
	secretPrefix = "whsec_"
	minSecret    = 24
	maxSecret    = 64
)

var errSecret = fmt.Errorf("the webhook's secret must be %s and then %d to %d random bytes in base64; to make one: "+
	"printf 'whsec_%%s' \"$(openssl rand -base64 32)\"", secretPrefix, minSecret, maxSecret)

// CheckSecret returns what is wrong with a secret.
func CheckSecret(text secret.Text) error {
	_, err := decodeSecret(text)
	return err
}

func decodeSecret(text secret.Text) ([]byte, error) {
	encoded, found := strings.CutPrefix(text.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	// DecodeString skips line breaks, with which other libraries do otherwise.
	if !found || err != nil || len(key) < minSecret || len(key) > maxSecret || strings.ContainsAny(encoded, "\r\n") {
		return nil, errSecret
	}
	return key, nil
}

// sign returns the value of the header webhook-signature. An ID has no dot.
func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
