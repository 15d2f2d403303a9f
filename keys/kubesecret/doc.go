// Package kubesecret keeps a manifest in a Secret of Kubernetes. A [Secret] is
// for an operator outside the cluster or a CronJob in it.
// Servers do not need it: they mount the Secret and read a file.
//
// # Concurrent changes
//
// There is no lock. A revision is the UID of the Secret and its resourceVersion,
// and the API server refuses to update any other revision: of two writers that
// read the same one, the second gets [keys.ErrConflict], even if the Secret was
// deleted and created again in between. A change of a label or of another member
// also changes the revision; that costs a repetition, never a manifest.
//
// # What is written
//
// One member of the Secret's data, and the version that it replaces as another
// one, with ".previous" at the end of its name. Everything else stays as it is:
// other members, labels, annotations, type. If there is no Secret, [Secret.Write]
// creates one of type Opaque. If there is a Secret without a manifest, Write adds
// the member, but only to type Opaque: a pod that mounts a Secret of another type
// must not receive private keys.
//
// # Broken connections
//
// A read is repeated a few times, a write never. If the connection breaks after
// a write was sent, only the API server knows whether it took place: the error
// says so, and reading again shows it.
//
// # Credentials
//
// The identity is the pod's service account or the user of a kubeconfig:
// client certificate, token, token file, password or credential plugin, with
// impersonation if the kubeconfig asks for it. Files are read anew for each
// call, since Kubernetes replaces them. A credential plugin runs once and again
// when its credentials expire or are refused; it shares the standard error of
// the program, and also the standard input if that is a terminal.
//
// The user needs a Role with the verbs get and update on the one Secret. To
// create it, the user also needs the verb create, which Kubernetes cannot limit
// to one name.
//
// Private keys travel over the connection. It uses TLS 1.2 or newer to a
// verified server: plain http and insecure-skip-tls-verify are refused, and no
// redirect is followed. No error holds anything of the Secret's data, of a token
// or of a key.
//
// # Logs
//
// Kubeconfigs, credentials and connections are handled by k8s.io/client-go, as
// in kubectl. It logs to k8s.io/klog, by default to standard error, and may quote
// the answer of a credential plugin there. A program that does not want this
// calls klog.SetLogger with a logger of its own, as the command customersession
// does.
package kubesecret
