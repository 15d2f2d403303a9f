#!/usr/bin/env bash
# What the scripts of the node share. Source it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
: "${NODE_DIR:=/tmp/customersession-rehearsal}"

bin=$root/.ci/cache
netns=customersession-node
# The node's address, on a bridge that leads nowhere.
# shellcheck disable=SC2034 # for those who source this
address=10.199.0.1
kubeconfig=$NODE_DIR/admin.conf

# in_node runs a command in the node's network. Not with ip netns exec: it mounts
# a /sys of its own, and the kubelet would find no cgroups there.
in_node() { nsenter --net="/var/run/netns/$netns" "$@"; }

kubectl() { in_node "$bin/kubectl" --kubeconfig "$kubeconfig" "$@"; }

# start NAME COMMAND… runs a server in the node's network and notes its pid. It
# has a session of its own, so that Ctrl-C does not end it before down.sh does.
start() {
  local name=$1
  shift
  setsid nsenter --net="/var/run/netns/$netns" "$@" >"$NODE_DIR/$name.log" 2>&1 &
  echo $! >"$NODE_DIR/$name.pid"
}

# running NAME reports whether a server that was started still runs. One that has
# ended and that nobody has waited for does not.
running() {
  [[ -f $NODE_DIR/$1.pid ]] &&
    grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$(<"$NODE_DIR/$1.pid")/status"
}

# stop NAME ends a server, within ten seconds in any case.
stop() {
  running "$1" || return 0
  kill "$(<"$NODE_DIR/$1.pid")" 2>/dev/null || true
  until_true 10 not running "$1" || kill -KILL "$(<"$NODE_DIR/$1.pid")" 2>/dev/null || true
  rm -f "$NODE_DIR/$1.pid"
}

not() { ! "$@"; }

# until_true SECONDS COMMAND… repeats a command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

# need SECONDS WHAT COMMAND… does so, too, and gives up loudly.
need() {
  local seconds=$1 what=$2
  shift 2
  until_true "$seconds" "$@" || {
    echo "$what: not within $seconds seconds; see $NODE_DIR/*.log" >&2
    return 1
  }
}
