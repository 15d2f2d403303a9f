package release_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const workflows = "../../.github/workflows"

type (
	workflow struct {
		On          map[string]yaml.Node
		Permissions map[string]string
		Concurrency struct {
			Group string
		}
		Env  map[string]string
		Jobs map[string]job
	}
	job struct {
		RunsOn      string            `yaml:"runs-on"`
		Timeout     int               `yaml:"timeout-minutes"`
		Permissions map[string]string `yaml:"permissions"`
		Uses        string
		Environment string
		Container   struct{ Image string }
		Env         map[string]string
		Steps       []step
	}
	step struct {
		Uses yaml.Node
		Run  string
		With map[string]string
		Env  map[string]string
	}
)

// allWorkflows returns every workflow by the name of its file.
func allWorkflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(workflows + "/*")
	if err != nil || len(files) < 3 {
		t.Fatalf("workflows: got %q, %v", files, err)
	}
	all := make(map[string]workflow, len(files))
	for _, path := range files {
		all[filepath.Base(path)] = readWorkflow(t, path)
	}
	return all
}

func readWorkflow(t *testing.T, path string) workflow {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(w.Jobs) == 0 {
		t.Fatalf("%s has no jobs", path)
	}
	return w
}

// An action is code of others with our rights: it is named by its commit, which
// nobody can move, and by its version, for the reader. The same action is the
// same one everywhere.
func TestActionsArePinned(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^(actions/[a-z-]+)@([0-9a-f]{40})$`)
	version := regexp.MustCompile(`^# v\d+\.\d+\.\d+$`)
	seen := map[string]string{}
	for file, w := range allWorkflows(t) {
		for name, job := range w.Jobs {
			for _, step := range job.Steps {
				if step.Uses.IsZero() {
					continue
				}
				found := pinned.FindStringSubmatch(step.Uses.Value)
				if found == nil || !version.MatchString(step.Uses.LineComment) {
					t.Errorf("%s, %s: %q %q is not an action of GitHub's, pinned by commit, with its version behind it",
						file, name, step.Uses.Value, step.Uses.LineComment)
					continue
				}
				pin := found[2] + " " + step.Uses.LineComment
				if other, ok := seen[found[1]]; ok && other != pin {
					t.Errorf("%s is used as %s and as %s", found[1], other, pin)
				}
				seen[found[1]] = pin
			}
		}
	}
	if len(seen) == 0 {
		t.Error("no action was looked at")
	}
}

// A workflow may read the code. Whatever a job may do beyond that is here, too.
func TestPermissions(t *testing.T) {
	t.Parallel()
	more := map[string]map[string]string{
		"release.yml publish": {
			"contents": "write", "packages": "write", "id-token": "write", "attestations": "write",
		},
	}
	for name, w := range allWorkflows(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			least := map[string]string{"contents": "read"}
			if !maps.Equal(w.Permissions, least) {
				t.Errorf("permissions: got %v, want %v", w.Permissions, least)
			}
			for jobName, job := range w.Jobs {
				want := maps.Clone(least)
				maps.Copy(want, more[name+" "+jobName])
				if !maps.Equal(job.Permissions, want) {
					t.Errorf("permissions of %s: got %v, want %v", jobName, job.Permissions, want)
				}
			}
		})
	}
}

// What can publish waits for somebody to agree, and builds nothing: no text of
// the repository runs where the token could write.
func TestPublishingNeedsConsent(t *testing.T) {
	t.Parallel()
	for file, w := range allWorkflows(t) {
		for name, job := range w.Jobs {
			if !slices.Contains(slices.Collect(maps.Values(job.Permissions)), "write") {
				continue
			}
			if job.Environment != "release" {
				t.Errorf("%s, %s may write, and its environment is %q", file, name, job.Environment)
			}
			for _, step := range job.Steps {
				if strings.HasPrefix(step.Uses.Value, "actions/checkout@") {
					t.Errorf("%s, %s may write, and checks out code", file, name)
				}
			}
		}
	}
}

