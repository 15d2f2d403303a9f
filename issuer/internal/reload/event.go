package reload

import "time"

// Kind is what an [Event] tells of.
type Kind uint8

// The kinds of events.
const (
	// Replaced: a new version is in use.
	Replaced Kind = iota + 1
	// Refused: the file cannot be used for the reason in Err. The version in
	// use stays. Each bad version is reported once, however long it is there.
	Refused
	// Restored: after a refusal the file holds the version in use again.
	Restored
	// Unwatched: for the reason in Err changes are noticed by polling alone.
	Unwatched
)

// String returns the kind as a word in lower case, fit for a metric's label.
func (k Kind) String() string {
	switch k {
	case Replaced:
		return "replaced"
	case Refused:
		return "refused"
	case Restored:
		return "restored"
	case Unwatched:
		return "unwatched"
	default:
		return "unknown"
	}
}

// Event is something that happened to a file, for logs and metrics.
type Event struct {
	Kind Kind
	// Path is that of the configuration.
	Path string
	// Err is why; nil if Kind is Replaced or Restored.
	Err error
	// LoadedAt is since when the version in use is in use.
	LoadedAt time.Time
	// Duration is what reading and loading the file took.
	Duration time.Duration
}

// Status is how a file stands.
type Status struct {
	// LoadedAt is since when the version in use is in use.
	LoadedAt time.Time
	// Err is why the file as it is now cannot be used; nil when it holds the
	// version in use.
	Err error
	// Loads counts the versions that came into use, the first one included.
	Loads uint64
	// Refusals counts the versions that were refused.
	Refusals uint64
}
