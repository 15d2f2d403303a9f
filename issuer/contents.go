package issuer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/organizations"
	"github.com/customersession/customersession/issuer/internal/reload"
	"github.com/customersession/customersession/keys"
)

// Sorts of things in the files, as names of what a log line counts.
const (
	someKeys          = "keys"
	someOrganizations = "organizations"
	someAPIKeys       = "api_keys"
	someCustomers     = "customers"
)

// A count is how many things of a sort there are.
type count struct {
	of string
	n  int
}

func countKeys(set *keySet) []count {
	return []count{{"manifest_version", set.manifest.Version}, {someKeys, len(set.manifest.Keys)}}
}

func compareKeys(old, next *keySet) []reload.Change {
	byID := func(m *keys.Manifest) map[string]*keys.Key {
		all := map[string]*keys.Key{}
		for _, key := range m.Keys {
			all[key.ID()] = key
		}
		return all
	}
	return []reload.Change{reload.Compare(someKeys, byID(old.manifest), byID(next.manifest), sameSchedule)}
}

// sameSchedule reports whether two versions of a key are the same, apart from the
// key pair: the ID already stands for that.
func sameSchedule(old, next *keys.Key) bool {
	a, b := *old, *next
	a.Public, a.Private, b.Public, b.Private = nil, nil, nil, nil
	return a == b
}

func countOrganizations(r *organizations.Registry) []count {
	all := organizationsByID(r)
	apiKeys := 0
	for _, organization := range all {
		apiKeys += len(apiKeysByName(organization))
	}
	return []count{{someOrganizations, len(all)}, {someAPIKeys, apiKeys}}
}

func compareOrganizations(old, next *organizations.Registry) []reload.Change {
	before, after := organizationsByID(old), organizationsByID(next)
	return []reload.Change{
		reload.Compare(someOrganizations, before, after, (*organizations.Organization).Same),
		compareAPIKeys(before, after),
	}
}

// compareAPIKeys compares the API keys of each organization. A key that leaked is
// often replaced in one step, so an organization that gains as many keys as it
// loses has lost none.
func compareAPIKeys(old, next map[uuid.UUID]*organizations.Organization) reload.Change {
	sum := reload.Change{Of: someAPIKeys}
	ids := maps.Clone(old)
	maps.Copy(ids, next)
	for id := range ids {
		c := reload.Compare(someAPIKeys, apiKeysByName(old[id]), apiKeysByName(next[id]), (*organizations.APIKey).Same)
		sum.Before += c.Before
		sum.Added += c.Added
		sum.Changed += c.Changed
		sum.Removed += c.Removed
		sum.Lost += max(0, c.Removed-c.Added)
	}
	return sum
}

func organizationsByID(r *organizations.Registry) map[uuid.UUID]*organizations.Organization {
	all := map[uuid.UUID]*organizations.Organization{}
	for organization := range r.Organizations() {
		all[organization.ID] = organization
	}
	return all
}

// apiKeysByName returns the keys of an organization, none for nil.
func apiKeysByName(organization *organizations.Organization) map[string]*organizations.APIKey {
	all := map[string]*organizations.APIKey{}
	if organization == nil {
		return all
	}
	for key := range organization.APIKeys() {
		all[key.Name] = key
	}
	return all
}

func countCustomers(f *customers.File) []count { return []count{{someCustomers, f.Len()}} }

// warnOfCustomers returns a function that warns of too many customers for a file,
// and of those that no API key can ask for: their organization is not in the
// organizations file. That is not an error, because the two files do not change at
// the same instant.
func warnOfCustomers(registry *reload.File[*organizations.Registry]) func(*customers.File) []string {
	return func(f *customers.File) []string {
		known := organizationsByID(registry.Current())
		var warnings []string
		for _, o := range unknownOrganizations(f, known) {
			warnings = append(warnings, fmt.Sprintf("line %d, column %d: organization %s is not in the organizations file; its customers, %d here, get no sessions",
				o.Line, o.Column, o.id, o.Customers))
		}
		if more := len(warnings) - maxUnknown; more > 0 {
			warnings = append(warnings[:maxUnknown], fmt.Sprintf("organizations that are not in the organizations file: %d more", more))
		}
		if n := f.Len(); n > customers.MaxFile {
			warnings = append(warnings, fmt.Sprintf("%d customers are more than the %d that a file is made for; use PostgreSQL", n, customers.MaxFile))
		}
		return warnings
	}
}

// maxUnknown is how many unknown organizations are named.
const maxUnknown = 10

// An unknownOrganization has customers, but is not in the organizations file.
type unknownOrganization struct {
	id uuid.UUID
	customers.Place
}

// unknownOrganizations returns those of the customers that are not known, in the
// order of the file.
func unknownOrganizations(f *customers.File, known map[uuid.UUID]*organizations.Organization) []unknownOrganization {
	var all []unknownOrganization
	for id, place := range f.Organizations() {
		if known[id] == nil {
			all = append(all, unknownOrganization{id, place})
		}
	}
	slices.SortFunc(all, func(a, b unknownOrganization) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

func compareCustomers(old, next *customers.File) []reload.Change {
	added, changed, removed := old.Compare(next)
	return []reload.Change{{Of: someCustomers, Before: old.Len(), Added: added, Changed: changed, Removed: removed, Lost: removed}}
}