// The image and the files have their provenance before anybody can fetch them,
// and the image that is pushed is the one that it is about.
func TestReleaseHasProvenance(t *testing.T) {
	t.Parallel()
	const digest = "${{ needs.image.outputs.digest }}"
	var order []string
	for _, step := range readWorkflow(t, workflows+"/release.yml").Jobs["publish"].Steps {
		attests := strings.HasPrefix(step.Uses.Value, "actions/attest-build-provenance@")
		switch {
		case attests && step.With["subject-digest"] == digest && step.With["subject-name"] == "ghcr.io/${{ github.repository }}":
			order = append(order, "attest the image")
		case attests && step.With["subject-path"] == "out/dist/*":
			order = append(order, "attest the files")
		case strings.Contains(step.Run, "skopeo copy --all --preserve-digests ") && step.Env["DIGEST"] == digest &&
			strings.HasPrefix(step.Run, "test "):
			order = append(order, "push the image")
		case strings.Contains(step.Run, "gh release create "):
			order = append(order, "make the release")
		case !strings.HasPrefix(step.Uses.Value, "actions/download-artifact@"):
			t.Errorf("what is this step for? %+v", step)
		}
	}
	want := []string{"attest the image", "attest the files", "push the image", "make the release"}
	if !slices.Equal(order, want) {
		t.Errorf("the job does %q, want %q", order, want)
	}
}

// Every run ends, stands in nobody's way, and is on a machine that does not
// change under it.
func TestRunsAreBounded(t *testing.T) {
	t.Parallel()
	for name, w := range allWorkflows(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if w.Concurrency.Group == "" {
				t.Error("there is no concurrency group")
			}
			for name, job := range w.Jobs {
				if job.Uses != "" {
					continue
				}
				if job.Timeout < 1 || job.Timeout > 60 {
					t.Errorf("%s has a timeout of %d minutes", name, job.Timeout)
				}
				if job.RunsOn == "" || strings.HasSuffix(job.RunsOn, "-latest") {
					t.Errorf("%s runs on %q", name, job.RunsOn)
				}
			}
		})
	}
}

// A pull request of a stranger gets no secret, and no text of theirs becomes
// part of a script.
func TestStrangersAreKeptOut(t *testing.T) {
	t.Parallel()
	events := []string{"push", "pull_request", "schedule", "workflow_call", "workflow_dispatch"}
	for name, w := range allWorkflows(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for event := range w.On {
				if !slices.Contains(events, event) {
					t.Errorf("it starts on %s", event)
				}
			}
			if text, err := os.ReadFile(filepath.Join(workflows, name)); err != nil || strings.Contains(string(text), "secrets") {
				t.Errorf("it speaks of secrets (%v)", err)
			}
			for jobName, job := range w.Jobs {
				for _, step := range job.Steps {
					if strings.Contains(step.Run, "${{") {
						t.Errorf("%s: an expression becomes part of the script %q; pass it in env", jobName, step.Run)
					}
					if strings.HasPrefix(step.Uses.Value, "actions/checkout@") && step.With["persist-credentials"] != "false" {
						t.Errorf("%s: the checkout leaves a token behind", jobName)
					}
				}
			}
		})
	}
}

