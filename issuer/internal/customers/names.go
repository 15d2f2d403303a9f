package customers

// knownMembers are the members of a customer.
func knownMembers() []string {
	return []string{
		"id", "organization_id", "created_at", "modified_at", "metadata", "external_id", "email", "email_verified", "type", "name",
		"billing_name", "billing_address", "tax_id", "locale", "default_payment_method_id", "deleted_at", "first_user_event_at", "avatar_url",
		"members",
	}
}

// knownMemberMembers are the members of a member of a customer.
func knownMemberMembers() []string {
	return []string{"id", "external_id", "name", "email", "role", "deleted_at"}
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
	for _, right := range known {
		if spelledAlike(name, right) {
			r.fail("extra_forbidden", "Input should be named "+right, append(loc, string(name))...)
		}
	}
}

// spelledAlike reports whether a name is a known one but for capital letters,
// underscores, hyphens and spaces. A file may have several unknown members on each
// of its lines, so it allocates nothing.
func spelledAlike(name []byte, known string) bool {
	at := 0
	for _, c := range name {
		if isSeparator(c) {
			continue
		}
		for at < len(known) && isSeparator(known[at]) {
			at++
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if at == len(known) || known[at] != c {
			return false
		}
		at++
	}
	return at == len(known)
}

func isSeparator(c byte) bool { return c == '_' || c == '-' || c == ' ' }
