package deploy_test

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/customersession/customersession/issuer"
)

// renderedCharts holds what Helm printed for a file of values, for all tests.
var renderedCharts sync.Map

// chartOf returns what the chart makes of a file of values.
func chartOf(t *testing.T, values string) []chartObject {
	t.Helper()
	text, there := renderedCharts.Load(values)
	if !there {
		text = chartText(t, chartNamespace, "--values", values)
		renderedCharts.Store(values, text)
	}
	return parseChart(t, text.([]byte))
}

// wantChartYAML compares a part of an object with YAML.
func wantChartYAML(t *testing.T, object chartObject, want string, path ...string) {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(want), &value); err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(object.at(path...))
	if err != nil {
		t.Fatal(err)
	}
	normal, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(normal) {
		t.Errorf("%s %s: %s is\n%swant\n%s", object.kind(), object.name(), strings.Join(path, "."), got, normal)
	}
}

func TestChartPodsAreRestricted(t *testing.T) {
	t.Parallel()
	const common = "runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}"
	special := map[string]string{
		// The platform assigns the rest, and refuses what it did not assign.
		"openshift.yaml": "",
		// As it writes them.
		"file.yaml": ", runAsUser: 1000680000, fsGroup: 1000680000, fsGroupChangePolicy: OnRootMismatch",
	}
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			ids, is := special[filepath.Base(values)]
			if !is {
				ids = ", runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, fsGroupChangePolicy: OnRootMismatch"
			}
			objects := chartOf(t, values)
			for _, object := range objects {
				pod := object.podTemplate()
				if pod == nil {
					continue
				}
				wantChartYAML(t, pod, "{"+common+ids+"}", "spec", "securityContext")
				wantChartYAML(t, pod, `false`, "spec", "enableServiceLinks")
				for _, share := range []string{"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "initContainers"} {
					wantChartYAML(t, pod, `null`, "spec", share)
				}
				containers := pod.parts("spec", "containers")
				if len(containers) != 1 {
					t.Errorf("%s has %d containers, want 1", object.kind(), len(containers))
				}
				for _, container := range containers {
					wantChartYAML(t, container, `{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true,
					capabilities: {drop: [ALL]}}`, "securityContext")
					if container.at("resources", "limits", "memory") == nil || container.at("resources", "requests", "cpu") == nil {
						t.Errorf("%s has no limit of memory or requests no CPU", object.kind())
					}
				}
			}
		})
	}
}

// A secret in the environment is in every crash dump, and a part of a volume is
// never refreshed.
func TestChartSecretsAreFilesInFolders(t *testing.T) {
	t.Parallel()
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			objects := chartOf(t, values)
			if len(chartObjectsOf(objects, "Secret")) != 0 {
				t.Error("the chart makes a Secret")
			}
			for _, object := range objects {
				pod := object.podTemplate()
				for _, container := range pod.parts("spec", "containers") {
					if container.at("envFrom") != nil {
						t.Errorf("%s has envFrom", object.kind())
					}
					for _, variable := range container.parts("env") {
						if variable.at("valueFrom") != nil {
							t.Errorf("%s: %s is not a plain value", object.kind(), variable.text("name"))
						}
					}
					for _, mount := range container.parts("volumeMounts") {
						if mount.at("subPath") != nil || mount.at("subPathExpr") != nil || mount.at("readOnly") != true {
							t.Errorf("%s mounts %v, want a whole folder, read-only", object.kind(), mount)
						}
					}
				}
				for _, volume := range pod.parts("spec", "volumes") {
					if secret := volume.part("secret"); secret != nil && secret.at("defaultMode") != 0o440 {
						t.Errorf("%s: volume %s has mode %v, want 0440", object.kind(), volume.text("name"), secret.at("defaultMode"))
					}
				}
			}
		})
	}
}

