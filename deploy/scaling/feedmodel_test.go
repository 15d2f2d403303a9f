package scaling_test

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"
)

// The rules of the feed of revocations, as the model has them: those of its
// consumers in package verify and of the issuer. See the rules in model_test.go.
const (
	feedMaxAge       = 15 * time.Minute
	feedWait         = 25 * time.Second
	feedPause        = time.Second
	feedCrowdedPause = 5 * time.Second
	feedLongestPause = 30 * time.Second
	feedRate         = 2000
	feedInterval     = 500 * time.Millisecond
	feedRetry        = time.Second
	feedLastRetry    = 30 * time.Second

	waitingInAll   = 10_000
	waitingAddress = 64
	largeRate      = 1
	largeBurst     = 20
	clientRate     = 100
	clientBurst    = 200
)

// tick is the resolution of the model of the feed.
const tick = time.Millisecond

// A follower is a consumer of the feed in the model.
type follower struct {
	replica  int32
	place    int32 // in the replica's waiting, -1 if it does not wait
	heard    int32 // how many entries
	turn     int32 // counts its events, so that an older one is recognized
	failures int32
	asked    bool // it has had an answer since it started
	started  int  // in ticks
}

// A replica of the issuer in the model.
type replica struct {
	known     int32 // how many entries
	waiting   []int32
	addresses []address // if consumers share any
	phase     int       // of its reads of the log, in ticks
	// due is when the next consumer is to come back, since the start.
	due time.Duration
}

// An address is what consumers of one address have of a replica's budgets.
type address struct {
	waiting      int
	large, paced bucket
}

// A bucket limits a rate.
type bucket struct {
	tokens float64
	at     int // when there were so many, in ticks
}

// A feedModel is a run of a scenario. Unlike consumers of the JWK Set, those of
// the feed influence each other, by what they take of the budgets.
type feedModel struct {
	*feedScenario

	random    *rand.Rand
	now       int // ticks since the start
	agenda    [1 << 17][]event
	consumers []follower
	replicas  []replica
	appended  []int // when each entry was appended, in ticks
	log       int32 // how many of them have been
	sizes     *feedSizes
	counts    *tally
}

// An event is due for a consumer if its turn is the consumer's.
type event struct{ consumer, turn int32 }

// simulateFeed counts what n consumers ask.
func simulateFeed(s *feedScenario, n int, seed uint64) *tally {
	m := &feedModel{
		feedScenario: s, random: rand.New(rand.NewPCG(seed, uint64(n))),
		consumers: make([]follower, n), replicas: make([]replica, max(s.replicas, 1)),
		sizes: newFeedSizes(), counts: newTally(&s.scenario),
	}
	for _, at := range s.entries {
		m.appended = append(m.appended, int(at.Sub(s.start)/tick))
	}
	for r := range m.replicas {
		m.replicas[r].phase = m.random.IntN(int(feedInterval / tick))
		if s.sharing > 1 {
			m.replicas[r].addresses = slices.Repeat([]address{{large: bucket{tokens: largeBurst}, paced: bucket{tokens: clientBurst}}}, n/s.sharing+1)
		}
	}
	for i := range m.consumers {
		c := &m.consumers[i]
		c.place = -1
		m.connect(c)
		share := s.spread / time.Duration(n)
		start := share*time.Duration(i) + m.upTo(share)
		c.started = int(start / tick)
		m.schedule(int32(i), start)
	}
	m.run()
	return m.counts
}

func (m *feedModel) upTo(d time.Duration) time.Duration {
	return time.Duration(m.random.Float64() * float64(d))
}

func (m *feedModel) schedule(i int32, after time.Duration) {
	c := &m.consumers[i]
	c.turn++
	due := (m.now + max(1, int(after.Round(tick)/tick))) % len(m.agenda)
	m.agenda[due] = append(m.agenda[due], event{i, c.turn})
}

func (m *feedModel) time() time.Time { return m.start.Add(time.Duration(m.now) * tick) }

func (m *feedModel) run() {
	for ; m.time().Before(m.end); m.now++ {
		for int(m.log) < len(m.appended) && m.appended[m.log] <= m.now {
			m.log++
			m.replicas[0].read(m) // it is the one that was asked to append it
		}
		for r := range m.replicas {
			if m.now%int(feedInterval/tick) == m.replicas[r].phase {
				m.replicas[r].read(m)
			}
		}
		if m.time().Equal(m.down.from) {
			for r := range m.replicas {
				m.replicas[r].wake(m)
			}
		}
		due := m.agenda[m.now%len(m.agenda)]
		for _, e := range due {
			if m.consumers[e.consumer].turn == e.turn {
				m.act(e.consumer)
			}
		}
		m.agenda[m.now%len(m.agenda)] = due[:0]
	}
}

