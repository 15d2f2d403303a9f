package revocations

// WithoutLock makes p append as a table with a plain sequence does.
func (p *Postgres) WithoutLock() { p.lock = "SELECT 1" }

// LockSQL is what an append waits for.
const LockSQL = lockSQL
