package deploy_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// monitoringSeries has the values of each label of each metric.
type monitoringSeries map[string]map[string]map[string]bool

func (s monitoringSeries) add(name, labels string) {
	if s[name] == nil {
		s[name] = map[string]map[string]bool{}
	}
	for _, label := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(labels, -1) {
		if s[name][label[1]] == nil {
			s[name][label[1]] = map[string]bool{}
		}
		s[name][label[1]][label[2]] = true
	}
}

// shownSeries reads what servers show, and adds what Prometheus does to it:
// every target has a few labels, and the rules record more.
func shownSeries(t *testing.T, rules monitoringFile, addresses ...string) monitoringSeries {
	t.Helper()
	const target = `job="",instance="",namespace=""`
	shown := monitoringSeries{}
	shown.add("up", target)
	for _, address := range addresses {
		lines := regexp.MustCompile(`(?m)^([a-z]\w*)(?:\{(.*)\})? \S`).FindAllStringSubmatch(string(fetchMonitored(t, address)), -1)
		for _, line := range lines {
			shown.add(line[1], line[2]+target)
		}
	}
	for _, rule := range rules.rules() {
		if rule.Record != "" {
			shown.add(rule.Record, `job="",namespace=""`)
		}
	}
	return shown
}

// checkNames compares all expressions with what is shown.
func checkNames(t *testing.T, rules monitoringFile, shown monitoringSeries) {
	t.Helper()
	board, reference := readDashboard(t), string(readMonitoring(t, "metrics.md"))
	for _, rule := range rules.rules() {
		for _, problem := range shown.problems(rule.Expr, reference) {
			t.Errorf("%s%s: %s", rule.Record, rule.Alert, problem)
		}
		has := shown.labelsOfResult(rule.Expr)
		for _, text := range rule.Annotations {
			for _, used := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
				if !has[used[1]] {
					t.Errorf("%s: its annotations use the label %s, which it does not have", rule.Alert, used[1])
				}
			}
		}
	}
	for _, expr := range board.expressions() {
		for _, problem := range shown.problems(expr, reference) {
			t.Errorf("dashboard: %s: %s", expr, problem)
		}
	}
	for _, variable := range board.Templating.List {
		for _, match := range regexp.MustCompile(`label_values\((\w+), (\w+)\)`).FindAllStringSubmatch(variable.Definition, -1) {
			if shown[match[1]][match[2]] == nil {
				t.Errorf("the variable %s: nothing shows %s", variable.Name, match[0])
			}
		}
	}
}

// A monitoringSelector is a metric in an expression, and the text of its
// matchers.
type monitoringSelector struct{ name, matchers string }

// monitoringSelectors finds whatever has matchers or a range, and all names that
// can be ours without.
func monitoringSelectors(expr string) []monitoringSelector {
	var all []monitoringSelector
	found := regexp.MustCompile(`([A-Za-z_:][\w:]*)(?:\{([^}]*)\}|\[)|\b(up\b|(?:customersession|go|process)[_:][\w:]+)`)
	for _, match := range found.FindAllStringSubmatch(expr, -1) {
		all = append(all, monitoringSelector{match[1] + match[3], match[2]})
	}
	return all
}

// problems names what the expression has and servers do not show. A value may
// also be one that the reference of metrics names.
func (s monitoringSeries) problems(expr, reference string) []string {
	var problems []string
	known := map[string]bool{}
	for _, sel := range monitoringSelectors(expr) {
		if s[sel.name] == nil {
			problems = append(problems, "nothing shows "+sel.name)
		}
		for label := range s[sel.name] {
			known[label] = true
		}
		problems = append(problems, s.matcherProblems(sel, reference)...)
	}
	for label := range monitoringGroups(expr) {
		if !known[label] {
			problems = append(problems, "none of its metrics has the label "+label)
		}
	}
	if len(known) == 0 {
		problems = append(problems, "it has no metric")
	}
	return problems
}

func (s monitoringSeries) matcherProblems(sel monitoringSelector, reference string) []string {
	var problems []string
	for _, m := range regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`).FindAllStringSubmatch(sel.matchers, -1) {
		label, pattern := m[1], m[2]
		if s[sel.name][label] == nil {
			problems = append(problems, sel.name+" has no label "+label)
		}
		if !regexp.MustCompile(`^[a-z_|]+$`).MatchString(pattern) {
			continue // more than a list of words
		}
		for value := range strings.SplitSeq(pattern, "|") {
			named := strings.Contains(reference, "`"+value+"`") || strings.Contains(reference, `"`+value+`"`)
			if !s[sel.name][label][value] && !named {
				problems = append(problems, fmt.Sprintf("%s never has %s=%q", sel.name, label, value))
			}
		}
	}
	return problems
}

// monitoringGroups returns the labels that the expression groups or matches by.
func monitoringGroups(expr string) map[string]bool {
	labels := map[string]bool{}
	for _, list := range regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		for label := range strings.FieldsFuncSeq(list[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			labels[label] = true
		}
	}
	return labels
}

// labelsOfResult returns the labels that the results of an expression may have:
// those that it groups by, and otherwise those that all of its metrics have. What
// comes after an "and" or "unless" chooses among results, and adds none.
func (s monitoringSeries) labelsOfResult(expr string) map[string]bool {
	expr = regexp.MustCompile(`(?s)\b(?:and|unless)\b.*`).ReplaceAllString(expr, "")
	if labels := monitoringGroups(expr); len(labels) > 0 {
		return labels
	}
	count := map[string]int{}
	all := monitoringSelectors(expr)
	for _, sel := range all {
		for label := range s[sel.name] {
			count[label]++
		}
	}
	labels := map[string]bool{}
	for label, n := range count {
		labels[label] = n == len(all)
	}
	return labels
}

// What the check of names is made of finds what is wrong.
func TestMonitoringNames(t *testing.T) {
	t.Parallel()
	shown := monitoringSeries{}
	shown.add("customersession_keys", `state="next",job="a"`)
	shown.add("customersession:a:b", `job=""`)
	for expr, want := range map[string]int{
		`customersession_keys{state="next"} > 1`:         0,
		`customersession_keys{state=~"nxt|removed"} > 1`: 1,
		`customersession_keys{status="next"}`:            2,
		`rate(customersession_key[5m])`:                  1 + 1,
		`customersession:a:c`:                            1 + 1,
		`customersession:a:b / customersession:a:c`:      1,
		`sum by (job, state) (customersession_keys)`:     0,
		`sum by (job, kid) (customersession_keys)`:       1,
		`vector(1)`:           1,
		`node_load1{job="a"}`: 4,
		`customersession_keys and on (job) customersession:a:b`: 0,
	} {
		if got := shown.problems(expr, "`removed`"); len(got) != want {
			t.Errorf("%s: got %q, want %d problems", expr, got, want)
		}
	}
}
