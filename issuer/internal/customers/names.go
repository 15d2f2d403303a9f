package customers

import "strings"

// knownMembers are the members of a customer.
func knownMembers() []string {
	return []string{
		"id", "organization_id", "created_at", "modified_at", "metadata", "external_id", "email", "email_verified", "type", "name",
		"billing_name", "billing_address", "tax_id", "locale", "default_payment_method_id", "deleted_at", "first_user_event_at", "avatar_url",
	}
}

// knownAddressMembers are the members of a billing address.
func knownAddressMembers() []string {
	return []string{"country", "line1", "line2", "postal_code", "city", "state"}
}

// unknown notes a problem with an unknown member of the object at loc, if its
// name is nearly a known one. Others are left alone: records may have more
// members than are read here.
func (r *reader) unknown(name []byte, known []string, loc ...string) {
	if !r.names {
		return
	}
	letters := lettersOf(string(name))
	for _, right := range known {
		if letters == lettersOf(right) {
			r.fail("extra_forbidden", "Input should be named "+right, append(loc, string(name))...)
		}
	}
}

// lettersOf is what the spellings of one name have in common.
func lettersOf(name string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(name))
}
