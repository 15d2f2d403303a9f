#!/usr/bin/env bash
# shellcheck disable=SC2154 # the variables are those of run.sh
# The acts, in the order in which they are played. run.sh sources this.

# begin NAME begins an act; outage NAME one in which creates may answer 503.
begin() { tell "act: $1"; echo "act $1" >&3; }
outage() { tell "act: $1"; echo "outage $1" >&3; }

play() {
  tell "act: calm"
  sleep 20
  planned_rotation
  emergency
  rolling_upgrade
  pod_deleted
  pod_killed
  drain
  one_replica
  bad_secret
  database_restart
  begin "calm again"
  sleep 20
}

deployment() { kubectl -n "$namespace" "$1" "deployment/$release" "${@:2}"; }
selector=app.kubernetes.io/name=customersession,app.kubernetes.io/component=server

# ready_pods prints the pods that are ready and not about to end.
ready_pods() {
  kubectl -n "$namespace" get pods -l "$selector" -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.deletionTimestamp} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
    awk 'NF == 2 && $2 == "True" { print $1 }'
}

# ready COUNT reports whether so many are, and no other pod of ours is there.
ready() {
  [[ $(ready_pods | wc -l) == "$1" ]] &&
    [[ $(kubectl -n "$namespace" get pods -l "$selector" -o name | wc -l) == "$1" ]]
}

# A Job made from the CronJob, as a person does who does not want to wait for it;
# then, when its time has come, the next key takes over on all replicas.
planned_rotation() {
  begin "planned rotation"
  local before
  before=$(signers_seen)
  kubectl -n "$namespace" create job rotate-by-hand --from="cronjob/$release-rotate" >/dev/null
  kubectl -n "$namespace" wait job/rotate-by-hand --for=condition=complete --timeout=60s >/dev/null
  need 240 "another key to sign" more_signers_than "$before"
  # Until the last consumer has fetched the JWK Set once more.
  sleep 70
}

signers_seen() { grep -c 'another key signs' "$NODE_DIR/load.log"; }
more_signers_than() { (($(signers_seen) > $1)); }

# The key that signs is revoked; the one that stands by signs at once. Sessions
# of the old one are lost, which is what it is for; all others are good.
emergency() {
  need 180 "a key that stands by" stands_by
  begin "emergency revocation"
  local stolen
  stolen=$(current_key)
  echo "revoking $stolen" >&3
  keys revoke -- "$stolen" >"$NODE_DIR/revoke.log" 2>&1
  echo "revoked $stolen $revoked_after" >&3
  need 30 "the new key on every replica" everywhere "customersession_keys_current_info{algorithm=\"ES256\",kid=\"$(current_key)\"} 1"
  # Past the time from which on everybody must refuse the old one.
  sleep 90
  if in_node curl -sS "http://$(service "$release-wellknown")/.well-known/jwks.json" | grep -F -e "$stolen" >/dev/null; then
    echo "the revoked key is still published" >&2
    return 1
  fi
}

current_key() { keys status --json | sed -n 's/^  "current": "\(.*\)",$/\1/p'; }

# stands_by reports whether consumers know the next key already.
stands_by() { keys revoke --dry-run -- "$(current_key)" | grep '^signs now: .* on every replica'; }

# everywhere LINE reports whether the metrics of each replica have this line.
everywhere() {
  local ip
  for ip in $(kubectl -n "$namespace" get pods -l "$selector" -o jsonpath='{.items[*].status.podIP}'); do
    in_node curl -sS --max-time 2 "http://$ip:9090/metrics" | grep -xF "$1" >/dev/null || return 1
  done
}

# Another image, one pod after the other.
rolling_upgrade() {
  begin "rolling upgrade"
  helm upgrade "$release" "$root/deploy/helm/customersession" -f "$here/values.yaml" --set image.tag=two \
    --wait --timeout 3m >/dev/null
  need 60 "three new replicas" ready 3
  sleep 5
}

