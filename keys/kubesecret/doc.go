// Package kubesecret keeps a manifest in a Secret of Kubernetes: a [Secret] is
// the [keys.Store] for those who change a manifest from outside a pod, or from
// a CronJob. Servers do not need it; they mount the Secret and read a file.
//
// # The lock
//
// Nobody holds a lock while a manifest is looked at and changed. A revision is
// the UID of the Secret and its resourceVersion, and the API server refuses an
// update of anything else: of two who read the same revision, one writes and
// the other gets [keys.ErrConflict], also when the Secret was deleted and made
// again in the meantime. Whoever changes a label or another member of the data
// changes the revision as well; that costs a repetition, never a manifest.
//
// # What is written
//
// One member of the Secret's data. All else stays as it is: the other members,
// labels, annotations, type. Where there is no Secret, [Secret.Write] makes one
// of type Opaque; where there is one without a manifest, it adds the member, as
// long as the type is Opaque, for whoever mounts a Secret of another type would
// get private keys that are not theirs.
//
// # Connections that break
//
// Reading is repeated a few times, writing never. When the connection is lost
// after a write was sent, nobody but the API server knows whether it took
// place; the error says so, and reading again tells.
//
// # Who may
//
// The identity is the service account of the pod, or what a kubeconfig says:
// client certificate, token, token file or credential plugin. It is read anew
// for each call, since all of these are replaced from time to time. It takes a
// Role with the verbs get and update on the one Secret; to create it, also the
// verb create, which Kubernetes cannot limit to one name.
//
// Private keys travel over the connection: it is TLS 1.2 or newer with a server
// that is verified, whatever the kubeconfig says. No error holds anything of
// the Secret's data, of a token or of a key.
//
// A few REST calls do all this. With client-go the program would be more than
// twice as big.
package kubesecret
