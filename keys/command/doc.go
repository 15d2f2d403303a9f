// Package command is the command line of the keys: what operators type to
// make, rotate, revoke and look at a manifest, in a file or in a Secret of
// Kubernetes. It reads flags, calls package keys, and says what happened;
// which key may do what is decided there.
//
// Every command that writes reads the manifest, makes the next version, has it
// checked, and puts it in place as a whole; if somebody else wrote in between,
// it starts anew from that. Results go to Out, talk to Err; with --json, Out
// gets one JSON object and nothing else.
package command