pod_deleted() {
  begin "pod deleted"
  kubectl -n "$namespace" delete pod "$(ready_pods | head -n 1)" >/dev/null
  need 60 "three replicas" ready 3
  sleep 5
}

# SIGKILL to the process: nothing is drained, and for a moment the Service still
# sends connections to it.
pod_killed() {
  begin "process killed"
  local before
  before=$(restarts)
  kill -KILL "$(server_process)"
  need 30 "the kubelet to start it again" more_restarts_than "$before"
  need 60 "three replicas" ready 3
  sleep 5
}

restarts() {
  kubectl -n "$namespace" get pods -l "$selector" -o jsonpath='{range .items[*]}{.status.containerStatuses[0].restartCount}{"\n"}{end}' |
    awk '{ sum += $1 } END { print sum }'
}
more_restarts_than() { (($(restarts) > $1)); }

# server_process prints the pid of one replica.
server_process() {
  local pid
  for pid in $(ctr -a "$NODE_DIR/containerd.sock" -n k8s.io tasks ls | awk 'NR > 1 { print $2 }'); do
    if [[ $(tr '\0' ' ' <"/proc/$pid/cmdline") == "/customersession serve " ]]; then
      echo "$pid"
      return
    fi
  done
}

# The node is drained. There is no other one to move to, so the disruption budget
# lets one pod go and holds the others, until the node takes pods again.
drain() {
  begin "node drained"
  if kubectl drain n1 --ignore-daemonsets --timeout=25s >"$NODE_DIR/drain.log" 2>&1; then
    echo "the drain took every replica: the disruption budget does not hold" >&2
    return 1
  fi
  [[ $(ready_pods | wc -l) == 2 ]] || { echo "the drain did not leave two replicas" >&2; return 1; }
  kubectl uncordon n1 >/dev/null
  need 60 "three replicas" ready 3
  sleep 5
}

one_replica() {
  begin "down to one replica and back"
  deployment scale --replicas=1 >/dev/null
  need 60 "one replica" ready 1
  sleep 10
  deployment scale --replicas=3 >/dev/null
  need 60 "three replicas" ready 3
  sleep 5
}

# Somebody overwrites the key Secret. Replicas refuse that and go on with what they
# have; the copy that was kept brings them back.
bad_secret() {
  begin "bad Secret"
  kubectl -n "$namespace" patch cronjob "$release-rotate" -p '{"spec": {"suspend": true}}' >/dev/null
  need 60 "the rotate Jobs to end" no_active_job
  local good
  good=$(kubectl -n "$namespace" get secret customersession-keys -o jsonpath='{.data.keys\.json}')
  put_manifest "$(printf '{"version": 1, "keys": [' | base64)"
  need 40 "every replica to refuse it" everywhere 'customersession_file_refused{file="keys"} 1'
  sleep 10
  ready 3 || { echo "replicas that have good keys are not ready" >&2; return 1; }
  put_manifest "$good"
  need 40 "every replica to be content" everywhere 'customersession_file_refused{file="keys"} 0'
  kubectl -n "$namespace" patch cronjob "$release-rotate" -p '{"spec": {"suspend": false}}' >/dev/null
}

no_active_job() { [[ -z $(kubectl -n "$namespace" get cronjob "$release-rotate" -o jsonpath='{.status.active}') ]]; }

# put_manifest BASE64 writes the manifest as it is, through standard input: who may
# list processes must not see it.
put_manifest() {
  printf '{"data": {"keys.json": "%s"}}' "$1" |
    kubectl -n "$namespace" patch secret customersession-keys --patch-file=/dev/stdin >/dev/null
}

# Creates may answer 503 here. Verifying has no need of the database.
database_restart() {
  outage "PostgreSQL restart"
  database_do restart
  sleep 20
  outage "PostgreSQL down for 10 s"
  database_do stop
  sleep 10
  database_do start
  sleep 15
}
