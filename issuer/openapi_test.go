package issuer_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	yaml "github.com/oasdiff/yaml3"
)

var update = flag.Bool("update", false, "rewrite the files that are made from others")

// The two files are one document. JSON is what is served, for tools that read
// nothing else; YAML is what people edit.
func TestOpenAPIJSON(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(source, &root); err != nil {
		t.Fatal(err)
	}
	compact, err := appendNode(nil, &root)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Indent(&want, compact, "", " "); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	if *update {
		if err := os.WriteFile("openapi.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("openapi.json is not openapi.yaml: run go generate ./issuer")
	}
}

// appendNode writes a YAML node as JSON. Unlike a detour over Go's maps it
// keeps the order of members, which is the order in which people read them.
func appendNode(dst []byte, n *yaml.Node) ([]byte, error) {
	var err error
	switch n.Kind {
	case yaml.DocumentNode:
		return appendNode(dst, n.Content[0])
	case yaml.MappingNode:
		dst = append(dst, '{')
		for i := 0; i < len(n.Content) && err == nil; i += 2 {
			if i > 0 {
				dst = append(dst, ',')
			}
			if key := n.Content[i]; key.Tag != "!!str" {
				return nil, fmt.Errorf("line %d: the name %s is not a string; quote it", key.Line, key.Value)
			}
			if dst, err = appendNode(dst, n.Content[i]); err != nil {
				break
			}
			dst, err = appendNode(append(dst, ':'), n.Content[i+1])
		}
		return append(dst, '}'), err
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i := 0; i < len(n.Content) && err == nil; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, err = appendNode(dst, n.Content[i])
		}
		return append(dst, ']'), err
	case yaml.ScalarNode:
		if n.Tag == "!!timestamp" {
			return nil, fmt.Errorf("line %d: JSON has no times; quote %s", n.Line, n.Value)
		}
		return appendScalar(dst, n)
	default:
		return nil, fmt.Errorf("line %d: JSON has no aliases", n.Line)
	}
}

func appendScalar(dst []byte, n *yaml.Node) ([]byte, error) {
	var value any
	if err := n.Decode(&value); err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	text := bytes.NewBuffer(dst)
	encoder := json.NewEncoder(text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return text.Bytes(), err
}

func TestOpenAPIDocument(t *testing.T) {
	t.Parallel()
	document := newContract(t).document
	if !document.IsOpenAPI31OrLater() {
		t.Errorf("the document is OpenAPI %s, want 3.1", document.OpenAPI)
	}
	err := document.Validate(t.Context(), openapi3.EnableMultiError(), openapi3.ProhibitExtensionsWithRef())
	if err != nil {
		t.Error(err)
	}
	forEachOperation(document, func(where string, operation *openapi3.Operation) {
		if operation.OperationID == "" || operation.Summary == "" || operation.Security == nil {
			t.Errorf("%s lacks its operationId, summary or security", where)
		}
		if len(operation.Tags) != 1 || document.Tags.Get(operation.Tags[0]) == nil {
			t.Errorf("%s has the tags %q, want one of the document's", where, operation.Tags)
		}
	})
}

// Every body has an example, and every example is a body: it fits its schema,
// with formats.
func TestOpenAPIExamples(t *testing.T) {
	t.Parallel()
	forEachBody(newContract(t).document, func(where string, body *openapi3.MediaType) {
		if len(body.Examples) == 0 {
			t.Errorf("%s has no example", where)
		}
		for name, example := range body.Examples {
			if example.Value.Summary == "" {
				t.Errorf("%s, example %s: there is no summary", where, name)
			}
			if err := fits(body, example.Value.Value); err != nil {
				t.Errorf("%s, example %s: %v", where, name, err)
			}
		}
	})
}

// Answers are described in full: one with a member that is not in the document
// does not fit, nor one that lacks a member.
func TestOpenAPIAnswersAreStrict(t *testing.T) {
	t.Parallel()
	optional := map[string]bool{"client_id": true, "return_url": true, "input": true, "ctx": true}
	forEachBody(newContract(t).document, func(where string, body *openapi3.MediaType) {
		if strings.Contains(where, "request") || strings.Contains(where, "/openapi.json") {
			return
		}
		for name, example := range body.Examples {
			for path, member := range members(example.Value.Value) {
				free := strings.HasSuffix(path, "metadata")
				keys := slices.Collect(maps.Keys(member))
				member["unknown"] = nil
				if fits(body, example.Value.Value) == nil {
					t.Errorf("%s, example %s: %s may have an unknown member", where, name, path)
				}
				delete(member, "unknown")
				for _, key := range keys {
					if free || optional[key] && !strings.Contains(where, "portal") {
						continue
					}
					value := member[key]
					delete(member, key)
					if fits(body, example.Value.Value) == nil {
						t.Errorf("%s, example %s: %s may lack %s", where, name, path, key)
					}
					member[key] = value
				}
			}
		}
	})
}

// members returns every object within value by its place.
func members(value any) map[string]map[string]any {
	found := map[string]map[string]any{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			found[path] = value
			for name, member := range value {
				walk(path+"/"+name, member)
			}
		case []any:
			for i, element := range value {
				walk(fmt.Sprint(path, "/", i), element)
			}
		}
	}
	walk("", value)
	return found
}