// Each file that a setting names is in a volume that is mounted there.
func TestChartSettingsNameFilesThatAreThere(t *testing.T) {
	t.Parallel()
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			objects := chartOf(t, values)
			pod := theServer(t, objects).podTemplate()
			server := pod.parts("spec", "containers")[0]
			files := map[string]bool{}
			for _, mount := range server.parts("volumeMounts") {
				for _, volume := range pod.parts("spec", "volumes") {
					if volume.text("name") != mount.text("name") {
						continue
					}
					for _, item := range append(volume.parts("secret", "items"), volume.parts("configMap", "items")...) {
						files[mount.text("mountPath")+"/"+item.text("path")] = true
					}
				}
			}
			for _, variable := range server.parts("env") {
				name, value := variable.text("name"), variable.text("value")
				if strings.HasSuffix(name, "_FILE") && !files[value] {
					t.Errorf("%s is %s, which is in no volume: %v", name, value, slices.Sorted(maps.Keys(files)))
				}
			}
		})
	}
}

// theServer is the one Deployment.
func theServer(t *testing.T, objects []chartObject) chartObject {
	t.Helper()
	deployments := chartObjectsOf(objects, "Deployment")
	if len(deployments) != 1 {
		t.Fatalf("the chart has %d Deployments, want 1", len(deployments))
	}
	return deployments[0]
}

// The program itself reads what the chart sets, and every setting there is can
// be set by some value, but for a log in a file.
func TestChartSettings(t *testing.T) {
	reached := map[string]bool{}
	for _, values := range chartValueFiles(t) {
		objects := chartOf(t, values)
		t.Run(filepath.Base(values), func(t *testing.T) {
			server := theServer(t, objects).podTemplate().parts("spec", "containers")[0]
			for _, variable := range server.parts("env") {
				t.Setenv(variable.text("name"), variable.text("value"))
				reached[variable.text("name")] = true
			}
			settings, err := issuer.LoadSettings()
			if err != nil {
				t.Fatal(err)
			}
			grace, _ := theServer(t, objects).podTemplate().at("spec", "terminationGracePeriodSeconds").(int)
			if least := settings.DrainDelay + settings.DrainTimeout; float64(grace) < least.Seconds()+5 {
				t.Errorf("a pod is killed after %d s, and draining takes up to %s", grace, least)
			}
		})
	}
	for field := range reflect.TypeFor[issuer.Settings]().Fields() {
		name, is := field.Tag.Lookup("envconfig")
		if name == "REVOCATIONS_FILE" {
			continue // a file is for the processes of one host
		}
		if is && !reached["CUSTOMERSESSION_"+name] {
			t.Errorf("no file of values sets CUSTOMERSESSION_%s; is there a value for it?", name)
		}
	}
}

// Go knows how much memory the container may use, and stays below it.
func TestChartMemoryLimit(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"":                                         "230MiB", // of 256Mi
		"resources.limits.memory=1Gi":              "921MiB",
		"resources.limits.memory=0.5Gi":            "460MiB",
		"resources.limits.memory=512M":             "439MiB",
		"resources.limits.memory=262144Ki":         "230MiB",
		"resources.limits.memory=268435456":        "230MiB",
		"resources.limits.memory=268435456000m":    "230MiB",
		"resources.limits.memory=3e8":              "257MiB",
		"resources.limits.memory=null":             "",
		"resources.limits=null":                    "",
		"resources=null":                           "",
		"extraEnv.GOMEMLIMIT=100MiB":               "100MiB",
		"extraEnv.GOMEMLIMIT=off,resources=null":   "off",
		"extraEnv.HTTPS_PROXY=http://proxy.local.": "230MiB",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			objects := renderChart(t, chartNamespace, "--values", "testdata/helm/minimal.yaml", "--set", values)
			var got []string
			for _, variable := range theServer(t, objects).podTemplate().parts("spec", "containers")[0].parts("env") {
				if variable.text("name") == "GOMEMLIMIT" {
					got = append(got, variable.text("value"))
				}
			}
			if strings.Join(got, " ") != want || len(got) > 1 {
				t.Errorf("GOMEMLIMIT: got %q, want %q", got, want)
			}
		})
	}
}

func TestChartProbesAndPorts(t *testing.T) {
	t.Parallel()
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			objects := chartOf(t, values)
			server := theServer(t, objects).podTemplate().parts("spec", "containers")[0]
			for probe, path := range map[string]string{
				"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz",
			} {
				wantChartYAML(t, server, `{path: `+path+`, port: operations}`, probe, "httpGet")
			}
			for _, service := range chartObjectsOf(objects, "Service") {
				operations := strings.HasSuffix(service.name(), "-operations")
				for _, port := range service.parts("spec", "ports") {
					if (port.text("targetPort") == "operations") != operations {
						t.Errorf("Service %s leads to the port %s", service.name(), port.text("targetPort"))
					}
				}
			}
		})
	}
}

