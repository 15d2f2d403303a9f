package command_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/keys/command"
)

func TestProtectKeyIDs(t *testing.T) {
	t.Parallel()
	const id = "-KdK8zZ_x2cGzXbM7vQnEw4tYpLs9aUjR0oHfDiBkNq"
	for _, test := range []struct{ args, want string }{
		{"keys revoke abc", "keys revoke abc --"},
		{"keys revoke " + id, "keys revoke -- " + id},
		{"keys revoke " + id + " --file f", "keys revoke --file f -- " + id},
		{"keys revoke --dry-run " + id + " abc", "keys revoke --dry-run abc -- " + id},
		{"keys revoke -KdK8zZ --KdK8zZ", "keys revoke -- -KdK8zZ --KdK8zZ"},
		{"keys activate --file -Keys1 -KdK8zZ", "keys activate --file -Keys1 -- -KdK8zZ"},
		{"keys activate --file=-Keys1 -KdK8zZ", "keys activate --file=-Keys1 -- -KdK8zZ"},
		{"keys revoke -KdK8zZ -- -x", "keys revoke -- -KdK8zZ -x"},
		// What may be a misspelt flag stays one.
		{"keys revoke --dry-rn -x", "keys revoke --dry-rn -x --"},
		// The other commands take no key IDs.
		{"keys rotate -KdK8zZ", "keys rotate -KdK8zZ"},
		{"keys", "keys"},
		{"-KdK8zZ", "-KdK8zZ"},
		{"", ""},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			root := &cobra.Command{Use: "customersession", Args: cobra.ArbitraryArgs}
			root.AddCommand(command.New(func(string) string { return "" }))
			got := strings.Join(command.ProtectKeyIDs(root, strings.Fields(test.args)), " ")
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
