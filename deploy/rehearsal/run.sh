#!/usr/bin/env bash
# Rehearses an installation on a real Kubernetes, under load, and prints what each
# act cost; README.md says more. Needs root on Debian 12. Nothing stays behind,
# also after Ctrl-C.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/rehearsal/node/env.sh
source "$here/node/env.sh"
# shellcheck source=deploy/rehearsal/stage.sh
source "$here/stage.sh"
# shellcheck source=deploy/rehearsal/acts.sh
source "$here/acts.sh"

namespace=sessions
release=customersession
key_secret=$namespace/customersession-keys
# How long a consumer may accept a key that was revoked: the propagation, cache and
# skew of the policy below.
propagation=20s cache=1m skew=1s
revoked_after=81s

main() {
  stage
  call_image localhost/customersession:two
  database
  tell "installing the chart"
  install_chart
  load
  play
  judge
}

keys() {
  local command=$1
  shift
  in_node "$NODE_DIR/customersession" keys "$command" --kubernetes-secret "$key_secret" --kubeconfig "$kubeconfig" "$@"
}

# install_secrets makes what the chart needs, with the policy of somebody in a
# hurry: what takes a day elsewhere is done in minutes.
install_secrets() {
  kubectl create namespace "$namespace" >/dev/null
  # What the chart makes must do with the least that a namespace can allow.
  kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
  keys init --bootstrap --propagation "$propagation" --cache "$cache" --skew "$skew" \
    --max-lifetime 2m --lease 4m --rotation-period 2m >/dev/null
  # It prints {"entry":{…},"secret":"…"}.
  local key secret entry
  key=$("$NODE_DIR/customersession" apikey new --name checkout --json)
  secret=${key##*\"secret\":\"} entry=${key%,\"secret\":*}
  (umask 077 && echo "${secret%\"\}}" >"$NODE_DIR/api-key")
  kubectl -n "$namespace" create secret generic customersession-organizations --from-file=organizations.json=<(
    printf '{"organizations": [{"id": "%s", "slug": "acme", "portal_url": "%s", "api_keys": [%s]}]}' \
      1dbfc517-0bbf-4301-9ba8-555ca42b9737 https://portal.example.com/acme \
      "${entry#\{\"entry\":}"
  ) >/dev/null
  kubectl -n "$namespace" create secret generic customersession-database \
    --from-literal=dsn="postgres://postgres@$address/postgres" >/dev/null
}

helm() { in_node "$bin/helm" --kubeconfig "$kubeconfig" -n "$namespace" "$@"; }

install_chart() {
  install_secrets
  helm install "$release" "$root/deploy/helm/customersession" -f "$here/values.yaml" --wait --timeout 3m >/dev/null
}

# load starts the load, which does what is written to descriptor 3.
load() {
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -o "$NODE_DIR/load" ./deploy/rehearsal/load)
  mkfifo "$NODE_DIR/orders"
  in_node "$NODE_DIR/load" --target "$(service "$release")" --well-known "$(service "$release-wellknown")" \
    --issuer https://sessions.example.com --api-key-file "$NODE_DIR/api-key" --customer user_ada \
    --rate "${RATE:-25}" <"$NODE_DIR/orders" >"$NODE_DIR/table" 2>"$NODE_DIR/load.log" &
  load_pid=$!
  exec 3>"$NODE_DIR/orders"
}

# judge ends the load, and prints its table and its judgement.
judge() {
  local status=0
  exec 3>&-
  wait "$load_pid" || status=$?
  load_pid=
  played
  echo
  cat "$NODE_DIR/table"
  ((status == 0)) || { grep -v level=INFO "$NODE_DIR/load.log" | tail -n 40 >&2; return "$status"; }
}

main "$@"
