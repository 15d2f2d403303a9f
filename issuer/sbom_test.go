package issuer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// bomSchema is CycloneDX 1.6 as its makers publish it.
func bomSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	const base = "http://cyclonedx.org/schema/"
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for _, name := range []string{"bom-1.6.schema.json", "jsf-0.82.schema.json", "spdx.schema.json"} {
		text, err := os.ReadFile(filepath.Join("testdata/cyclonedx", name))
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(base+name, document); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile(base + "bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validateBOM(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(document)
}

func printSBOM(t *testing.T, path string, args ...string) []byte {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), path, append([]string{"version", "--sbom"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

type (
	bom struct {
		Metadata     struct{ Component bomComponent }
		Components   []bomComponent
		Dependencies []struct{ DependsOn []string }
	}
	bomComponent struct {
		Ref           string `json:"bom-ref"`
		Name, Version string
		PURL          string
		Hashes        []bomHash
		Properties    []struct{ Name, Value string }
	}
	bomHash struct{ Alg, Content string }
)

// modules returns path, version and sum of each module in the order of the
// bill of materials.
func (b bom) modules() []string {
	var modules []string
	for _, c := range b.Components {
		for _, p := range c.Properties {
			modules = append(modules, c.Name+" "+c.Version+" "+p.Value)
		}
	}
	return modules
}

// compiledIn returns the same as the Go tool tells it of a binary.
func compiledIn(t *testing.T, path string) []string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "version", "-m", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for line := range strings.Lines(string(output)) {
		if fields := strings.Fields(line); fields[0] == "dep" {
			modules = append(modules, strings.Join(fields[1:], " "))
		}
	}
	if len(modules) < 10 {
		t.Fatalf("the Go tool tells of no more modules than %q", modules)
	}
	return modules
}

// The bill of materials has a valid form, names the binary, and has the
// standard library and every module in it, and no other one.
func TestSBOM(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	text := printSBOM(t, path)
	if err := validateBOM(t, bomSchema(t), text); err != nil {
		t.Errorf("the bill of materials is not valid: %v", err)
	}
	var got bom
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hashes := []bomHash{{"SHA-256", fmt.Sprintf("%x", sha256.Sum256(program))}}
	if !slices.Equal(got.Metadata.Component.Hashes, hashes) {
		t.Errorf("hashes of the binary: got %v, want %v", got.Metadata.Component.Hashes, hashes)
	}
	if want := compiledIn(t, path); !slices.Equal(got.modules(), want) {
		t.Errorf("modules:\n got %q\nwant %q", got.modules(), want)
	}
	var refs []string
	for _, c := range got.Components {
		refs = append(refs, c.Ref)
		want := "pkg:golang/" + strings.ToLower(c.Name) + "@" + strings.ReplaceAll(c.Version, "+", "%2B")
		if c.PURL != want {
			t.Errorf("package URL of %s %s: got %s, want %s", c.Name, c.Version, c.PURL, want)
		}
	}
	if !slices.Contains(refs, "std") {
		t.Error("the standard library is missing")
	}
	if !slices.Equal(got.Dependencies[0].DependsOn, refs) {
		t.Errorf("the binary depends on:\n got %q\nwant %q", got.Dependencies[0].DependsOn, refs)
	}
}

// One binary has one bill of materials, whoever asks.
func TestSBOMIsStable(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	text := printSBOM(t, path)
	for name, again := range map[string][]byte{
		"printed again":     printSBOM(t, path),
		"read from outside": printSBOM(t, path, path),
	} {
		if !bytes.Equal(again, text) {
			t.Errorf("the bill of materials %s is another one:\n%s", name, again)
		}
	}
}

// The schema is one that refuses.
func TestSBOMSchema(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	text, schema := string(printSBOM(t, path)), bomSchema(t)
	for name, change := range map[string][2]string{
		"type":          {`"type": "library"`, `"type": "module"`},
		"serial number": {`"urn:uuid:`, `"urn:`},
		"hash":          {`"alg": "SHA-256"`, `"alg": "h1"`},
		"licence":       {`"id": "Apache-2.0"`, `"id": "Apache 2"`},
		"member":        {`"purl"`, `"package_url"`},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatalf("the bill of materials has no %s %s", name, change[0])
		}
		if validateBOM(t, schema, []byte(changed)) == nil {
			t.Errorf("the schema accepts a wrong %s", name)
		}
	}
}
