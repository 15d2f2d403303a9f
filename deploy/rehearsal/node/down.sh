#!/usr/bin/env bash
# Stops what up.sh started, whatever of it there is, and leaves nothing behind. The
# order matters: the API server hangs when etcd goes first, and mounts stay when
# the kubelet goes before its pods.
set -uo pipefail
# shellcheck source=deploy/rehearsal/node/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

tasks() { ctr -a "$NODE_DIR/containerd.sock" -n k8s.io tasks "$@" 2>/dev/null; }
no_pods() { [[ -z $(kubectl get pods -A -o name) ]]; }
no_tasks() { [[ -z $(tasks ls -q) ]]; }

main() {
  cd "$NODE_DIR" 2>/dev/null || return 0
  if running kubelet; then
    kubectl delete cronjob,job,deployment,statefulset,daemonset,pod --all -A --grace-period=1 --wait=false >/dev/null 2>&1
    until_true 20 no_pods
  fi
  stop kubelet
  if running containerd; then
    tasks ls -q | while read -r task; do tasks kill -s SIGKILL "$task"; done
    until_true 10 no_tasks
  fi
  local server
  for server in proxy containerd scheduler controllers apiserver etcd; do stop "$server"; done
  awk -v dir="$NODE_DIR/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r |
    while read -r mount; do umount "$mount"; done
  # Empty ones only: another containerd may have some of that name.
  find /sys/fs/cgroup -depth -type d -path '*/k8s.io*' -exec rmdir {} + 2>/dev/null
  ip netns del "$netns" 2>/dev/null
  [[ -f sysctl.before ]] && sysctl -q -p sysctl.before
  [[ -f absent.before ]] && xargs rm -rf <absent.before
  cd / && rm -rf "$NODE_DIR"
}

main