func fits(body *openapi3.MediaType, value any) error {
	return body.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors(), formats())
}

func forEachOperation(document *openapi3.T, do func(where string, operation *openapi3.Operation)) {
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			do(method+" "+path, operation)
		}
	}
}

// forEachBody visits every body with a schema: of requests, of answers, and of
// the answers that no operation has.
func forEachBody(document *openapi3.T, do func(where string, body *openapi3.MediaType)) {
	visit := func(where string, content openapi3.Content) {
		for mediaType, body := range content {
			if mediaType != "text/html" {
				do(where, body)
			}
		}
	}
	forEachOperation(document, func(where string, operation *openapi3.Operation) {
		if operation.RequestBody != nil {
			visit(where+" request", operation.RequestBody.Value.Content)
		}
		for status, response := range operation.Responses.Map() {
			visit(where+" "+status, response.Value.Content)
		}
	})
	for name, response := range document.Components.Responses {
		visit("component "+name, response.Value.Content)
	}
}

// The contract lets pass what the document has, and nothing else.
func TestContract(t *testing.T) {
	t.Parallel()
	const (
		portal = "/v1/customer-portal/customer-session/introspect"
		create = "/v1/customer-sessions/"
		keySet = "/.well-known/jwks.json"
		body   = `{"expires_at":"2026-11-23T10:00:00Z","return_url":null}`
		many   = "Cache-Control: no-store\nRetry-After: 7"
		ok     = "Cache-Control: no-store\nContent-Type: application/json"
		cached = "Access-Control-Allow-Origin: *\nCache-Control: public, max-age=60\nETag: \"a\""
		issue  = `{"error":"RequestValidationError","detail":[{"type":"missing","loc":["body",0,"a"],"msg":"Field required"}]}`
		gone   = `{"detail":"Not Found"}`
	)
	tests := []struct {
		name            string
		method, path    string
		request, header string
		status          int
		response, body  string
		want            string // part of the difference, empty: none
	}{
		{"fits", "GET", portal, "", "", 200, ok, body, ""},
		{"undocumented status", "GET", portal, "", "", 202, ok, body, "status is not in the document"},
		{"missing header", "GET", portal, "", "", 200, "Content-Type: application/json", body, "Cache-Control is missing"},
		{"wrong header", "GET", portal, "", "", 200, "Cache-Control: private\nContent-Type: application/json", body, "Cache-Control"},
		{"header twice", "GET", portal, "", "", 200, ok + "\nCache-Control: no-store", body, "comes 2 times"},
		{"wrong media type", "GET", portal, "", "", 200, "Cache-Control: no-store\nContent-Type: text/plain", body, "Content-Type"},
		{"unknown member", "GET", portal, "", "", 200, ok, body[:len(body)-1] + `,"a":1}`, "body doesn't match schema"},
		{"missing member", "GET", portal, "", "", 200, ok, `{"return_url":null}`, "expires_at"},
		{"fraction of a second", "GET", portal, "", "", 200, ok, strings.Replace(body, "0Z", "0.5Z", 1), "expires_at"},
		{"relative URL", "GET", portal, "", "", 200, ok, strings.Replace(body, "null", `"/a"`, 1), "return_url"},
		{"not JSON", "GET", portal, "", "", 200, ok, "{", "decode"},
		{"wrong constant", "PUT", create, "", "", 405, ok + "\nAllow: POST", gone, "Method Not Allowed"},
		{"detail that is no list", "POST", create, "{}", "", 422, ok, `{"error":"RequestValidationError","detail":"x"}`, "detail"},
		{"location outside the body", "POST", create, "{}", "", 422, ok, strings.Replace(issue, "body", "query", 1), "loc"},
		{"location with a place", "POST", create, "{}", "", 422, ok, issue, ""},
		{"version echoed", "GET", portal, "", "Polar-Version: 2026-10", 200, ok + "\nPolar-Version: 2026-10", body, ""},
		{"version not echoed", "GET", portal, "", "Polar-Version: 2026-10", 200, ok, body, "Polar-Version"},
		{"no body", "POST", create, "{}", "", 429, many, "", ""},
		{"body where there is none", "POST", create, "{}", "", 429, many, "{}", "the document has none"},
		{"Retry-After not whole", "POST", create, "{}", "", 429, "Cache-Control: no-store\nRetry-After: 1.5", "", "Retry-After"},
		{"without the slash", "POST", strings.TrimSuffix(create, "/"), "{}", "", 429, many, "", ""},
		{"doubled slash", "POST", "/" + create, "{}", "", 429, many, "", ""},
		{"request that should fail", "POST", "/oauth2/introspect", "a=b", "Content-Type: application/x-www-form-urlencoded", 200, ok, `{"active":false}`, "the request succeeded"},
		{"form", "POST", "/oauth2/introspect", "token=b", "Content-Type: application/x-www-form-urlencoded", 200, ok, `{"active":false}`, ""},
		{"not modified", "GET", keySet, "", "", 304, cached, "", ""},
		{"not modified with a body", "GET", keySet, "", "", 304, cached, "{}", "the document has none"},
		{"weak validator", "HEAD", keySet, "", "", 200, strings.Replace(cached, `"a"`, `W/"a"`, 1), "", "ETag"},
		{"unknown path", "GET", "/admin", "", "", 404, ok, gone, ""},
		{"unknown path that is found", "GET", "/admin", "", "", 200, ok, gone, "status is not in the document"},
		{"wrong method", "PUT", create, "", "", 405, ok + "\nAllow: POST", `{"detail":"Method Not Allowed"}`, ""},
		{"wrong method without Allow", "PUT", create, "", "", 405, ok, `{"detail":"Method Not Allowed"}`, "Allow is missing"},
	}
	c := newContract(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			request, err := http.NewRequestWithContext(t.Context(), test.method, "https://sessions.example.com"+test.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header = headers(test.header)
			response := &http.Response{StatusCode: test.status, Header: headers(test.response), Body: http.NoBody}
			err = c.compare(t.Context(), request, []byte(test.request), response, []byte(test.body))
			if got := fmt.Sprint(err); err == nil && test.want != "" || err != nil && (test.want == "" || !strings.Contains(got, test.want)) {
				t.Errorf("compare: %v, want %q", err, test.want)
			}
		})
	}
}

// headers reads one header a line.
func headers(lines string) http.Header {
	header := http.Header{}
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		header.Add(name, value)
	}
	return header
}
