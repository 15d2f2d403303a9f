package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/customersession/customersession/deploy/rig/needs"
)

const (
	chartFolder    = "helm/customersession"
	chartRelease   = "customersession"
	chartNamespace = "sessions"
	// chartKubernetes is the version of the API server in .ci/kubernetes.mod.
	chartKubernetes = "1.36.3"
	chartToolsHint  = "run .ci/run charttools"
)

// A chartObject is an object of Kubernetes as the chart wrote it.
type chartObject map[string]any

// chartValueFiles are the values that the chart is tried with.
func chartValueFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/helm/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values to try the chart with: %v", err)
	}
	return files
}

// runHelm returns what Helm prints. Nothing of the user's own Helm is read or
// written.
func runHelm(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	helm := needs.Program(t, "helm", chartToolsHint, "../.ci/cache")
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), helm, args...)
	cmd.Env = append(os.Environ(), //nolint:forbidigo // for a program, with a home of its own
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.New(err.Error() + "\n" + stderr.String() + string(out))
	}
	return out, err
}

// renderChart returns the objects of the chart, with those arguments.
func renderChart(t *testing.T, namespace string, args ...string) []chartObject {
	t.Helper()
	return parseChart(t, chartText(t, namespace, args...))
}

func chartText(t *testing.T, namespace string, args ...string) []byte {
	t.Helper()
	text, err := runHelm(t, append([]string{
		"template", chartRelease, chartFolder, "--namespace", namespace, "--kube-version", chartKubernetes,
	}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parseChart(t *testing.T, text []byte) []chartObject {
	t.Helper()
	var objects []chartObject
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var object chartObject
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object) > 0 {
			objects = append(objects, object)
		}
	}
}

// at returns the value below the object, nil where there is none.
func (o chartObject) at(path ...string) any {
	var value any = map[string]any(o)
	for _, name := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[name]
		case chartObject:
			value = v[name]
		default:
			return nil
		}
	}
	return value
}

func (o chartObject) kind() string { return o.text("kind") }
func (o chartObject) name() string { return o.text("metadata", "name") }

func (o chartObject) text(path ...string) string {
	text, _ := o.at(path...).(string)
	return text
}

func (o chartObject) part(path ...string) chartObject {
	switch part := o.at(path...).(type) {
	case map[string]any:
		return part
	case chartObject:
		return part
	default:
		return nil
	}
}

// parts returns the members of a list.
func (o chartObject) parts(path ...string) []chartObject {
	list, _ := o.at(path...).([]any)
	var parts []chartObject
	for _, member := range list {
		switch part := member.(type) {
		case map[string]any:
			parts = append(parts, part)
		case chartObject:
			parts = append(parts, part)
		}
	}
	return parts
}

// podTemplate returns the pod that an object makes, nil if it makes none.
func (o chartObject) podTemplate() chartObject {
	switch o.kind() {
	case "Deployment", "Job":
		return o.part("spec", "template")
	case "CronJob":
		return o.part("spec", "jobTemplate", "spec", "template")
	default:
		return nil
	}
}

// chartObjectsOf returns those of one kind.
func chartObjectsOf(objects []chartObject, kind string) []chartObject {
	var found []chartObject
	for _, object := range objects {
		if object.kind() == kind {
			found = append(found, object)
		}
	}
	return found
}

func theChartObject(t *testing.T, objects []chartObject, kind, name string) chartObject {
	t.Helper()
	for _, object := range objects {
		if object.kind() == kind && object.name() == name {
			return object
		}
	}
	t.Fatalf("the chart has no %s %s", kind, name)
	return nil
}

func TestChartLint(t *testing.T) {
	t.Parallel()
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			if _, err := runHelm(t, "lint", "--strict", "--kube-version", chartKubernetes, chartFolder, "--values", values); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("defaults", func(t *testing.T) {
		t.Parallel()
		if _, err := runHelm(t, "lint", "--strict", "--kube-version", chartKubernetes, chartFolder); err != nil {
			t.Error(err)
		}
	})
}

