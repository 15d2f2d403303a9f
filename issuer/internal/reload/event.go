package reload

import "time"

// Kind is a kind of [Event].
type Kind uint8

// The kinds of events.
const (
	// Replaced: a new version is in use.
	Replaced Kind = iota + 1
	// Refused: the file cannot be used, for the reason in Err. The version in
	// use stays. Each bad version is reported once, however long it is there.
	Refused
	// Restored: after a refusal the file holds the version in use again.
	Restored
)

// String returns the kind as a lower-case word, fit for a metric's label.
func (k Kind) String() string {
	switch k {
	case Replaced:
		return "replaced"
	case Refused:
		return "refused"
	case Restored:
		return "restored"
	default:
		return "unknown"
	}
}

// Event is a change of a file, for logs and metrics.
type Event struct {
	Kind Kind
	// Path is the path in the configuration.
	Path string
	// Err is the reason for a refusal, nil otherwise.
	Err error
}

// Status is the present state of a file.
type Status struct {
	// LoadedAt is when the version in use was loaded.
	LoadedAt time.Time
	// Err is why the file, as it is now, cannot be used. It is nil while the
	// file holds the version in use.
	Err error
}
