package organizations

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/customersession/customersession/issuer/internal/secret"
)

// keyEntry is an API key as the file holds it.
type keyEntry struct {
	Name         string    `json:"name"`
	SecretSHA256 string    `json:"secret_sha256"`
	Scopes       []Scope   `json:"scopes"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
}

// NewAPIKey makes a secret and the JSON object to add to an organization's
// api_keys, indented by two spaces and without a newline at the end. A zero
// expires makes a key that does not expire; otherwise it is cut to whole
// seconds.
//
// It is an error if [Parse] would refuse the entry, or if the key had expired
// already. The secret is kept nowhere: show it once, it cannot be recovered.
func NewAPIKey(name string, scopes []Scope, expires time.Time) (secret.Text, []byte, error) {
	expires = expires.UTC().Truncate(time.Second)
	if !expires.IsZero() && !expires.After(time.Now()) {
		return "", nil, fmt.Errorf("making an API key: expiry %s is not in the future",
			expires.Format(time.RFC3339))
	}
	secret := GenerateSecret()
	entry, err := json.MarshalIndent(keyEntry{
		Name:         name,
		SecretSHA256: HashSecret(secret.Reveal()),
		Scopes:       scopes,
		ExpiresAt:    expires,
	}, "", "  ")
	if err != nil {
		return "", nil, fmt.Errorf("making an API key: %w", err)
	}
	if err := checkEntry(entry); err != nil {
		return "", nil, fmt.Errorf("making an API key: %w", err)
	}
	return secret, entry, nil
}

// checkEntry reads an entry back as Parse would.
func checkEntry(entry []byte) error {
	value, err := decodeStrict(entry)
	if err != nil {
		return err
	}
	p := newParser()
	p.apiKey("", value, &Organization{}, map[string]string{})
	return p.problems.err()
}
