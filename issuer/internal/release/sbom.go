package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// The members of CycloneDX 1.6 that we have something for. Each is described
// at https://cyclonedx.org/docs/1.6/json/.
type (
	bom struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		SerialNumber string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp time.Time `json:"timestamp,omitzero"`
		Component component `json:"component"`
	}
	component struct {
		Type       string          `json:"type"`
		Ref        string          `json:"bom-ref"`
		Name       string          `json:"name"`
		Version    string          `json:"version,omitempty"`
		Hashes     []hash          `json:"hashes,omitempty"`
		Licenses   []licenseChoice `json:"licenses,omitempty"`
		PURL       string          `json:"purl,omitempty"`
		Properties []property      `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licenseChoice struct {
		License license `json:"license"`
	}
	license struct {
		ID string `json:"id"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// WriteSBOM writes the software bill of materials of the binary as CycloneDX
// 1.6 JSON: the binary with its SHA-256, Go's standard library, and every
// module that was compiled in, with version, package URL and, where the module
// came from elsewhere, its line of go.sum. One binary gives the same bytes each
// time.
func (b Binary) WriteSBOM(w io.Writer) error {
	file, err := b.file()
	if err != nil {
		return fmt.Errorf("reading binary: %w", err)
	}
	defer file.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return fmt.Errorf("reading binary: %w", err)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(b.bom(digest.Sum(nil)))
}

func (b Binary) bom(digest []byte) bom {
	program := b.program(digest)
	libraries := b.libraries()
	dependencies := []dependency{{Ref: program.Ref}}
	for _, library := range libraries {
		dependencies[0].DependsOn = append(dependencies[0].DependsOn, library.Ref)
		dependencies = append(dependencies, dependency{Ref: library.Ref})
	}
	return bom{
		Schema:       "http://cyclonedx.org/schema/bom-1.6.schema.json",
		Format:       "CycloneDX",
		SpecVersion:  "1.6",
		SerialNumber: serialNumber(digest),
		Version:      1,
		Metadata:     metadata{Timestamp: b.Build.CommittedAt, Component: program},
		Components:   libraries,
		Dependencies: dependencies,
	}
}

// serialNumber makes a UUID of a digest, version 8 of RFC 9562, Section 5.8.
func serialNumber(digest []byte) string {
	id := slices.Clone(digest[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func (b Binary) program(digest []byte) component {
	c := component{
		Type:     "application",
		Ref:      "program",
		Name:     b.info.Main.Path,
		Version:  b.Build.Version,
		Hashes:   []hash{{Algorithm: "SHA-256", Content: hex.EncodeToString(digest)}},
		Licenses: []licenseChoice{{License: license{ID: "Apache-2.0"}}},
		PURL:     packageURL(b.info.Main.Path, b.Build.Version),
	}
	for _, setting := range b.info.Settings {
		if setting.Value != "" {
			c.Properties = append(c.Properties, property{Name: "go:build:" + setting.Key, Value: setting.Value})
		}
	}
	return c
}

// libraries returns the standard library and the modules, sorted by path, as
// the Go tool has them already.
func (b Binary) libraries() []component {
	libraries := []component{library(&debug.Module{Path: "std", Version: b.info.GoVersion})}
	for _, module := range b.info.Deps {
		libraries = append(libraries, library(module))
	}
	return libraries
}

func library(module *debug.Module) component {
	var properties []property
	if module.Replace != nil {
		// What was compiled is what counts. A folder has no version of its own.
		properties = append(properties, property{Name: "go:replaces", Value: module.Path})
		module = module.Replace
	}
	if module.Sum != "" {
		properties = append(properties, property{Name: "go:sum", Value: module.Sum})
	}
	return component{
		Type:       "library",
		Ref:        module.Path,
		Name:       module.Path,
		Version:    module.Version,
		PURL:       packageURL(module.Path, module.Version),
		Properties: properties,
	}
}

// packageURL returns the package URL of a module, whose type golang wants lower
// case, or nothing for what only a folder knows.
func packageURL(path, version string) string {
	if version == "" || version == devel {
		return ""
	}
	// A plus sign is escaped by this rule, and there are no spaces.
	return "pkg:golang/" + strings.ToLower(path) + "@" + url.QueryEscape(version)
}
