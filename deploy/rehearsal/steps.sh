#!/usr/bin/env bash
# Types what the README of the chart says, word for word and in order, on a real
# Kubernetes, and prints what the terminal shows. Needs what run.sh needs; takes
# three minutes. Exits with 1 when a step fails or does not do what it is for.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/rehearsal/node/env.sh
source "$here/node/env.sh"
# shellcheck source=deploy/rehearsal/stage.sh
source "$here/stage.sh"

page=$root/deploy/helm/customersession/README.md

main() {
  stage
  newcomer
  install_chart
  to_production
  operate
  by_hand
  uninstall
  played
  echo "All that the README says was done, and did what it is for."
}

# newcomer makes the folder of somebody with a checkout, the programs that the
# README asks for, and a cluster.
newcomer() {
  mkdir "$NODE_DIR/home" "$NODE_DIR/programs"
  ln -s "$root/deploy" "$NODE_DIR/home/deploy"
  ln -s "$bin/kubectl" "$bin/helm" "$NODE_DIR/customersession" "$NODE_DIR/programs"
  # The default image is not on the network here, but it is on the node.
  call_image "$(in_home helm template deploy/helm/customersession --kube-version 1.36 --set issuer=https://sessions.example.com |
    sed -n 's/^ *image: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' | sort -u)"
}

in_home() {
  (cd "$NODE_DIR/home" && umask 077 &&
    in_node env PATH="$NODE_DIR/programs:$PATH" HOME="$NODE_DIR/home" KUBECONFIG="$kubeconfig" "$@")
}

# blocks LANGUAGE HEADING prints the README's blocks of code of that language
# under a heading.
blocks() {
  awk -v language="$1" -v heading="## $2" '
    /^## / { inside = $0 == heading }
    code && /^ *```$/ { code = 0 }
    code { print substr($0, indent + 1) }
    inside && $0 ~ "^ *```" language "$" { code = 1; match($0, /^ */); indent = RLENGTH }
  ' "$page"
}

# type_blocks HEADING types a section's commands, and shows them and what they say.
type_blocks() {
  tell "typing: $1"
  blocks sh "$1" >"$NODE_DIR/typed"
  [[ -s $NODE_DIR/typed ]] || { echo "nothing to type under $1" >&2; return 1; }
  # As in a terminal: each line is shown before it is done.
  in_home bash -ev <"$NODE_DIR/typed" 2>&1 | tee "$NODE_DIR/shown"
}

# shows TEXT wants it among what was shown last.
shows() { grep -qF -e "$1" "$NODE_DIR/shown" || { echo "the terminal does not show $1" >&2; return 1; }; }

install_chart() {
  type_blocks Install
  shows 'STATUS: deployed'
  shows '"alg": "ES256"'
  shows '"customer_portal_url": "https://portal.example.com/acme/portal?customer_session_token='
  shows 'deployment "customersession" successfully rolled out'
  replicas_ready sessions
  if kubectl -n sessions get job,role,serviceaccount,networkpolicy -o name | grep bootstrap; then
    echo "the bootstrap Job, its rights or its policy are still there" >&2
    return 1
  fi
}

# replicas_ready NAMESPACE wants all pods of the Deployment, of which there are two
# or more, to be ready.
replicas_ready() {
  kubectl -n "$1" get deployment customersession -o json |
    jq -e '.status.readyReplicas >= 2 and .status.readyReplicas == .spec.replicas' >/dev/null ||
    { echo "not every replica is ready" >&2; return 1; }
}

# to_production moves the customers into a database and adds the rest of the page.
to_production() {
  database
  echo -n "postgres://postgres@$address/postgres" >"$NODE_DIR/home/dsn"
  # The rehearsal's database has no TLS, and its network is this machine.
  blocks yaml "Before it is production" | sed 's/^\( *\)dsnSecret: .*/&\n\1insecure: true/' >"$NODE_DIR/home/production.yaml"
  type_blocks "Before it is production"
  replicas_ready sessions
  local answer
  answer=$(in_home jq -r '"Authorization: Bearer " + .secret' apikey.json | in_node curl -sS -H @- \
    -H 'Content-Type: application/json' -d '{"external_customer_id": "user_ada"}' \
    "http://$(service customersession)/v1/customer-sessions/")
  [[ $(jq -r .customer.name <<<"$answer") == "Ada Lovelace" ]] ||
    { echo "the customer does not come from the database" >&2; return 1; }
}

operate() {
  type_blocks "Run it"
  shows '"status": "ok"'
  shows 'Nothing is wrong.'
  kubectl -n sessions wait job/rotate-now --for=condition=complete --timeout=60s
  in_home customersession keys status --kubernetes-secret sessions/customersession-keys | tee "$NODE_DIR/shown"
  shows 'Nothing is wrong.'
}

# by_hand installs once more, with a key set that is made on this machine.
by_hand() {
  tell "making a key set by hand"
  kubectl create namespace elsewhere
  kubectl label namespace elsewhere pod-security.kubernetes.io/enforce=restricted
  kubectl -n elsewhere create secret generic customersession-organizations \
    --from-file=organizations.json="$NODE_DIR/home/organizations.json"
  in_home customersession keys init --bootstrap --kubernetes-secret elsewhere/customersession-keys
  in_home helm install customersession deploy/helm/customersession --namespace elsewhere \
    --set issuer=https://sessions.example.com --set keys.bootstrap.enabled=true --wait | tee "$NODE_DIR/shown"
  ! shows MISSING 2>/dev/null || { echo "the notes miss what is there" >&2; return 1; }
  replicas_ready elsewhere
}

uninstall() {
  tell "helm uninstall"
  in_home helm uninstall customersession --namespace sessions --wait
  kubectl -n sessions get secret customersession-keys customersession-organizations
}

main "$@"
