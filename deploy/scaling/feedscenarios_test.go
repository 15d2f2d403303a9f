package scaling_test

import "time"

// A feedScenario is what the consumers of the feed go through.
type feedScenario struct {
	scenario

	replicas int
	// live entries are in force at the start. Entries are when each of the others
	// is appended.
	live    int
	entries []time.Time
	// down is when no replica answers.
	down interval
	// sharing is how many consumers have an address in common. Default: 1.
	sharing int
}

// feedReplicas is how many replicas the scenarios have for a number of consumers.
func feedReplicas(consumers int) int {
	if consumers > 10_000 {
		return 12
	}
	return 3
}

// newFeedScenario returns one in which consumers have been there for a while at
// the event.
func newFeedScenario(name string, replicas int, event time.Time, windows ...window) *feedScenario {
	return &feedScenario{
		scenario: scenario{
			name: name, start: event.Add(-2 * time.Minute), spread: time.Minute,
			end: windows[len(windows)-1].until, windows: windows,
		},
		replicas: replicas, live: 1000,
	}
}

// feedScenarios returns those of the page for a number of replicas.
func feedScenarios(replicas int) []*feedScenario {
	at := epoch().Add(10 * time.Minute)
	quiet := newFeedScenario("Quiet", replicas, at, after(at, "ten minutes", 0, 10*time.Minute))
	one := newFeedScenario("One revocation", replicas, at,
		after(at, "the 2 seconds after", 0, 2*time.Second),
		after(at, "the minute after that", 2*time.Second, 62*time.Second))
	one.entries = every(at, 1, time.Second)
	burst := newFeedScenario("10,000 revocations within 10 seconds", replicas, at,
		after(at, "the 12 seconds after", 0, 12*time.Second),
		after(at, "the minute after that", 12*time.Second, 72*time.Second))
	burst.entries = every(at, 10_000, time.Millisecond)
	outage := newFeedScenario("Outage of 10 minutes", replicas, at,
		after(at, "its first 2 seconds", 0, 2*time.Second),
		after(at, "the rest of it", 2*time.Second, 10*time.Minute),
		after(at, "the minute after", 10*time.Minute, 11*time.Minute),
		after(at, "the 10 minutes after that", 11*time.Minute, 21*time.Minute))
	outage.down = interval{at, at.Add(10 * time.Minute)}
	together := newFeedScenario("All consumers start in one second, with 10,000 revocations in force", replicas, at,
		after(at, "that second", 0, time.Second),
		after(at, "the minute after", time.Second, 61*time.Second))
	together.start, together.spread, together.live = at, time.Second, 10_000
	return []*feedScenario{quiet, one, oneASecond(replicas), burst, outage, together}
}

func oneASecond(replicas int) *feedScenario {
	at := epoch().Add(10 * time.Minute)
	s := newFeedScenario("One revocation a second", replicas, at, after(at, "a minute", 0, time.Minute))
	s.entries = every(at.Add(-time.Minute), 120, time.Second)
	return s
}

// A crowd is consumers that do not all find a place to wait.
type crowd struct {
	consumers int
	// following is with one revocation a minute. Starting is when all start in one
	// second, with 1,000 revocations in force.
	following, starting *feedScenario
}

// crowds returns those of the page.
func crowds() []crowd {
	var all []crowd
	for _, replicas := range []int{1, 3, 10, 12} {
		all = append(all, newCrowd(100_000, replicas, 1))
	}
	for _, replicas := range []int{1, 3, 12} {
		all = append(all, newCrowd(1_000, replicas, 1_000))
	}
	return all
}

func newCrowd(consumers, replicas, sharing int) crowd {
	at := epoch().Add(10 * time.Minute)
	following := newFeedScenario("following", replicas, at, after(at, "ten minutes", 0, 10*time.Minute))
	following.entries, following.live = every(at, 10, time.Minute), 100
	starting := newFeedScenario("starting", replicas, at, after(at, "twenty minutes", 0, 20*time.Minute))
	starting.start, starting.spread = at, time.Second
	following.sharing, starting.sharing = sharing, sharing
	return crowd{consumers, following, starting}
}

// every returns so many times, one every so often.
func every(from time.Time, n int, interval time.Duration) []time.Time {
	times := make([]time.Time, n)
	for i := range times {
		times[i] = from.Add(time.Duration(i) * interval)
	}
	return times
}
