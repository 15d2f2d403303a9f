// Package fileaccess finds out who else may read or change a file.
//
// Only permissions for everyone count, those of a group do not: a group is how a
// server of its own user shares a file with an administrator, or with the fsGroup
// of a pod.
package fileaccess
