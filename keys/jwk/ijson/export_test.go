package ijson

// The reasons to refuse a text.
var (
	ErrSyntax    = errSyntax
	ErrTrailing  = errTrailing
	ErrUTF8      = errUTF8
	ErrSurrogate = errSurrogate
	ErrDepth     = errDepth
	ErrMembers   = errMembers
)
