#!/usr/bin/env bash
# Builds the programs of Kubernetes that a node needs, and Helm, into .ci/cache.
# Cold, that takes about a quarter of an hour on two cores; afterwards Go's build
# cache has everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
export CGO_ENABLED=0

# Without a version in it, a program says v0.0.0 and others take it for ancient.
component=k8s.io/component-base/version
flags="-s -w -X $component.gitVersion=v1.36.3 -X $component.gitMajor=1 -X $component.gitMinor=36"

for program in kubectl kube-scheduler kube-proxy kubelet kube-controller-manager kube-apiserver; do
  [[ -x .ci/cache/$program ]] && continue
  echo "building $program" >&2
  go build -modfile=.ci/kubernetes.mod -trimpath -ldflags "$flags" \
    -o ".ci/cache/$program" "k8s.io/kubernetes/cmd/$program"
done

if [[ ! -x .ci/cache/helm ]]; then
  echo "building helm" >&2
  go build -modfile=.ci/helm.mod -trimpath -o .ci/cache/helm helm.sh/helm/v3/cmd/helm
fi
