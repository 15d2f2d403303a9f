package kubesecret_test

import (
	"fmt"

	"github.com/customersession/customersession/keys/kubesecret"
)

func ExampleParseRef() {
	namespace, name, err := kubesecret.ParseRef("shop/signing-keys")
	fmt.Println(namespace, name, err)
	_, _, err = kubesecret.ParseRef("signing-keys")
	fmt.Println(err)
	// Output:
	// shop signing-keys <nil>
	// "signing-keys" is not a Secret in the form namespace/name
}

func ExampleNew() {
	secret, err := kubesecret.New(kubesecret.Config{
		Namespace: "shop",
		Name:      "signing-keys",
		// What a container finds in KUBERNETES_SERVICE_HOST and _PORT.
		InCluster: kubesecret.InCluster{Host: "10.96.0.1", Port: "443"},
	})
	fmt.Println(secret, err)
	// Output: Secret shop/signing-keys <nil>
}
