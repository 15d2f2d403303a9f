package authz

import "io"

// MaxConnections is how many connections a listener has at a time.
const MaxConnections = maxConnections

// LogWriter is what the command logs to.
type LogWriter = logWriter

// NewLogWriter returns a writer to out.
func NewLogWriter(out io.Writer) *LogWriter { return newLogWriter(out) }
