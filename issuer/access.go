package issuer

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/customersession/customersession/issuer/internal/fileaccess"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/secret"
	"github.com/customersession/customersession/issuer/internal/webhook"
	"github.com/customersession/customersession/keys"
)

// A secretFile is a file that is read at start and holds a secret.
type secretFile struct {
	setting, path string
}

// secretFiles returns the secret files of the settings.
func secretFiles(settings Settings) []secretFile {
	all := []secretFile{
		{settingsPrefix + "_CUSTOMERS_TOKEN_FILE", settings.CustomersTokenFile},
		{settingsPrefix + "_CUSTOMERS_DSN_FILE", settings.CustomersDSNFile},
		{settingsPrefix + "_REVOCATIONS_DSN_FILE", settings.RevocationsDSNFile},
		{settingsPrefix + "_TRACES_HEADERS_FILE", settings.TracesHeadersFile},
		{settingsPrefix + "_PKCS11_PIN_FILE", settings.PKCS11PINFile},
	}
	return slices.DeleteFunc(all, func(file secretFile) bool { return file.path == "" })
}

// checkSecrets refuses secret files that everyone may change: any user of the
// machine could send the server to another database. Reading the file reports that
// it is missing.
func (f *followedFiles) checkSecrets() error {
	var problems []error
	for _, secret := range f.secrets {
		if err := fileaccess.CheckWrite(secret.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fmt.Errorf("%s: %w", secret.setting, err))
		}
	}
	return errors.Join(problems...)
}

// readWebhookSecret reads the secret of a webhook, from a file that not everyone may
// change.
func readWebhookSecret(path string) (secret.Text, error) {
	if err := fileaccess.CheckWrite(path); err != nil {
		return "", err
	}
	return secret.ReadFile(path)
}

// checkWebhookSecrets checks that the secrets of all webhooks can be used. They are
// read again for each event, so that they can be replaced.
func checkWebhookSecrets(registry *organizations.Registry) error {
	var problems []error
	for organization := range registry.Organizations() {
		if organization.Recovery == nil {
			continue
		}
		text, err := readWebhookSecret(organization.Recovery.SecretFile)
		if err == nil {
			err = webhook.CheckSecret(text)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("organization %s: recovery.secret_file: %w", organization.Slug, err))
		}
	}
	return errors.Join(problems...)
}

// warnOfOrganizations returns a function that warns of files that everyone may read:
// that of the organizations, and the secrets of their webhooks.
func warnOfOrganizations(path string) func(*organizations.Registry) []string {
	return func(registry *organizations.Registry) []string {
		warnings := readable(path)
		for organization := range registry.Organizations() {
			if organization.Recovery == nil {
				continue
			}
			for _, warning := range readable(organization.Recovery.SecretFile) {
				warnings = append(warnings, fmt.Sprintf("organization %s: recovery.secret_file: %s", organization.Slug, warning))
			}
		}
		return warnings
	}
}

// readable returns a warning if everyone may read a file. That is not an error,
// because Kubernetes mounts Secrets so by default.
func readable(path string) []string {
	if err := fileaccess.CheckRead(path); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// warnOfReadableKeys returns a function that warns of a manifest with private keys
// that everyone may read.
func warnOfReadableKeys(path string) func(*keySet) []string {
	return func(set *keySet) []string {
		if !slices.ContainsFunc(set.manifest.Keys, func(key *keys.Key) bool { return key.Private != nil }) {
			return nil
		}
		return readable(path)
	}
}
