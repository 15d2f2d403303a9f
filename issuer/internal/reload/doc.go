// Package reload keeps a value up to date with the file that it was made of: a
// new good version of the file replaces the value, a bad one is refused and the
// value stays.
//
//	file, err := reload.Open(reload.Config[*organizations.Registry]{
//		Path:     "/etc/customersession/organizations.json",
//		Load:     organizations.Parse,
//		OnReload: func(e reload.Event) { … }, // log, count
//	})
//	if err != nil { … } // no good version to begin with
//	group.Go(func() error { return file.Run(ctx) })
//	…
//	registry := file.Current() // each time anew, at the cost of one load
//
// # How a change is noticed
//
// [File.Run] watches the folder of the file, and the folder where it really is
// when it is a symbolic link, because most programs do not write into a file:
// editors rename a new file over it, and Kubernetes swaps a link of the folder
// it is in. As a watch may miss what happens on a network file system, or not
// be had at all, the file is also compared every [Config.Poll]: where it is, its
// size and its time of change.
//
// What looks changed is read and compared by its content; so the value is not
// loaded again when the file was only touched, or when another file of the same
// Kubernetes volume changed. What was refused is not either, except where the
// same content may be good later: see [Transient] and [Config.Accept].
//
// # Files written in place
//
// A version that changes while it is read is never used, and the end of a burst
// of changes is waited for. But a writer that pauses in the middle cannot be
// told from one that is done. Replace files by renaming, or choose a format in
// which half a document is an error.
package reload