// read takes over what is new in the log.
func (r *replica) read(m *feedModel) {
	if r.known != m.log {
		r.known = m.log
		r.wake(m)
	}
}

// wake ends the requests of all who wait.
func (r *replica) wake(m *feedModel) {
	for len(r.waiting) > 0 {
		m.act(r.waiting[len(r.waiting)-1])
	}
}

// connect gives a consumer a new connection, which a load balancer takes to any
// replica.
func (m *feedModel) connect(c *follower) { c.replica = m.random.Int32N(int32(len(m.replicas))) }

// address returns what the consumer's address has of the budgets of its replica, or
// nil if it is alone.
func (m *feedModel) address(i int32) *address {
	r := &m.replicas[m.consumers[i].replica]
	if r.addresses == nil {
		return nil
	}
	return &r.addresses[int(i)/m.sharing]
}

// act is the end of a request that waited, or a new request.
func (m *feedModel) act(i int32) {
	c := &m.consumers[i]
	r, a := &m.replicas[c.replica], m.address(i)
	waited := c.place >= 0
	if waited {
		m.leave(i)
	}
	switch {
	case m.down.contains(m.time()):
		m.fail(i)
		m.connect(c)
	case waited, !c.asked, c.failures > 0:
		m.answer(i, feedPause)
	case len(r.waiting) >= waitingInAll, a != nil && a.waiting >= waitingAddress:
		m.answer(i, feedCrowdedPause)
		m.connect(c)
	case r.known > c.heard:
		m.answer(i, feedPause)
	default:
		c.place = int32(len(r.waiting))
		r.waiting = append(r.waiting, i)
		if a != nil {
			a.waiting++
		}
		m.schedule(i, feedWait)
	}
}

func (m *feedModel) leave(i int32) {
	c := &m.consumers[i]
	r := &m.replicas[c.replica]
	last := r.waiting[len(r.waiting)-1]
	r.waiting[c.place] = last
	m.consumers[last].place = c.place
	r.waiting = r.waiting[:len(r.waiting)-1]
	c.place = -1
	if a := m.address(i); a != nil {
		a.waiting--
	}
}

func (m *feedModel) fail(i int32) {
	c := &m.consumers[i]
	wait := m.upTo(feedRetry)
	if c.failures > 0 {
		wait = min(feedRetry<<min(c.failures-1, 5), feedLastRetry)
		wait += m.upTo(wait / 5)
	}
	c.failures++
	m.counts.add(m.time(), 0)
	m.schedule(i, wait)
}

func (m *feedModel) answer(i int32, least time.Duration) {
	c := &m.consumers[i]
	known := m.replicas[c.replica].known
	answer := feedAnswer{new: int(known - c.heard), crowded: least > feedPause}
	if answer.new > feedSmall {
		rounded := 1 << bits.Len(uint(answer.new-1))
		answer.new = min(rounded, int(known))
		answer.old = rounded - answer.new
	}
	if all := m.live + int(known); !c.asked || answer.old+answer.new > max(feedSmall, all/2) {
		answer.old, answer.new = m.live, int(known)
	}
	if answer.new > 0 {
		answer.seconds = (m.appended[known-1] - m.appended[int(known)-answer.new]) / int(time.Second/tick)
	}
	if a := m.address(i); a != nil && answer.old+answer.new > feedSmall && !a.large.take(m.now, largeRate, largeBurst) {
		m.fail(i)
		return
	}
	m.counts.add(m.time(), m.sizes.of(answer))
	if !c.asked {
		m.counts.delay(m.time(), time.Duration(m.now-c.started)*tick)
	} else if known > c.heard {
		m.counts.delay(m.time(), time.Duration(m.now-m.appended[c.heard])*tick)
	}
	c.asked, c.heard, c.failures = true, max(c.heard, known), 0
	pause := m.pause(i, least)
	m.schedule(i, pause-m.upTo(pause/5))
}

// pause returns the pause of a consumer, so that feedRate of them come back in a
// second.
func (m *feedModel) pause(i int32, least time.Duration) time.Duration {
	if a := m.address(i); a != nil && !a.paced.take(m.now, clientRate, clientBurst) {
		return feedLongestPause
	}
	r, now := &m.replicas[m.consumers[i].replica], time.Duration(m.now)*tick
	due := min(max(r.due-now, feedPause), feedLongestPause)
	r.due = now + due + time.Second/feedRate
	rounded := feedPause
	for rounded*3/2 < due {
		rounded *= 2
	}
	return min(max(rounded, least), feedLongestPause)
}

// take takes a token, if there is one.
func (b *bucket) take(now int, rate, burst float64) bool {
	b.tokens = min(b.tokens+float64(now-b.at)*tick.Seconds()*rate, burst)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
