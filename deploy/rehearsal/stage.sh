#!/usr/bin/env bash
# shellcheck disable=SC2154 # the variables are those of node/env.sh
# What run.sh and steps.sh share: a node with our image in it, and its end. Source
# it after node/env.sh.

tell() { echo "$(date +%T) $*" >&2; }

# stage brings up the node. Whatever ends the script after that, takes it down.
stage() {
  local name
  for name in etcd containerd ctr runc conntrack iptables buildah openssl curl nsenter runuser jq; do
    command -v "$name" >/dev/null || { echo "$name is missing; README.md names the packages" >&2; exit 1; }
  done
  [[ ! -e $NODE_DIR ]] || { echo "$NODE_DIR is there: run node/down.sh, or wait for the other rehearsal" >&2; exit 1; }
  "$root/deploy/rehearsal/node/build.sh"
  trap strike EXIT
  trap 'exit 130' INT TERM
  mkdir -p "$NODE_DIR"
  image
  tell "starting the node"
  "$root/deploy/rehearsal/node/up.sh" "$NODE_DIR/image.tar"
}

# strike ends what stage and database began.
strike() {
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
  "$root/deploy/rehearsal/node/down.sh"
}

pods() {
  kubectl get pods,jobs,events -A -o wide
  kubectl logs -n sessions -l app.kubernetes.io/name=customersession --prefix --tail=-1
}

# image makes the program, and an image of it as the last stage of
# deploy/container/Containerfile does; the first one needs an image of Go to pull.
image() {
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$NODE_DIR/" .)
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

# call_image NAME gives the image another name on the node.
call_image() {
  ctr -a "$NODE_DIR/containerd.sock" -n k8s.io images tag localhost/customersession:one "$1" >/dev/null
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
  runuser -u postgres -- psql -q -h "$dir" -v ON_ERROR_STOP=1 -f - postgres <"$root/deploy/rehearsal/customers.sql"
}

# database_do start|stop|restart. The server must not keep descriptor 3 open.
database_do() {
  in_node runuser -u postgres -- "$postgres_bin/pg_ctl" "$1" --silent --mode=fast -D "$NODE_DIR/postgres" \
    -l "$NODE_DIR/postgres/log" -o "-c listen_addresses=$address -c unix_socket_directories=$NODE_DIR/postgres" 3>&-
}

# service NAME prints the host:port of a Service.
service() { kubectl -n sessions get service "$1" -o jsonpath='{.spec.clusterIP}:{.spec.ports[0].port}'; }

# played prints when, what and on which machine.
played() {
  echo "$(date -u '+%F %R UTC'), $(git -C "$root" describe --always --dirty), $(nproc) × $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), load average $(cut -d ' ' -f 1 /proc/loadavg)"
}
