package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v3"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/promverify"
)

// TestMonitoringLive holds the rules and the dashboard against what servers
// really show, and lets a real Prometheus fire an alert.
func TestMonitoringLive(t *testing.T) {
	t.Parallel()
	issuer, consumer, rules := startMonitored(t), startConsumer(t), readRules(t)
	t.Run("names", func(t *testing.T) {
		t.Parallel()
		checkNames(t, rules, shownSeries(t, rules, "http://"+issuer.operations+"/metrics", consumer))
	})
	t.Run("fires", func(t *testing.T) {
		t.Parallel()
		checkFires(t, rules, issuer, consumer)
	})
}

// startMonitored starts the production server, and has it do a bit of all that
// it counts.
func startMonitored(t *testing.T) *rehearsal {
	t.Helper()
	r := &rehearsal{folder: t.TempDir(), began: time.Now()}
	r.program = filepath.Join(r.folder, "customersession")
	for _, args := range [][]string{
		{"go", "build", "-o", r.program, "github.com/customersession/customersession"},
		{r.program, "keys", "init", "--file", filepath.Join(r.folder, "keys.json"), "--bootstrap"},
	} {
		if output, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, output)
		}
	}
	for _, address := range []*string{&r.public, &r.operations} {
		var err error
		if *address, err = freeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	r.settings = []string{"CUSTOMERSESSION_KEYS_FILE=keys.json", "CUSTOMERSESSION_ANONYMOUS_RATE=0.001", "CUSTOMERSESSION_ANONYMOUS_BURST=4"}
	t.Cleanup(r.stop)
	if err := r.organization(); err != nil {
		t.Fatal(err)
	}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	for _, ask := range []struct {
		authorization []string
		want          int
	}{
		{[]string{"Bearer " + r.secret}, http.StatusCreated},
		{[]string{"Bearer guessed"}, http.StatusUnauthorized},
		{[]string{"Bearer a.b.c"}, http.StatusUnauthorized},
		{nil, http.StatusUnauthorized},
		{[]string{"Bearer a", "Bearer b"}, http.StatusBadRequest},
		{nil, http.StatusTooManyRequests},
	} {
		if got := createMonitored(t, r.public, ask.authorization); got != ask.want {
			t.Fatalf("creating a session: got %d, want %d", got, ask.want)
		}
	}
	return r
}

// createMonitored asks for a session and returns the status.
func createMonitored(t *testing.T, address string, authorization []string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v1/customer-sessions/", strings.NewReader(runbookCustomer))
	if err != nil {
		t.Fatal(err)
	}
	request.Header["Authorization"] = authorization
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// startConsumer returns the address of what a consumer shows.
func startConsumer(t *testing.T) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	observer, err := promverify.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	observer.Verified(t.Context(), verify.Verification{Result: verify.ResultOK})
	observer.RevocationsAnswered(verify.RevocationsAnswer{Result: verify.ResultOK})
	observer.Refreshed(verify.Refresh{Result: verify.ResultOK, Keys: 2, Skipped: map[string]int{"unsupported": 1}})
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	return server.URL
}

func fetchMonitored(t *testing.T, address string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %d, %v\n%s", address, response.StatusCode, err, body)
	}
	return body
}

// A prometheusServer is one that scrapes every second.
type prometheusServer struct{ address string }

// startPrometheus starts one with the rules, on loopback.
func startPrometheus(t *testing.T, rules monitoringFile, issuer, consumer string) prometheusServer {
	t.Helper()
	program := needs.Program(t, "prometheus", prometheusHint)
	folder := t.TempDir()
	text, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	const config = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - {job_name: customersession, static_configs: [{targets: [%q]}]}
  - {job_name: portal, static_configs: [{targets: [%q]}]}
`
	writePageFiles(t, folder, map[string]string{
		"rules.yaml": string(text), "prometheus.yaml": fmt.Sprintf(config, issuer, consumer),
	})
	var log bytes.Buffer
	command := exec.Command(program, "--config.file=prometheus.yaml", "--storage.tsdb.path=data",
		"--web.listen-address="+address, "--log.level=warn")
	command.Dir, command.Stderr = folder, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended already
		_ = command.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", &log)
		}
	})
	p := prometheusServer{"http://" + address}
	eventuallyMonitored(t, "prometheus is ready", func() bool {
		response, err := http.Get(p.address + "/-/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return p
}

// eventuallyMonitored waits until something holds.
func eventuallyMonitored(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * runbookLimit); !holds(); <-time.After(runbookPause) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// ask returns the data of an answer of the API.
func (p prometheusServer) ask(t *testing.T, path string, query url.Values, data any) {
	t.Helper()
	answer := struct{ Data any }{data}
	if err := json.Unmarshal(fetchMonitored(t, p.address+"/api/v1/"+path+"?"+query.Encode()), &answer); err != nil {
		t.Fatal(err)
	}
}

// firing returns the alerts that fire, with the summary of each.
func (p prometheusServer) firing(t *testing.T) map[string]string {
	t.Helper()
	var data struct {
		Alerts []struct {
			State               string
			Labels, Annotations map[string]string
		}
	}
	p.ask(t, "alerts", nil, &data)
	firing := map[string]string{}
	for _, alert := range data.Alerts {
		if alert.State == "firing" {
			firing[alert.Labels["alertname"]] = alert.Annotations["summary"]
		}
	}
	return firing
}

// checkFires breaks the organizations file and mends it. Everything is as the
// operator has it, but for a time: the alert waits for a second, not a minute.
func checkFires(t *testing.T, rules monitoringFile, issuer *rehearsal, consumer string) {
	t.Helper()
	const alert = "CustomersessionFileRefused"
	for _, group := range rules.Groups {
		for i := range group.Rules {
			if group.Rules[i].Alert == alert {
				group.Rules[i].For = "1s"
			}
		}
	}
	p := startPrometheus(t, rules, issuer.operations, strings.TrimPrefix(consumer, "http://"))
	eventuallyMonitored(t, "both targets are scraped", func() bool {
		var data struct{ Result []any }
		p.ask(t, "query", url.Values{"query": {"up == 1"}}, &data)
		return len(data.Result) == 2
	})
	for _, expr := range readDashboard(t).expressions() {
		var data struct{ ResultType string }
		if p.ask(t, "query", url.Values{"query": {expr}}, &data); data.ResultType != "vector" {
			t.Errorf("%s: got a %s, want a vector", expr, data.ResultType)
		}
	}
	file := filepath.Join(issuer.folder, ".organizations.json")
	good := readMonitoring(t, file)
	writeOrganizations(t, file, []byte("{"))
	eventuallyMonitored(t, alert+" fires", func() bool { return p.firing(t)[alert] != "" })
	want := map[string]string{alert: issuer.operations + " refuses the organizations file"}
	if got := p.firing(t); !maps.Equal(got, want) {
		t.Errorf("got %q firing, want %q", got, want)
	}
	writeOrganizations(t, file, good)
	eventuallyMonitored(t, alert+" ends", func() bool { return len(p.firing(t)) == 0 })
	p.checkRules(t, len(rules.rules()))
}

func writeOrganizations(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkRules asks whether all rules could be evaluated.
func (p prometheusServer) checkRules(t *testing.T, want int) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.ask(t, "rules", nil, &data)
	n := 0
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			n++
			// Those of 30 days may not have had their turn.
			if rule.Health == "err" || rule.LastError != "" {
				t.Errorf("%s: %s, %s", rule.Name, rule.Health, rule.LastError)
			}
		}
	}
	if n != want {
		t.Errorf("got %d rules, want %d", n, want)
	}
}
