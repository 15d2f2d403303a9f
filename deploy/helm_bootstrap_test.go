//go:build unix

package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// bootstrap makes the first key set in each way that charts are installed, and
// again: the Job succeeds each time, and the key set stays the one it was.
func (s *chartServer) bootstrap(t *testing.T, namespace string) {
	t.Helper()
	program := chartProgram(t)
	values := []string{"--set", "issuer=https://sessions.example.com", "--set", "keys.bootstrap.enabled=true"}
	objects := renderChart(t, namespace, values...)

	// Argo CD takes the hooks of Helm for its own, at each sync: it deletes what is
	// there, makes them by weight, and waits.
	s.syncHooks(t, namespace, objects, program)
	first := s.secretMemberIn(t, namespace, "customersession-keys", "keys.json")
	s.syncHooks(t, namespace, objects, program)

	// kubectl knows no hooks, and may not change a Job.
	defer s.runJobs(t, namespace, program)()
	for _, tag := range []string{"one", "one", "two"} {
		s.apply(t, namespace, chartText(t, namespace, append(slices.Clone(values), "--set", "image.tag="+tag)...))
	}
	s.waitForJobs(t, namespace, 2)
	if got := s.secretMemberIn(t, namespace, "customersession-keys", "keys.json"); !bytes.Equal(got, first) {
		t.Error("the key set was changed")
	}
}

// chartProgram builds the program and returns its path.
func chartProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "customersession")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

// syncHooks does with the hooks what a sync of Argo CD does.
func (s *chartServer) syncHooks(t *testing.T, namespace string, objects []chartObject, program string) {
	t.Helper()
	var hooks []chartObject
	for _, object := range objects {
		if object.part("metadata", "annotations")["helm.sh/hook"] == "pre-install" {
			hooks = append(hooks, object)
		}
	}
	weight := func(object chartObject) string {
		return fmt.Sprint(object.part("metadata", "annotations")["helm.sh/hook-weight"])
	}
	slices.SortStableFunc(hooks, func(a, b chartObject) int { return strings.Compare(weight(a), weight(b)) })
	if last := len(hooks) - 1; last < 1 || hooks[last].kind() != "Job" {
		t.Fatalf("there are %d hooks, and the last one is no Job", len(hooks))
	}
	background := chartObject{"propagationPolicy": "Background"} // nothing collects garbage here
	for _, hook := range hooks {
		path := s.path(t, hook, namespace)
		s.ask(t, "admin-token", http.MethodDelete, path+"/"+hook.name(), background)
		made := s.create(t, path+chartStrict, hook)
		if made.kind() == "Job" {
			if output, err := s.runJob(t, namespace, made, program); err != nil {
				t.Errorf("the Job %s: %v\n%s", made.name(), err, output)
			}
		}
	}
	// They succeeded.
	for _, hook := range hooks {
		path := s.path(t, hook, namespace) + "/" + hook.name()
		if status, answer := s.ask(t, "admin-token", http.MethodDelete, path, background); status != http.StatusOK {
			t.Errorf("DELETE %s: got %d: %s", path, status, answer)
		}
	}
}

// runJob runs the program as the pod of a Job does, with the rights of its
// service account.
func (s *chartServer) runJob(t *testing.T, namespace string, job chartObject, program string) ([]byte, error) {
	t.Helper()
	pod := job.part("spec", "template", "spec")
	var args []string
	list, _ := pod.parts("containers")[0]["args"].([]any)
	for _, arg := range list {
		args = append(args, fmt.Sprint(arg))
	}
	token := s.token(t, namespace, pod.text("serviceAccountName"))
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = []string{"KUBECONFIG=" + s.kubeconfigOf(t, token)}
	return cmd.CombinedOutput()
}

// runJobs runs every Job of a namespace and says in its status how it went,
// until the function that it returns is called.
func (s *chartServer) runJobs(t *testing.T, namespace, program string) (stop func()) {
	t.Helper()
	enough, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for {
			for _, job := range s.jobs(t, namespace) {
				if !finished(job) {
					s.finishJob(t, namespace, job, program)
				}
			}
			select {
			case <-enough:
				return
			case <-again.C:
			}
		}
	}()
	return func() { close(enough); <-done }
}

// finishJob runs a Job once: whoever waits for it learns how it went.
func (s *chartServer) finishJob(t *testing.T, namespace string, job chartObject, program string) {
	t.Helper()
	output, err := s.runJob(t, namespace, job, program)
	now := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind string) chartObject {
		return chartObject{"type": kind, "status": "True", "lastTransitionTime": now}
	}
	status := chartObject{"startTime": now}
	if err == nil {
		status["completionTime"], status["succeeded"] = now, 1
		status["conditions"] = []any{condition("SuccessCriteriaMet"), condition("Complete")}
	} else {
		t.Errorf("the Job %s: %v\n%s", job.name(), err, output)
		status["failed"] = 1
		status["conditions"] = []any{condition("FailureTarget"), condition("Failed")}
	}
	job["status"] = status
	path := jobsOf(namespace) + "/" + job.name() + "/status"
	if status, answer := s.ask(t, "admin-token", http.MethodPut, path, job); status != http.StatusOK {
		t.Errorf("PUT %s: got %d: %s", path, status, answer)
	}
}

func jobsOf(namespace string) string { return "/apis/batch/v1/namespaces/" + namespace + "/jobs" }

func (s *chartServer) jobs(t *testing.T, namespace string) []chartObject {
	t.Helper()
	_, answer := s.ask(t, "admin-token", http.MethodGet, jobsOf(namespace), nil)
	var list chartObject
	if json.Unmarshal(answer, &list) != nil {
		return nil // the server is gone
	}
	return list.parts("items")
}

func finished(job chartObject) bool { return len(job.parts("status", "conditions")) != 0 }

// waitForJobs returns when a number of Jobs have finished.
func (s *chartServer) waitForJobs(t *testing.T, namespace string, number int) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(time.Minute)
	for {
		done := 0
		for _, job := range s.jobs(t, namespace) {
			if finished(job) {
				done++
			}
		}
		if done == number {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d Jobs have finished after a minute, want %d", done, number)
		case <-again.C:
		}
	}
}

// apply has kubectl apply objects.
func (s *chartServer) apply(t *testing.T, namespace string, text []byte) {
	t.Helper()
	kubectl := needs.Program(t, "kubectl", chartToolsHint, "../.ci/cache")
	cmd := exec.CommandContext(t.Context(), kubectl, "apply", "--namespace", namespace, "--filename", "-")
	cmd.Env = []string{"KUBECONFIG=" + s.kubeconfig(t), "HOME=" + t.TempDir(), "PATH=" + os.DevNull}
	cmd.Stdin = bytes.NewReader(text)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}
