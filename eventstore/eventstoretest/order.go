package eventstoretest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/annals-es/annals/eventstore"
)

// An instant is something that happened at one moment between two readings of
// the clock: a commit, a check, a refusal or a read.
type instant struct {
	what       string
	begin, end int64
	after      []int // instants that it must have preceded
}

// An ordering is the search for an order of all instants that contradicts neither
// the versions that they saw and made nor the clock.
type ordering struct {
	instants []instant
	// writers are the instants that made each version, by stream: of version v
	// at v-1.
	writers map[eventstore.StreamID][]int
}

// checkOrder checks that all that happened can be brought into one order.
func (c *checker) checkOrder() {
	o := ordering{writers: map[eventstore.StreamID][]int{}}
	for stream, events := range c.streams {
		o.writers[stream] = make([]int, len(events))
	}
	c.addCommits(&o)
	for stream := range c.streams {
		for v := 1; v < len(o.writers[stream]); v++ {
			o.precede(o.writers[stream][v-1], o.writers[stream][v])
		}
	}
	c.addChecks(&o)
	c.addConflicts(&o)
	c.addReads(&o)
	o.addClock()
	if cycle := o.cycle(); cycle != nil {
		steps := make([]string, len(cycle))
		for i, instant := range cycle {
			steps[i] = o.instants[instant].what
		}
		c.violate("no order explains this; each of these must have preceded the next, and the last one the first:\n\t%s", strings.Join(steps, "\n\t"))
	}
}

func (o *ordering) add(i instant) int {
	o.instants = append(o.instants, i)
	return len(o.instants) - 1
}

func (o *ordering) precede(a, b int) {
	if a != b {
		o.instants[a].after = append(o.instants[a].after, b)
	}
}

// sees says that at instant i a stream was at a version: after that was made, and
// before the next one was.
func (o *ordering) sees(i int, stream eventstore.StreamID, at eventstore.Version) {
	writers := o.writers[stream]
	if at >= 1 && int(at) <= len(writers) {
		o.precede(writers[at-1], i)
	}
	if int(at) < len(writers) {
		o.precede(i, writers[at])
	}
}

// addCommits adds an instant for each operation that was written.
func (c *checker) addCommits(o *ordering) {
	index := map[*operation]int{}
	for _, op := range c.operations {
		if !op.committed {
			continue
		}
		begin, end := op.span()
		index[op] = o.add(instant{what: "commit of " + op.attempts[0].String(), begin: begin, end: end})
	}
	for stream, events := range c.streams {
		for i, e := range events {
			o.writers[stream][i] = index[c.byEvent[e.ID]]
		}
	}
}

// span returns when a committed operation may have been written: after the begin
// of the first attempt that may have, and before any attempt was told so.
func (op *operation) span() (begin, end int64) {
	begin, end = math.MaxInt64, math.MaxInt64
	for _, a := range op.attempts {
		if a.Err == nil || a.unknown() {
			begin = min(begin, a.Begin)
		}
		if a.Err == nil && a.End != 0 {
			end = min(end, a.End)
		}
	}
	return begin, end
}

// looked returns when an instant that only looked at a stream may have been, in
// the eyes of others: at its time, or at any earlier one after a failover.
func (c *checker) looked(begin int64) int64 {
	if c.failover {
		return 0
	}
	return begin
}

// addChecks adds what appends saw of streams that they only checked. It is part
// of the commit, or an instant of its own when nothing was written.
func (c *checker) addChecks(o *ordering) {
	index := map[*Attempt]int{}
	for stream := range o.writers {
		for v, i := range o.writers[stream] {
			op := c.byEvent[c.streams[stream][v].ID]
			if op.writer != nil {
				index[op.writer] = i
			}
		}
	}
	for k := range c.attempts {
		a := &c.attempts[k]
		i, wrote := index[a]
		if !wrote && (a.Err != nil || a.End == 0 || a.Result.Duplicate) {
			continue
		}
		if !wrote {
			i = o.add(instant{what: a.String(), begin: c.looked(a.Begin), end: a.End})
		}
		for j, s := range a.Request.Streams {
			if len(s.Events) > 0 {
				continue
			}
			if at, exact := s.Expected.Version(); exact {
				o.sees(i, s.Stream, at)
			} else if a.Err == nil && a.End != 0 {
				o.sees(i, s.Stream, a.Result.Streams[j].Last)
			}
		}
	}
}

