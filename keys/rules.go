package keys

import (
	"fmt"
	"time"
)

// lead is how long a key is published before it may sign: rule 1.
func (p Policy) lead() time.Duration { return p.Propagation + p.Cache + p.Skew }

// retention is how long a key is published after it may sign: rule 2.
func (p Policy) retention() time.Duration { return p.MaxLifetime + 2*p.Skew }

// rule1 checks that the key, published at that instant, does not sign before
// every cache can hold it.
func (k *Key) rule1(published time.Time, p Policy) Verdict {
	if k.Bootstrap {
		return nil
	}
	return k.tooEarly("rule-1", k.ActivateAt, published.Add(p.lead()),
		"it starts signing at %[1]s, but a consumer's cache may lack it until %[2]s (publication + propagation + cache + skew), so its tokens would be refused",
		"set activate_at to the later instant")
}

// rule2 checks that the key does not leave the JWK Set before its last token
// expires.
func (k *Key) rule2(p Policy) Verdict {
	return k.tooEarly("rule-2", k.RemoveAt, k.PromisedUntil.Add(p.retention()),
		"it leaves the JWK Set at %[1]s, but its last token may be valid until %[2]s (promised_until + max_lifetime + 2 * skew) and would be refused",
		"set remove_at to the later instant")
}

// tooEarly returns a finding if got is before earliest. In the message, %[1]s
// is got and %[2]s is earliest.
func (k *Key) tooEarly(rule string, got, earliest time.Time, message, fix string) Verdict {
	if !got.Before(earliest) {
		return nil
	}
	return Verdict{{
		Rule: rule, KeyID: k.ID(), By: earliest.Sub(got),
		Message: fmt.Sprintf(message, formatTime(got), formatTime(earliest)), Fix: fix,
	}}
}
