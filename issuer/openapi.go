package issuer

import _ "embed"

// openAPIDocument describes the public API: OpenAPI 3.1, as JSON. It is made
// from openapi.yaml, which is the file to edit.
//
//go:generate go test -run ^TestOpenAPIJSON$ -update .
//go:embed openapi.json
var openAPIDocument string
