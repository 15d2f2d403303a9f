package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// chartModule returns the folder of a module that is downloaded, and of which
// only files are read.
func chartModule(t *testing.T, modfile, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-modfile=../.ci/"+modfile, "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		needs.Missing(t, "module "+path, chartToolsHint)
	}
	return dir
}

// chartCRDs are the definitions of what the chart uses and Kubernetes lacks.
func chartCRDs(t *testing.T) []chartObject {
	t.Helper()
	gateway := chartModule(t, "crds.mod", "sigs.k8s.io/gateway-api")
	prometheus := filepath.Join(chartModule(t, "crds.mod", "github.com/prometheus-operator/prometheus-operator"), "example/prometheus-operator-crd")
	var all []chartObject
	for _, file := range []string{
		filepath.Join(gateway, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
		filepath.Join(prometheus, "monitoring.coreos.com_servicemonitors.yaml"),
		filepath.Join(prometheus, "monitoring.coreos.com_prometheusrules.yaml"),
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parseChart(t, text)...)
	}
	return all
}

// Every object is what the OpenAPI document of Kubernetes, or the definition of
// the custom resource, says; members that are not in there are errors.
func TestChartObjectsFitTheirSchemas(t *testing.T) {
	t.Parallel()
	program := needs.Program(t, "kubeconform", chartToolsHint, "../.ci/cache")
	schemas := t.TempDir()
	writeKubernetesSchemas(t, schemas)
	for _, crd := range chartCRDs(t) {
		writeCRDSchemas(t, schemas, crd)
	}
	check := func(t *testing.T, objects []chartObject) error {
		t.Helper()
		var text strings.Builder
		encoder := yaml.NewEncoder(&text)
		for _, object := range objects {
			if err := encoder.Encode(object); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), program, "-strict", "-schema-location",
			filepath.Join(schemas, "{{.ResourceKind}}{{.KindSuffix}}.json"))
		cmd.Stdin = strings.NewReader(text.String())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			objects := chartOf(t, values)
			if err := check(t, objects); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("it can fail", func(t *testing.T) {
		t.Parallel()
		objects := chartOf(t, "testdata/helm/http.yaml")
		for _, kind := range []string{"Deployment", "HTTPRoute"} {
			object := chartObjectsOf(objects, kind)[0]
			object.part("spec")["misspelt"] = true
			if check(t, []chartObject{object}) == nil {
				t.Errorf("a %s with a misspelt member fits its schema", kind)
			}
		}
	})
}

// writeKubernetesSchemas writes a schema for each kind of the OpenAPI document
// that comes with the source of Kubernetes.
func writeKubernetesSchemas(t *testing.T, folder string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartModule(t, "kubernetes.mod", "k8s.io/kubernetes"), "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	const common = "_definitions.json"
	text = []byte(strings.ReplaceAll(string(text), `"#/definitions/`, `"`+common+`#/definitions/`))
	var document struct {
		Definitions map[string]chartObject `json:"definitions"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for name, definition := range document.Definitions {
		closeChartSchema(map[string]any(definition))
		switch {
		case strings.HasSuffix(name, ".IntOrString"):
			document.Definitions[name] = chartObject{"type": []string{"string", "integer"}}
		case strings.HasSuffix(name, ".Quantity"):
			document.Definitions[name] = chartObject{"type": []string{"string", "number"}}
		}
		for _, gvk := range definition.parts("x-kubernetes-group-version-kind") {
			writeChartSchema(t, folder, gvk.text("kind"), gvk.text("group"), gvk.text("version"),
				chartObject{"$ref": common + "#/definitions/" + name})
		}
	}
	writeChartJSON(t, filepath.Join(folder, common), document)
}

func writeCRDSchemas(t *testing.T, folder string, crd chartObject) {
	t.Helper()
	for _, version := range crd.parts("spec", "versions") {
		schema := version.part("schema", "openAPIV3Schema")
		closeChartSchema(map[string]any(schema))
		writeChartSchema(t, folder, crd.text("spec", "names", "kind"), crd.text("spec", "group"), version.text("name"), schema)
	}
}

// closeChartSchema forbids members that a schema does not name.
func closeChartSchema(schema any) {
	switch s := schema.(type) {
	case chartObject:
		closeChartSchema(map[string]any(s))
	case map[string]any:
		for _, below := range s {
			closeChartSchema(below)
		}
		_, more := s["additionalProperties"]
		if s["type"] == "object" && s["properties"] != nil && !more && s["x-kubernetes-preserve-unknown-fields"] != true {
			s["additionalProperties"] = false
		}
	case []any:
		for _, below := range s {
			closeChartSchema(below)
		}
	}
}

// writeChartSchema names the file as kubeconform looks for it.
func writeChartSchema(t *testing.T, folder, kind, group, version string, schema any) {
	t.Helper()
	name := kind + "-"
	if group != "" {
		first, _, _ := strings.Cut(group, ".")
		name += first + "-"
	}
	writeChartJSON(t, filepath.Join(folder, strings.ToLower(name+version)+".json"), schema)
}

func writeChartJSON(t *testing.T, path string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
