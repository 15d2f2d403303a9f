package verify_test

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/customersession/customersession/verify"
)

// The program of the README, compiled; [TestREADME] holds the two equal.
func Example_readme() {
	verifier, err := verify.New(verify.Config{
		Issuer:   "http://127.0.0.1:8080",
		Audience: "customer-portal",
	})
	if err != nil {
		log.Fatal(err)
	}
	account := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := verify.FromContext(r.Context())
		fmt.Fprintln(w, "customer", session.CustomerID)
	})
	http.Handle("/account", verifier.Middleware(account))
	log.Fatal(http.ListenAndServe("127.0.0.1:9000", nil))
}

func TestREADME(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(readme), "<!-- compiled: verify/readme_test.go -->\n```go\n")
	block, _, ended := strings.Cut(block, "```")
	if !found || !ended {
		t.Fatal("the README has no such program")
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(block, "\n"), "\n", "\n\t")
	if !strings.Contains(string(source), "func Example_readme() {\n"+indented+"\n}\n") {
		t.Errorf("the README's program is not the one that was compiled:\n%s", block)
	}
	if lines := strings.Count(block, "\n"); lines > 15 {
		t.Errorf("the README's program has %d lines, and promises 15", lines)
	}
}
