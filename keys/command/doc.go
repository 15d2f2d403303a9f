// Package command is the command line of the keys: the commands with which
// operators make, rotate, revoke and inspect a manifest, in a file or in a
// Kubernetes Secret. It reads flags, calls package keys and reports what
// happened; package keys decides what each key may do.
//
// A command that writes reads the manifest, makes the next version, has it
// checked and replaces the manifest as a whole. If another writer was faster,
// it starts over from the newer version. Results go to standard output,
// messages to standard error; with --json, the result is one JSON object.
package command