// addConflicts adds what refused appends were told.
func (c *checker) addConflicts(o *ordering) {
	for k := range c.attempts {
		a := &c.attempts[k]
		if conflict, ok := errors.AsType[*eventstore.ConflictError](a.Err); ok {
			what := fmt.Sprintf("refusal of %s, %q being at %d", a, conflict.Stream, conflict.Actual)
			o.sees(o.add(instant{what: what, begin: c.looked(a.Begin), end: a.End}), conflict.Stream, conflict.Actual)
		}
	}
}

// addReads adds what reads saw: all that was committed when they began.
func (c *checker) addReads(o *ordering) {
	for _, r := range c.reads {
		i := o.add(instant{what: fmt.Sprintf("read of %q up to version %d", r.stream, len(r.versions)), begin: c.looked(r.begin), end: r.end})
		o.sees(i, r.stream, eventstore.Version(len(r.versions)))
	}
}

// addClock makes what had ended precede what began later. Instead of one edge for
// each such pair it adds an instant for each end, in a chain.
func (o *ordering) addClock() {
	n := len(o.instants)
	byEnd, byBegin := make([]int, n), make([]int, n)
	for i := range n {
		byEnd[i], byBegin[i] = i, i
	}
	slices.SortFunc(byEnd, func(a, b int) int { return cmp.Compare(o.instants[a].end, o.instants[b].end) })
	slices.SortFunc(byBegin, func(a, b int) int { return cmp.Compare(o.instants[a].begin, o.instants[b].begin) })
	ended, tick := 0, -1
	for _, i := range byBegin {
		for ended < n && o.instants[byEnd[ended]].end < o.instants[i].begin {
			next := o.add(instant{})
			if tick >= 0 {
				o.precede(tick, next)
			}
			tick = next
			o.precede(byEnd[ended], tick)
			ended++
		}
		if tick >= 0 {
			o.precede(tick, i)
		}
	}
}

// cycle returns instants each of which must precede the next, and the last one
// the first; nil when there are none. Ticks of the clock are left out.
func (o *ordering) cycle() []int {
	preceding := make([]int, len(o.instants))
	for i := range o.instants {
		for _, j := range o.instants[i].after {
			preceding[j]++
		}
	}
	var free []int
	for i, n := range preceding {
		if n == 0 {
			free = append(free, i)
		}
	}
	placed := 0
	for len(free) > 0 {
		i := free[len(free)-1]
		free = free[:len(free)-1]
		placed++
		for _, j := range o.instants[i].after {
			if preceding[j]--; preceding[j] == 0 {
				free = append(free, j)
			}
		}
	}
	if placed == len(o.instants) {
		return nil
	}
	return o.findCycle(preceding)
}

// findCycle walks back among what could not be placed until it comes round.
func (o *ordering) findCycle(preceding []int) []int {
	before := map[int]int{} // of each instant not placed, one that must precede it
	start := -1
	for i := range o.instants {
		if preceding[i] == 0 {
			continue
		}
		start = i
		for _, j := range o.instants[i].after {
			if preceding[j] > 0 {
				before[j] = i
			}
		}
	}
	seen := map[int]bool{}
	for !seen[start] {
		seen[start] = true
		start = before[start]
	}
	var cycle []int
	for i := start; ; {
		if o.instants[i].what != "" {
			cycle = append(cycle, i)
		}
		if i = before[i]; i == start {
			break
		}
	}
	slices.Reverse(cycle)
	return cycle
}
