package keys

import (
	"fmt"
	"time"

	"github.com/customersession/customersession/keys/jwk"
)

// A Policy states what the operator guarantees about the installation, and how
// keys are to be rotated. Durations are whole seconds.
type Policy struct {
	// Algorithm is the algorithm of new keys. Existing keys of another one stay
	// usable.
	Algorithm jwk.Algorithm
	// Propagation is the longest time that a new manifest takes to reach every
	// replica: 1 second to 24 hours.
	Propagation time.Duration
	// Cache is the greatest age of the JWK Set of an honest consumer: 1 minute
	// to 24 hours. Consumers fetch it at most once a minute.
	Cache time.Duration
	// Skew is the greatest difference between two clocks: 0 to 5 minutes.
	Skew time.Duration
	// MaxLifetime is the lifetime of the longest token: 1 minute to 24 hours.
	MaxLifetime time.Duration
	// Lease is how long a key may sign after the manifest was last renewed:
	// longer than Propagation and Skew together, or a renewal could come too
	// late; at most 366 days.
	Lease time.Duration
	// RotationPeriod is how long a key is the current one: at least
	// Propagation, Cache and Skew together, as the next key is published when
	// the current one starts; at most 366 days.
	RotationPeriod time.Duration
}

const day = 24 * time.Hour

// DefaultPolicy suits replicas that read a changed file within 5 minutes and
// consumers that honour max-age: ES256, a new key every 30 days, leases of 7
// days, tokens of up to 24 hours.
func DefaultPolicy() Policy {
	return Policy{
		Algorithm:      jwk.ES256,
		Propagation:    5 * time.Minute,
		Cache:          time.Hour,
		Skew:           30 * time.Second,
		MaxLifetime:    day,
		Lease:          7 * day,
		RotationPeriod: 30 * day,
	}
}

func (p Policy) problems() []error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("policy: "+format, args...))
	}
	if !p.Algorithm.Known() {
		add("algorithm %q is none of %v", p.Algorithm, jwk.Algorithms())
	}
	for _, d := range []struct {
		name             string
		value, low, high time.Duration
	}{
		{"propagation", p.Propagation, time.Second, day},
		{"cache", p.Cache, time.Minute, day},
		{"skew", p.Skew, 0, 5 * time.Minute},
		{"max_lifetime", p.MaxLifetime, time.Minute, day},
		{"lease", p.Lease, time.Second, 366 * day},
		{"rotation_period", p.RotationPeriod, time.Second, 366 * day},
	} {
		switch {
		case d.value < d.low || d.value > d.high:
			add("%s is %v; it must be from %v to %v", d.name, d.value, d.low, d.high)
		case d.value%time.Second != 0:
			add("%s is %v; it must be whole seconds", d.name, d.value)
		}
	}
	if len(problems) > 0 {
		return problems // sums of values out of bounds are meaningless
	}
	if short := p.Propagation + p.Skew; p.Lease <= short {
		add("lease is %v; it must be longer than propagation + skew = %v, or it ends before its renewal arrives", p.Lease, short)
	}
	if p.RotationPeriod < p.lead() {
		add("rotation_period is %v; it must be at least propagation + cache + skew = %v, or the next key is not ready in time",
			p.RotationPeriod, p.lead())
	}
	return problems
}
