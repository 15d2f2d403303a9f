#!/usr/bin/env bash
# Rehearses an installation on a real Kubernetes, under load, and prints what each
# act cost; README.md says more. Needs root on Debian 12. Nothing stays behind,
# also after Ctrl-C.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/rehearsal/node/env.sh
source "$here/node/env.sh"
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
  local name
  for name in etcd containerd ctr runc conntrack iptables buildah openssl curl nsenter runuser; do
    command -v "$name" >/dev/null || { echo "$name is missing; README.md names the packages" >&2; exit 1; }
  done
  [[ ! -e $NODE_DIR ]] || { echo "$NODE_DIR is there: run node/down.sh, or wait for the other rehearsal" >&2; exit 1; }
  "$here/node/build.sh"
  trap cleanup EXIT
  trap 'exit 130' INT TERM
  mkdir -p "$NODE_DIR"
  build
  tell "starting the node"
  "$here/node/up.sh" "$NODE_DIR/image.tar"
  ctr -a "$NODE_DIR/containerd.sock" -n k8s.io images tag localhost/customersession:{one,two} >/dev/null
  database
  tell "installing the chart"
  install_chart
  load
  play
  judge
}

tell() { echo "$(date +%T) $*" >&2; }

cleanup() {
  local status=$?
  trap '' INT TERM
  [[ -z ${load_pid:-} ]] || kill "$load_pid" 2>/dev/null || true
  [[ ! -d $NODE_DIR/postgres ]] || database_do stop >/dev/null 2>&1 || true
  # After a failure the logs are all there is to look at.
  if ((status != 0)) && [[ -d $NODE_DIR ]]; then
    pods >"$NODE_DIR/pods.log" 2>&1 || true
    rm -rf "$NODE_DIR.logs"
    mkdir "$NODE_DIR.logs"
    cp "$NODE_DIR"/*.log "$NODE_DIR.logs" || true
    tell "the logs are in $NODE_DIR.logs"
  fi
  tell "cleaning up"
  "$here/node/down.sh"
}

pods() {
  kubectl get pods,jobs,events -A -o wide
  kubectl logs -n "$namespace" -l app.kubernetes.io/name=customersession --prefix --tail=-1
}

# build makes the program, its image and the load. The image is the last stage of
# deploy/container/Containerfile; its first one needs an image of Go to pull.
build() {
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$NODE_DIR/" . ./deploy/rehearsal/load)
  local container
  export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
  container=$(buildah from scratch)
  buildah copy -q "$container" "$NODE_DIR/customersession" /customersession >/dev/null
  buildah config --user 65532:65532 --entrypoint '["/customersession"]' --cmd serve "$container"
  buildah commit -q "$container" localhost/customersession:one >/dev/null
  buildah rm "$container" >/dev/null
  buildah push -q localhost/customersession:one "docker-archive:$NODE_DIR/image.tar:localhost/customersession:one"
  buildah rmi localhost/customersession:one >/dev/null
}

# database starts a PostgreSQL with the customer, on the node's address. Pods may
# use it without a password: nobody else can reach it.
database() {
  local dir=$NODE_DIR/postgres
  postgres_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
  install -d -m 0700 -o postgres "$dir"
  (cd "$dir" && runuser -u postgres -- "$postgres_bin/initdb" -D "$dir" --auth=trust >/dev/null)
  echo "host all all 10.0.0.0/8 trust" >>"$dir/pg_hba.conf"
  database_do start
  runuser -u postgres -- psql -q -h "$dir" -v ON_ERROR_STOP=1 -f - postgres <"$here/customers.sql"
}

# database_do start|stop|restart. The server must not keep descriptor 3 open.
database_do() {
  in_node runuser -u postgres -- "$postgres_bin/pg_ctl" "$1" --silent --mode=fast -D "$NODE_DIR/postgres" \
    -l "$NODE_DIR/postgres/log" -o "-c listen_addresses=$address -c unix_socket_directories=$NODE_DIR/postgres" 3>&-
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

# service NAME prints the host:port of a Service.
service() { kubectl -n "$namespace" get service "$1" -o jsonpath='{.spec.clusterIP}:{.spec.ports[0].port}'; }

# load starts the load, which does what is written to descriptor 3.
load() {
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
  echo "$(date -u '+%F %R UTC'), $(git -C "$root" describe --always --dirty), $(nproc) × $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), load average $(cut -d ' ' -f 1 /proc/loadavg)"
  echo
  cat "$NODE_DIR/table"
  ((status == 0)) || { grep -v level=INFO "$NODE_DIR/load.log" | tail -n 40 >&2; return "$status"; }
}

main "$@"
