package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
)

// A contract checks what a server does against the OpenAPI document that it
// publishes. It is safe for concurrent use.
type contract struct{ document *openapi3.T }

func newContract(t testing.TB) *contract {
	t.Helper()
	data, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	return &contract{document}
}

// check fails the test unless the document has this answer to this request:
// its status, its headers and its body. A request that succeeds must be in the
// document, too. The bodies are passed apart, read to their end.
func (c *contract) check(t testing.TB, req *http.Request, reqBody []byte, resp *http.Response, respBody []byte) {
	t.Helper()
	if err := c.compare(t.Context(), req, reqBody, resp, respBody); err != nil {
		t.Errorf("%s %s, status %d: %v", req.Method, req.URL.Path, resp.StatusCode, err)
	}
}

// compare is check, with the difference as an error.
func (c *contract) compare(ctx context.Context, req *http.Request, reqBody []byte, resp *http.Response, respBody []byte) error {
	route, response, err := c.find(req, resp.StatusCode)
	if err != nil {
		return err
	}
	input := requestInput(req, reqBody, route)
	if err := compareHeaders(input, response, resp); err != nil {
		return err
	}
	switch {
	case req.Method != http.MethodHead:
		err = compareBody(ctx, input, response, resp, respBody)
	case len(respBody) > 0:
		err = errors.New("an answer to HEAD has a body")
	}
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil
	}
	if err := openapi3filter.ValidateRequest(ctx, input); err != nil {
		return fmt.Errorf("the request succeeded but is not in the document: %w", err)
	}
	return nil
}

// find returns the document's operation for a request and its answer with the
// status. What no operation answers is a component of the document.
func (c *contract) find(req *http.Request, status int) (*routers.Route, *openapi3.Response, error) {
	// Clients double the slash at the beginning, or forget the one at the end.
	path := "/" + strings.TrimLeft(req.URL.Path, "/")
	item := c.document.Paths.Value(path)
	if item == nil {
		path += "/"
		item = c.document.Paths.Value(path)
	}
	if id, found := strings.CutPrefix(path, "/v1/customer-sessions/"); found && item == nil && strings.Count(id, "/") == 1 && req.URL.RawPath == "" {
		path = "/v1/customer-sessions/{id}"
		item = c.document.Paths.Value(path)
	}
	// A HEAD is answered like a GET, RFC 9110, Section 9.3.2.
	method := req.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	route := &routers.Route{Spec: c.document, Path: path, PathItem: item, Method: method}
	general := c.document.Components.Responses
	switch {
	case item == nil:
		route.Operation = only(http.StatusNotFound, general["NotFound"])
	case item.GetOperation(method) == nil:
		route.Operation = only(http.StatusMethodNotAllowed, general["MethodNotAllowed"])
	default:
		route.Operation = item.GetOperation(method)
	}
	response := route.Operation.Responses.Status(status)
	if response == nil {
		return nil, nil, errors.New("the status is not in the document")
	}
	return route, response.Value, nil
}

// only is an operation with one answer.
func only(status int, response *openapi3.ResponseRef) *openapi3.Operation {
	return &openapi3.Operation{Responses: openapi3.NewResponses(openapi3.WithStatus(status, response))}
}

func requestInput(req *http.Request, body []byte, route *routers.Route) *openapi3filter.RequestValidationInput {
	sent := req.Clone(req.Context())
	sent.Method = route.Method
	sent.Body = io.NopCloser(bytes.NewReader(body))
	if sent.Header.Get("Content-Type") == "" && len(body) > 0 {
		sent.Header.Set("Content-Type", "application/json")
	}
	return &openapi3filter.RequestValidationInput{
		Request:    sent,
		PathParams: map[string]string{"id": req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]},
		Route:      route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:      openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus:   true,
			MultiError:              true,
			SkipSettingDefaults:     true,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{formats()},
		},
	}
}

// compareHeaders does itself what kin-openapi does too, because that skips the
// headers of a 304 and of an answer to HEAD, and takes the first of several.
func compareHeaders(input *openapi3filter.RequestValidationInput, response *openapi3.Response, resp *http.Response) error {
	for name, header := range response.Headers {
		values := resp.Header.Values(name)
		switch {
		case len(values) > 1:
			return fmt.Errorf("header %s comes %d times", name, len(values))
		case len(values) == 1:
			if err := fitsHeader(header.Value, values[0]); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		case header.Value.Required:
			return fmt.Errorf("header %s is missing", name)
		}
	}
	const name = "Polar-Version"
	version := input.Request.Header.Get(name)
	if response.Headers[name] != nil && version != "" && resp.Header.Get(name) != version {
		return fmt.Errorf("header %s is %q, the request has %q", name, resp.Header.Get(name), version)
	}
	return nil
}

func fitsHeader(header *openapi3.Header, text string) error {
	var value any = text
	if header.Schema.Value.Type.Is(openapi3.TypeInteger) {
		number, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		value = number
	}
	return header.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020(), formats())
}

func compareBody(ctx context.Context, input *openapi3filter.RequestValidationInput, response *openapi3.Response, resp *http.Response, body []byte) error {
	if len(response.Content) == 0 {
		if len(body) > 0 || resp.Header.Get("Content-Type") != "" {
			return fmt.Errorf("there is a body (%q), the document has none", resp.Header.Get("Content-Type"))
		}
		return nil
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Options:                input.Options,
	}
	return openapi3filter.ValidateResponse(ctx, answer.SetBodyBytes(body))
}

// formats are the formats of strings that kin-openapi knows but does not check.
func formats() openapi3.SchemaValidationOption {
	email := regexp.MustCompile(openapi3.FormatOfStringForEmail)
	check := openapi3.NewCallbackValidator[string]
	return openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
		"uuid": check(uuid.Validate),
		"uri": check(func(text string) error {
			u, err := url.Parse(text)
			if err == nil && !u.IsAbs() {
				err = errors.New("URL is not absolute")
			}
			return err
		}),
		"email": check(func(text string) error {
			if !email.MatchString(text) {
				return errors.New("text is not an e-mail address")
			}
			return nil
		}),
	})
}