func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ values, want string }{
		"no issuer":                {"issuer=", "issuer is missing"},
		"issuer without TLS":       {"issuer=http://sessions.example.com", "/issuer"},
		"issuer with a slash":      {"issuer=https://sessions.example.com/", "/issuer"},
		"misspelt value":           {"replicas=3", "replicas"},
		"misspelt value below":     {"keys.rotation.enabled=true", "rotation"},
		"unknown directory":        {"customers.from=mysql", "/customers/from"},
		"file without a file":      {"customers.from=file", "customers.file.secret or customers.file.configMap is missing"},
		"file twice":               {"customers.from=file,customers.file.secret=a,customers.file.configMap=b", "give one"},
		"http without a URL":       {"customers.from=http", "customers.http.url is missing"},
		"postgres without a DSN":   {"customers.from=postgres", "customers.postgres.dsnSecret is missing"},
		"lifetime without a unit":  {"sessions.lifetime=3600", "/sessions/lifetime"},
		"drain of an hour":         {"drain.delaySeconds=3600", "/drain/delaySeconds"},
		"memory of no unit":        {"resources.limits.memory=256MB", `resources.limits.memory is "256MB"`},
		"root":                     {"podSecurityContext.runAsUser=0", "/podSecurityContext/runAsUser"},
		"setting in the extra env": {"extraEnv.CUSTOMERSESSION_ISSUER=x", "'CUSTOMERSESSION_ISSUER'"},
		"secret in the extra env":  {"extraEnv.PASSWORD.valueFrom.secretKeyRef.name=x", "/extraEnv/PASSWORD"},
		"part of a volume":         {"extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/a,extraVolumeMounts[0].subPath=b", "subPath"},
		"route to nowhere":         {"httpRoute.enabled=true", "httpRoute.parentRefs is missing"},
		"route of a path":          {"ingress.enabled=true,issuer=https://example.com/sessions", "the issuer has a path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := runHelm(t, "template", chartRelease, chartFolder, "--kube-version", chartKubernetes,
				"--set", "issuer=https://sessions.example.com", "--set", test.values)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("--set %s: got %v, want an error with %q", test.values, err, test.want)
			}
		})
	}
}

// The values that the README shows are values that the chart takes.
func TestChartReadmeValues(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(chartFolder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^ *```yaml\n(.+?)^ *```$").FindAllSubmatch(page, -1)
	if len(blocks) < 2 {
		t.Fatalf("the README shows %d blocks of values", len(blocks))
	}
	for _, block := range blocks {
		values := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(values, block[1], 0o600); err != nil {
			t.Fatal(err)
		}
		renderChart(t, chartNamespace, "--values", "testdata/helm/minimal.yaml", "--values", values)
	}
}

// What a value is called must be the same in the three places that say it.
func TestChartValuesAreInTheSchema(t *testing.T) {
	t.Parallel()
	var values, schema chartObject
	for file, into := range map[string]*chartObject{"values.yaml": &values, "values.schema.json": &schema} {
		text, err := os.ReadFile(filepath.Join(chartFolder, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	delete(schema.part("properties"), "global") // Helm's own
	compareChartValues(t, "", values, schema)
}

func compareChartValues(t *testing.T, path string, values, schema chartObject) {
	t.Helper()
	properties := schema.part("properties")
	if properties != nil && schema["additionalProperties"] != false {
		t.Errorf("values.schema.json lets anything be in %q", path)
	}
	for name := range properties {
		value, there := values[name]
		if !there {
			t.Errorf("values.yaml has no %s", path+name)
		}
		if below, ok := value.(chartObject); ok {
			compareChartValues(t, path+name+".", below, properties.part(name))
		}
	}
}

// PrometheusRules of the chart are those of deploy/monitoring, which are tested
// there. Helm cannot read a file outside of the chart.
func TestChartRulesAreThoseOfMonitoring(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(chartFolder, "files/rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("files/rules.yaml of the chart is not monitoring/rules.yaml; copy it there")
	}
}