// The server has no token, and a Job may do one thing with one Secret.
func TestChartRights(t *testing.T) {
	t.Parallel()
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			objects := chartOf(t, values)
			wantChartYAML(t, theServer(t, objects).podTemplate(), `false`, "spec", "automountServiceAccountToken")
			for _, account := range chartObjectsOf(objects, "ServiceAccount") {
				wantChartYAML(t, account, `false`, "automountServiceAccountToken")
			}
			for _, kind := range []string{"ClusterRole", "ClusterRoleBinding"} {
				if found := chartObjectsOf(objects, kind); len(found) != 0 {
					t.Errorf("the chart has a %s", kind)
				}
			}
			server := theServer(t, objects).podTemplate().text("spec", "serviceAccountName")
			for _, binding := range chartObjectsOf(objects, "RoleBinding") {
				for _, subject := range binding.parts("subjects") {
					if subject.text("name") == server {
						t.Error("the server has a Role")
					}
				}
			}
		})
	}
}

func TestChartRoles(t *testing.T) {
	t.Parallel()
	objects := chartOf(t, "testdata/helm/postgres.yaml")
	wantChartYAML(t, theChartObject(t, objects, "Role", "customersession-rotate"),
		`[{apiGroups: [""], resources: [secrets], resourceNames: [signing], verbs: [get, update]}]`, "rules")
	wantChartYAML(t, theChartObject(t, objects, "Role", "customersession-bootstrap"),
		`[{apiGroups: [""], resources: [secrets], verbs: [create]},
		  {apiGroups: [""], resources: [secrets], resourceNames: [signing], verbs: [get]}]`, "rules")
	if got := len(chartObjectsOf(objects, "Role")); got != 2 {
		t.Errorf("the chart has %d Roles, want 2", got)
	}
	// What may create Secrets is there for the installation only.
	for _, object := range objects {
		if object.part("metadata", "labels")["app.kubernetes.io/component"] == "bootstrap" {
			annotations := object.part("metadata", "annotations")
			if annotations["helm.sh/hook"] != "pre-install" || annotations["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
				t.Errorf("%s %s stays: %v", object.kind(), object.name(), annotations)
			}
		}
	}
	rotate := theChartObject(t, objects, "CronJob", "customersession-rotate")
	wantChartYAML(t, rotate, `Forbid`, "spec", "concurrencyPolicy")
	wantChartYAML(t, rotate.podTemplate().parts("spec", "containers")[0],
		`[keys, rotate, --kubernetes-secret, sessions/signing, --secret-key, manifest.json]`, "args")
}

// Pods of Jobs get no requests, and each selector finds the pods it is for.
func TestChartSelectors(t *testing.T) {
	t.Parallel()
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			objects := chartOf(t, values)
			for _, object := range objects {
				selector := object.part("spec", "selector")
				switch object.kind() {
				case "Deployment", "PodDisruptionBudget":
					selector = selector.part("matchLabels")
				case "NetworkPolicy":
					selector = object.part("spec", "podSelector", "matchLabels")
				case "Service":
				default:
					continue
				}
				want := []string{"Deployment"}
				if object.kind() == "NetworkPolicy" {
					want = chartPolicyFor(object)
				}
				if got := selectedByChart(objects, selector); !slices.Equal(got, want) {
					t.Errorf("%s %s selects pods of %v, want %v", object.kind(), object.name(), got, want)
				}
			}
		})
	}
}

// chartPolicyFor returns the kind of object whose pods a NetworkPolicy is for.
func chartPolicyFor(policy chartObject) []string {
	switch {
	case strings.HasSuffix(policy.name(), "-rotate"):
		return []string{"CronJob"}
	case strings.HasSuffix(policy.name(), "-bootstrap"):
		return []string{"Job"}
	default:
		return []string{"Deployment"}
	}
}

