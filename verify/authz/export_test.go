package authz

import "io"

// LogWriter is what the command logs to.
type LogWriter = logWriter

// NewLogWriter returns a writer to out.
func NewLogWriter(out io.Writer) *LogWriter { return newLogWriter(out) }
