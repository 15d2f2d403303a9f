// Package orgfile edits the organizations file, which package organizations
// reads.
//
//	err := orgfile.Edit(ctx, "organizations.json", func(d *orgfile.Document) error {
//		return d.RemoveAPIKey("acme", "checkout")
//	})
//
// What an edit does not concern stays as it is, byte for byte. The file is
// replaced as a whole, so a server that follows it never sees half of it.
package orgfile
