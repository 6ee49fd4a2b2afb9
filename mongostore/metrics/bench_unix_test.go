//go:build unix

package metrics_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/mongostore/metrics"
	"github.com/annals-es/annals/simstore/mongosim"
)

// BenchmarkOverhead appends single events by 64 writers on a simulated server, with
// all monitors and metrics and without. It reports what measuring adds to an append in
// processor time (of client and server, which share the process) and in wall time, in
// percent, as means of the middle half of the rounds. A round is four turns, bare,
// measured, measured, bare, each of 8,192 appends of an event that is encoded already:
// noise hits both alike, and so does what changes steadily. Between turns the server is
// emptied, so that its memory does not become the garbage collector's work. Processor
// time is the better one to go by where others use the machine as well.
//
// Over TCP is how services are connected; in memory an append itself costs less.
func BenchmarkOverhead(b *testing.B) {
	b.Run("TCP", func(b *testing.B) { benchmarkOverhead(b, true) })
	b.Run("in memory", func(b *testing.B) { benchmarkOverhead(b, false) })
}

func benchmarkOverhead(b *testing.B, tcp bool) {
	sides := []*overheadSide{newOverheadSide(b, tcp, false), newOverheadSide(b, tcp, true)}
	for _, s := range sides {
		s.turn(b)
	}
	var wallAdded, cpuAdded []float64
	for b.Loop() {
		for _, s := range sides {
			s.wall, s.cpu = 0, 0
		}
		for _, which := range []int{0, 1, 1, 0} {
			sides[which].turn(b)
		}
		wallAdded = append(wallAdded, 100*(float64(sides[1].wall)/float64(sides[0].wall)-1))
		cpuAdded = append(cpuAdded, 100*(float64(sides[1].cpu)/float64(sides[0].cpu)-1))
		for _, s := range sides {
			s.appends += 2 * perTurn
			s.whole += s.wall
		}
	}
	b.ReportMetric(middle(cpuAdded), "%-cpu-added")
	b.ReportMetric(middle(wallAdded), "%-wall-added")
	b.ReportMetric(float64(sides[0].appends)/sides[0].whole.Seconds(), "appends/s-bare")
	b.ReportMetric(float64(sides[1].appends)/sides[1].whole.Seconds(), "appends/s-measured")
}

// perTurn is the number of appends in a turn.
const perTurn = 8_192

// An overheadSide is a store that is measured or is not, with a server of its own.
type overheadSide struct {
	client *client.Client
	store  *mongostore.Store
	event  eventstore.EventData

	wall, cpu time.Duration // of the round's turns
	appends   int
	whole     time.Duration
}

func newOverheadSide(b *testing.B, tcp, measure bool) *overheadSide {
	b.Helper()
	server := mongosim.Start(b)
	cc := client.Config{URI: server.URI(), Dialer: server, SimulationMode: client.SimulationServer}
	if tcp {
		at, err := server.Listen("127.0.0.1:0")
		require.NoError(b, err)
		cc = client.Config{URI: "mongodb://" + at.String() + "/?directConnection=true"}
	}
	sc := mongostore.Config{Database: "bench"}
	var m *metrics.Metrics
	if measure {
		var err error
		m, err = metrics.New(prometheus.NewRegistry(), metrics.Config{NativeHistograms: true})
		require.NoError(b, err)
		cc.CommandMonitor, sc.Hooks = m.CommandMonitor(nil), m.Hooks()
	}
	c, err := client.Connect(b.Context(), cc)
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	if measure {
		b.Cleanup(m.Watch(c))
	}
	require.NoError(b, mongostore.Migrate(b.Context(), c.Mongo(), sc))
	s, err := mongostore.Open(b.Context(), c.Mongo(), sc)
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.Close(context.Background()) })
	side := &overheadSide{client: c, store: s, event: happened()}
	side.event.ID = eventstore.EventID{} // the store gives each its own
	return side
}

func (s *overheadSide) turn(b *testing.B) {
	b.Helper()
	const writers = 64
	_, err := s.client.Mongo().Database("bench").Collection("events").DeleteMany(b.Context(), bson.D{})
	require.NoError(b, err)
	var all sync.WaitGroup
	runtime.GC()
	start, used := time.Now(), processorTime(b)
	for range writers {
		all.Go(func() {
			for range perTurn / writers {
				stream := eventstore.StreamID("order-" + eventstore.NewEventID().String())
				_, err := s.store.Append(b.Context(), eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
					{Stream: stream, Expected: eventstore.NoStream, Events: []eventstore.EventData{s.event}},
				}})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	s.wall += time.Since(start)
	s.cpu += processorTime(b) - used
}

// middle is the mean of the middle half of some values.
func middle(values []float64) (mean float64) {
	slices.Sort(values)
	quarter := len(values) / 4
	values = values[quarter : len(values)-quarter]
	for _, v := range values {
		mean += v / float64(len(values))
	}
	return mean
}

// processorTime is how long this process has used processors.
func processorTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