// toolchain returns the version of Go that go.mod says to build with, without
// the leading "go".
func toolchain(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^toolchain go(\d+\.\d+\.\d+)$`).FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("go.mod has no toolchain line")
	}
	return found[1]
}

// Every job and the image build with the version of Go that go.mod names.
func TestGoVersion(t *testing.T) {
	t.Parallel()
	want := toolchain(t)
	text, err := os.ReadFile("../container/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"ARG GO_IMAGE=docker.io/library/golang:" + want, "FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build",
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the Containerfile has no line %q", line)
		}
	}
	for name, w := range allWorkflows(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, job := range w.Jobs {
				for _, step := range job.Steps {
					if !strings.HasPrefix(step.Uses.Value, "actions/setup-go@") {
						continue
					}
					if got := step.With["go-version"]; got != want {
						t.Errorf("%s: Go version: got %q, want %q", name, got, want)
					}
				}
			}
		})
	}
}

// CI is .ci/run, all of it, and beside it only what .ci/run says that it needs.
func TestCIRunsTheScript(t *testing.T) {
	t.Parallel()
	w := readWorkflow(t, workflows+"/ci.yml")
	for _, event := range []string{"push", "pull_request", "workflow_call"} {
		if _, ok := w.On[event]; !ok {
			t.Errorf("it does not start on %s", event)
		}
	}
	if len(w.Jobs) != 1 {
		t.Fatalf("there are %d jobs", len(w.Jobs))
	}
	run := w.Jobs["run"]
	if run.Container.Image != "debian:12" {
		t.Errorf("it runs in %q", run.Container.Image)
	}
	if len(w.Env)+len(run.Env) != 0 {
		t.Errorf("the environment is changed: %v %v", w.Env, run.Env)
	}
	const install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates gcc git gzip libc6-dev tar xz-utils"
	var steps []string
	for _, step := range run.Steps {
		if len(step.Env) != 0 {
			t.Errorf("the environment is changed: %v", step.Env)
		}
		action, _, _ := strings.Cut(step.Uses.Value, "@")
		steps = append(steps, action+step.Run)
	}
	want := []string{install, "actions/checkout", "actions/setup-go", "actions/setup-node", ".ci/run"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps:\n got %q\nwant %q", steps, want)
	}
	if info, err := os.Stat("../../.ci/run"); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf(".ci/run is not a program: %v", err)
	}
}

// A release is made of what CI has passed, by the scripts that are tested here.
func TestRelease(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(workflows + "/release.yml")
	if err != nil {
		t.Fatal(err)
	}
	var order struct {
		Jobs map[string]struct {
			Needs yaml.Node
			Uses  string
		}
	}
	if err := yaml.Unmarshal(text, &order); err != nil {
		t.Fatal(err)
	}
	if got, want := order.Jobs["ci"].Uses, "./.github/workflows/ci.yml"; got != want {
		t.Errorf("the first job uses %q, want %q", got, want)
	}
	for name, want := range map[string]string{"build": "ci", "image": "build", "publish": "build image"} {
		node := order.Jobs[name].Needs
		got := []string{node.Value}
		if node.Kind == yaml.SequenceNode {
			got = nil
			for _, one := range node.Content {
				got = append(got, one.Value)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s needs %q, want %q", name, got, want)
		}
	}
	for _, program := range regexp.MustCompile(`deploy/\S+`).FindAllString(string(text), -1) {
		if _, err := os.Stat(filepath.Join("../..", program)); err != nil {
			t.Errorf("it names what is not there: %v", err)
		}
	}
}

// What is too slow for every run is run by .ci/run, by name.
func TestExhaustiveTestsAreListed(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`EXHAUSTIVE=true go test -run '\^\((.*)\)\$' \\\n +(.*)\n`).FindStringSubmatch(string(script))
	if list == nil {
		t.Fatal(".ci/run has no exhaustive step")
	}
	names, packages := strings.Split(list[1], "|"), strings.Fields(list[2])
	for folder, tests := range exhaustiveTests(t) {
		if !slices.Contains(packages, "./"+folder) {
			t.Errorf("package %s is not run", folder)
		}
		for _, name := range tests {
			if !slices.Contains(names, name) {
				t.Errorf("%s of package %s is not run", name, folder)
			}
		}
	}
}

// exhaustiveTests returns the tests that ask whether to run in full, by the
// folder of their package.
func exhaustiveTests(t *testing.T) map[string][]string {
	t.Helper()
	asks := regexp.MustCompile(`(?m)^func (Test\w+)\(|needs\.(?:Exhaustive|Time)\(`)
	found := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "node_modules" || name == ".git") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../../"))
		test := ""
		for _, match := range asks.FindAllStringSubmatch(string(text), -1) {
			if match[1] != "" {
				test = match[1]
			} else {
				found[folder] = append(found[folder], test)
			}
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("found %v, %v", found, err)
	}
	return found
}
