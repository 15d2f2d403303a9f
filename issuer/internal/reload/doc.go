// Package reload keeps a value up to date with the file it is made from. A good
// new version of the file replaces the value; a bad one is refused, and the
// value stays.
//
//	file, err := reload.Open(reload.Config[*organizations.Registry]{
//		Path:     "/etc/customersession/organizations.json",
//		Load:     organizations.Parse,
//		OnReload: func(e reload.Event) { … }, // log, count
//	})
//	if err != nil { … } // there is no good version to start with
//	group.Go(func() error { return file.Run(ctx) })
//	…
//	registry := file.Current() // one atomic load; call it each time
//
// # How a change is noticed
//
// [File.Run] looks at the file every second: which file the path leads to, its
// mode, its size and its modification time. That works for every way of replacing
// a file and on every file system: a new file renamed over the old one, a symbolic
// link that leads elsewhere, the ..data link of a Kubernetes volume.
//
// A file that looks changed is read and its content compared. A file that was
// only touched is not loaded again, and neither is one whose Kubernetes volume
// changed because of another file. A refused version is not loaded again either,
// unless the same content may become good: see [Transient] and [Config.Accept].
//
// # Losses
//
// With [Config.KeepMost], a version that takes away more than half of what there
// was is refused until [File.Reload] confirms it.
//
// # Files written in place
//
// A file is read once it has stopped changing, and a version that changes while
// it is read is never used. But a writer that pauses halfway looks the same as
// one that has finished. Replace files by renaming, or choose a format in which
// half a document is an error.
package reload
