package kubesecret

import (
	"encoding/json"
	"errors"
	"maps"
)

// opaque is the type of a Secret without a special purpose.
const opaque = "Opaque"

// An object is a Secret as the API server writes it.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Namespace       string `json:"namespace"`
		Name            string `json:"name"`
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Immutable bool              `json:"immutable"`
	Type      string            `json:"type"`
	Data      map[string][]byte `json:"data"` // in base64, as encoding/json has it

	members map[string]json.RawMessage // all members, unknown ones too
}

// parseObject reads the answer to a request for the Secret. Its errors repeat
// nothing of the answer.
func parseObject(body []byte, namespace, name string) (*object, error) {
	var o object
	if json.Unmarshal(body, &o) != nil || json.Unmarshal(body, &o.members) != nil ||
		o.Kind != "Secret" || o.Metadata.Namespace != namespace || o.Metadata.Name != name ||
		o.Metadata.UID == "" || o.Metadata.ResourceVersion == "" {
		return nil, errors.New("the answer is not this Secret; is that a Kubernetes API server?")
	}
	return &o, nil
}

// revision names this version of this Secret, and of no later Secret with the
// same name: a resourceVersion alone may come back when etcd is restored.
func (o *object) revision() string {
	return o.Metadata.UID + "/" + o.Metadata.ResourceVersion
}

// previousSuffix ends the name of the data member with the previous version.
const previousSuffix = ".previous"

// with returns the object as JSON with that value in its data, and the value
// that it replaces beside it.
func (o *object) with(key string, value []byte) []byte {
	data := maps.Clone(o.Data)
	if data == nil {
		data = make(map[string][]byte, 1)
	}
	if old, there := data[key]; there {
		data[key+previousSuffix] = old
	}
	data[key] = value
	members := maps.Clone(o.members)
	members["data"] = mustMarshal(data)
	return mustMarshal(members)
}

// newObject returns a new Secret as JSON.
func newObject(namespace, name, key string, value []byte) []byte {
	return mustMarshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata":   map[string]string{"namespace": namespace, "name": name},
		"type":       opaque,
		"data":       map[string][]byte{key: value},
	})
}

// mustMarshal marshals a value that JSON can always hold.
func mustMarshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("kubesecret: marshaling an object: " + err.Error())
	}
	return text
}