// selectedByChart returns the kinds whose pods have those labels.
func selectedByChart(objects []chartObject, selector chartObject) []string {
	var kinds []string
	for _, object := range objects {
		pod := object.podTemplate()
		if pod == nil {
			continue
		}
		labels, all := pod.part("metadata", "labels"), len(selector) > 0
		for name, value := range selector {
			all = all && labels[name] == value
		}
		if all {
			kinds = append(kinds, object.kind())
		}
	}
	return kinds
}

// When no key may sign, all replicas are unready, and consumers must reach the
// JWK Set nevertheless.
func TestChartWellKnownIsAlwaysReachable(t *testing.T) {
	t.Parallel()
	objects := chartOf(t, "testdata/helm/minimal.yaml")
	wantChartYAML(t, theChartObject(t, objects, "Service", "customersession-wellknown"), `true`, "spec", "publishNotReadyAddresses")
	wantChartYAML(t, theChartObject(t, objects, "Service", "customersession"), `null`, "spec", "publishNotReadyAddresses")

	objects = chartOf(t, "testdata/helm/file.yaml")
	for name, path := range map[string]string{"customersession": "/", "customersession-wellknown": "/.well-known/"} {
		ingress := theChartObject(t, objects, "Ingress", name)
		wantChartYAML(t, ingress, `[{host: sessions.example.com, http: {paths: [{path: `+path+`, pathType: Prefix,
			backend: {service: {name: `+name+`, port: {name: http}}}}]}}]`, "spec", "rules")
	}

	objects = chartOf(t, "testdata/helm/http.yaml")
	route := theChartObject(t, objects, "HTTPRoute", "sessions")
	wantChartYAML(t, route, `[sessions.example.com]`, "spec", "hostnames")
	for i, want := range []string{"sessions-wellknown", "sessions"} {
		wantChartYAML(t, route.parts("spec", "rules")[i], `[{name: `+want+`, port: 80}]`, "backendRefs")
	}
}

// A server whose customers are in a file needs nobody.
func TestChartNetworkPolicies(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"minimal": `[]`,
		"http": `[{ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]},
			{ports: [{port: 8443}], to: [{ipBlock: {cidr: 192.0.2.0/24}}]},
			{ports: [{port: 443}], to: [{ipBlock: {cidr: 203.0.113.0/24}}]}]`,
		"postgres": `[{ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]},
			{ports: [{port: 5432}]}, {ports: [{port: 5432}]}, {ports: [{port: 4318}]}, {ports: [{port: 5353}]}]`,
	} {
		objects := chartOf(t, "testdata/helm/"+values+".yaml")
		for _, policy := range chartObjectsOf(objects, "NetworkPolicy") {
			wantChartYAML(t, policy, `[Ingress, Egress]`, "spec", "policyTypes")
			if !slices.Equal(chartPolicyFor(policy), []string{"Deployment"}) {
				continue
			}
			wantChartYAML(t, policy, want, "spec", "egress")
		}
	}
}

// A Job holds private keys: nothing may connect to its pod, which may connect to
// the API server alone.
func TestChartNetworkPolicyForEachJob(t *testing.T) {
	t.Parallel()
	for _, values := range chartValueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			t.Parallel()
			objects := chartOf(t, values)
			for _, job := range append(chartObjectsOf(objects, "Job"), chartObjectsOf(objects, "CronJob")...) {
				var policies []chartObject
				for _, policy := range chartObjectsOf(objects, "NetworkPolicy") {
					if len(selectedByChart([]chartObject{job}, policy.part("spec", "podSelector", "matchLabels"))) != 0 {
						policies = append(policies, policy)
					}
				}
				if len(policies) != 1 {
					t.Errorf("%d NetworkPolicies are for the %s %s, want 1", len(policies), job.kind(), job.name())
					continue
				}
				wantChartYAML(t, policies[0], `[]`, "spec", "ingress")
				want := `[{ports: [{port: 443}, {port: 6443}]}]`
				if filepath.Base(values) == "http.yaml" {
					want = `[{ports: [{port: 6443}], to: [{ipBlock: {cidr: 198.51.100.1/32}}]}]`
				}
				wantChartYAML(t, policies[0], want, "spec", "egress")
			}
		})
	}
}
