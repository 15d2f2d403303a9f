// The definitions of custom resources that deploy/helm_test.go needs: those of
// the Gateway API and of the Prometheus operator. Nothing of them is built.
module github.com/customersession/customersession/ci

go 1.26.0

require (
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.4.0
)
