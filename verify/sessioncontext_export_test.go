package verify

// OpenSessions returns how many session contexts the verifier still judges.
func (v *Verifier) OpenSessions() int { return len(v.open.list()) }
