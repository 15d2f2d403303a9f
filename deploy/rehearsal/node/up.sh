#!/usr/bin/env bash
# up.sh [IMAGE.tar …]: starts a real Kubernetes of one node in a network namespace
# of its own, with the images of these docker archives in it; pods use them with
# imagePullPolicy: Never. Needs root, the programs of build.sh, and Debian's
# etcd-server containerd runc containernetworking-plugins iptables conntrack
# buildah openssl curl iproute2. Stop it with down.sh, also when this fails.
set -euo pipefail
# shellcheck source=deploy/rehearsal/node/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

main() {
  mkdir -p "$NODE_DIR"
  cd "$NODE_DIR"
  # The kubelet changes these for the whole machine; down.sh puts them back.
  [[ -f sysctl.before ]] ||
    sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops | sed 's/ = /=/' >sysctl.before
  note_absent
  network
  certificates
  kubeconfig_of admin
  kubeconfig_of kubelet
  control_plane
  runtime "$@"
  kubelet
  proxy
  need 60 "the node" node_ready
}

# note_absent notes which folders are not there. The kubelet, the controllers and
# containerd make them, wherever they are told to work.
note_absent() {
  local folder
  for folder in /var/lib/kubelet /var/lib/cni /var/log/containers /usr/libexec/kubernetes /run/containerd; do
    [[ -e $folder ]] || echo "$folder"
  done >absent.before
}

# network makes the node's network: loopback, and a bridge with the address.
# Without a default route, the API server and kube-proxy find no address to use.
network() {
  ip netns add "$netns"
  in_node ip link set lo up
  in_node ip link add node0 type bridge
  in_node ip addr add "$address/24" dev node0
  in_node ip link set node0 up
  in_node ip route add default dev node0
  in_node sysctl -qw net.ipv4.ip_forward=1
}

certificates() {
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=node-ca 2>/dev/null
  certificate api /CN=kube-apiserver "IP:127.0.0.1,IP:$address,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
  certificate admin /O=system:masters/CN=admin DNS:admin
  # The Node authorizer knows a kubelet by exactly this name and group.
  certificate kubelet /O=system:nodes/CN=system:node:n1 "DNS:n1,IP:$address,IP:127.0.0.1"
}

# certificate NAME SUBJECT NAMES
certificate() {
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 2 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") 2>/dev/null
}

# kubeconfig_of USER
kubeconfig_of() {
  cat >"$1.conf" <<END
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: 'https://127.0.0.1:6443', certificate-authority: $NODE_DIR/ca.crt}}]
users: [{name: user, user: {client-certificate: $NODE_DIR/$1.crt, client-key: $NODE_DIR/$1.key}}]
contexts: [{name: node, context: {cluster: node, user: user}}]
current-context: node
END
}

control_plane() {
  start etcd etcd --data-dir "$NODE_DIR/etcd" \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
  # By its InternalIP it finds the kubelet, for kubectl logs and exec: the node's
  # name means nothing here.
  start apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --cert-dir="$NODE_DIR/certs" \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$address" \
    --tls-cert-file=api.crt --tls-private-key-file=api.key --client-ca-file=ca.crt \
    --kubelet-client-certificate=admin.crt --kubelet-client-key=admin.key \
    --kubelet-certificate-authority=ca.crt --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file=sa.key --service-account-key-file=sa.key \
    --authorization-mode=Node,RBAC --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true
  need 90 "the API server" api_ready
  start controllers "$bin/kube-controller-manager" --kubeconfig=admin.conf --bind-address=127.0.0.1 \
    --leader-elect=false --service-account-private-key-file=sa.key --root-ca-file=ca.crt --cert-dir="$NODE_DIR/certs"
  start scheduler "$bin/kube-scheduler" --kubeconfig=admin.conf --bind-address=127.0.0.1 \
    --leader-elect=false --cert-dir="$NODE_DIR/certs"
}

api_ready() { [[ $(kubectl get --raw /readyz) == ok ]]; }
node_ready() { kubectl get node n1 --no-headers | grep -qw Ready; }

# runtime starts containerd and brings the images in.
runtime() {
  mkdir -p cni
  # restrict_oom_score_adj, disable_apparmor and no systemd cgroups: this also
  # works inside a container that has few rights of its own.
  cat >containerd.toml <<END
version = 2
root = "$NODE_DIR/containerd"
state = "$NODE_DIR/containerd-state"
oom_score = 0
[grpc]
  address = "$NODE_DIR/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$NODE_DIR/cni"
END
  cat >cni/10-bridge.conflist <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
   "ipam": {"type": "host-local", "dataDir": "$NODE_DIR/ipam",
            "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
  start containerd containerd -c containerd.toml
  need 30 containerd containers version
  pause_image
  local image
  for image in pause.tar "$@"; do containers images import "$image" >/dev/null; done
}

containers() { ctr -a "$NODE_DIR/containerd.sock" -n k8s.io "$@"; }

pause_image() {
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$NODE_DIR/pause" ./deploy/rehearsal/node/pause)
  local container
  export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
  container=$(buildah from scratch)
  buildah copy -q "$container" pause /pause >/dev/null
  buildah config --entrypoint '["/pause"]' "$container"
  buildah commit -q "$container" localhost/pause:1 >/dev/null
  buildah rm "$container" >/dev/null
  buildah push -q localhost/pause:1 docker-archive:pause.tar:localhost/pause:1
  buildah rmi localhost/pause:1 >/dev/null
}

# kubelet starts the kubelet. Cgroups for pods, disk accounting and the changes to
# iptables are off: they want more rights than a container has, and do not matter
# here. It looks at Secrets every 5 seconds, not every minute.
kubelet() {
  cat >kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
cgroupsPerQOS: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
containerRuntimeEndpoint: unix://$NODE_DIR/containerd.sock
featureGates: {KubeletInUserNamespace: true}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $NODE_DIR/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $NODE_DIR/kubelet.crt
tlsPrivateKeyFile: $NODE_DIR/kubelet.key
address: $address
makeIPTablesUtilChains: false
resolvConf: ""
syncFrequency: 5s
podLogsDir: $NODE_DIR/pod-logs
evictionHard: {memory.available: "50Mi"}
END
  start kubelet "$bin/kubelet" --config=kubelet.yaml --kubeconfig=kubelet.conf --root-dir="$NODE_DIR/kubelet" \
    --hostname-override=n1 --node-ip="$address" --cert-dir="$NODE_DIR/certs" --oom-score-adj=0
}

# proxy starts kube-proxy, which must leave the machine's conntrack limits alone.
proxy() {
  cat >proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: $address
mode: iptables
clusterCIDR: 10.244.0.0/24
clientConnection: {kubeconfig: $kubeconfig}
conntrack: {maxPerCore: 0, min: 0}
END
  start proxy "$bin/kube-proxy" --config=proxy.yaml --hostname-override=n1
}

main "$@"
