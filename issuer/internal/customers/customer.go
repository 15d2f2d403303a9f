package customers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Type is the type of a customer.
type Type string

// The types of customers.
const (
	Individual Type = "individual" // one person; always has an e-mail address
	Team       Type = "team"       // several people; may have no e-mail address
)

// MaxExternalID is how many characters (Unicode code points) an external ID may
// have.
const MaxExternalID = 255

// Customer is a customer as the API shows it. In JSON it has all members, in the
// order of the fields, null where there is no value.
//
// Customers that [Parse] or a [Directory] returns are complete and valid. Times
// are in UTC and whole seconds.
type Customer struct {
	ID             uuid.UUID  `json:"id"`
	OrganizationID uuid.UUID  `json:"organization_id"`
	CreatedAt      time.Time  `json:"created_at"`
	ModifiedAt     *time.Time `json:"modified_at"`

	// Metadata is a flat JSON object of strings, numbers and booleans, exactly
	// as given. It is never null; without metadata it is {}.
	Metadata json.RawMessage `json:"metadata"`

	// ExternalID is the customer's ID in the merchant's own system, nil when
	// there is none. It is never the empty string, and has at most
	// [MaxExternalID] characters.
	ExternalID *string `json:"external_id"`

	// Email is nil only for a [Team].
	Email         *string `json:"email"`
	EmailVerified bool    `json:"email_verified"`
	Type          Type    `json:"type"`
	Name          *string `json:"name"`

	BillingName    *string  `json:"billing_name"`
	BillingAddress *Address `json:"billing_address"`
	// TaxID is nil, or the tax number and the name of its format.
	TaxID                  []string   `json:"tax_id"`
	Locale                 *string    `json:"locale"`
	DefaultPaymentMethodID *uuid.UUID `json:"default_payment_method_id"`

	// DeletedAt is nil while the customer exists. No directory returns a
	// customer with a DeletedAt.
	DeletedAt        *time.Time `json:"deleted_at"`
	FirstUserEventAt *time.Time `json:"first_user_event_at"`

	// AvatarURL is never empty. By default it is the Gravatar URL of the
	// e-mail address, or of the ID without one; Gravatar answers 404 if it
	// has no picture.
	AvatarURL string `json:"avatar_url"`
}

// Address is a postal address.
type Address struct {
	// Country is an ISO 3166-1 alpha-2 code in upper case.
	Country    string  `json:"country"`
	Line1      *string `json:"line1"`
	Line2      *string `json:"line2"`
	PostalCode *string `json:"postal_code"`
	City       *string `json:"city"`
	State      *string `json:"state"`
}

// defaultAvatarURL returns the Gravatar URL of the customer's e-mail address. A
// team without one still needs a stable URL of its own, made from the ID.
func defaultAvatarURL(c *Customer) string {
	const prefix, suffix = "https://www.gravatar.com/avatar/", "?d=404"
	of := c.ID.String()
	if c.Email != nil {
		of = strings.ToLower(strings.TrimSpace(*c.Email))
	}
	sum := sha256.Sum256([]byte(of))
	url := make([]byte, 0, len(prefix)+hex.EncodedLen(len(sum))+len(suffix))
	url = append(url, prefix...)
	url = hex.AppendEncode(url, sum[:])
	return string(append(url, suffix...))
}
