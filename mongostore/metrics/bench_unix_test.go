//go:build unix

package metrics_test

import (
	"context"
	"runtime"
	"runtime/debug"
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
// percent, and in bytes allocated.
//
// A round has eighteen turns, each of 2,048 appends of an event that is encoded for it,
// as in `annals bench`: of a store that is measured and of two that are not, forth and
// back and each in each place, so that noise hits all alike, and so does what changes
// steadily and what the turn before leaves behind. Percentages are medians of the rounds.
// How far the two that are not measured differ, by the same reckoning, is reported as
// noise: less than that cannot be told. Servers are emptied between turns and the garbage
// is collected there, because whose turn it falls into would be chance.
//
// Over TCP is how services are connected; in memory an append itself costs less.
func BenchmarkOverhead(b *testing.B) {
	b.Run("TCP", func(b *testing.B) { benchmarkOverhead(b, true) })
	b.Run("in memory", func(b *testing.B) { benchmarkOverhead(b, false) })
}

func benchmarkOverhead(b *testing.B, tcp bool) {
	bare, other, measured := newOverheadSide(b, tcp, false), newOverheadSide(b, tcp, false), newOverheadSide(b, tcp, true)
	sides := []*overheadSide{bare, other, measured}
	for _, s := range sides {
		s.turn(b)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var cpu, cpuNoise, wall, wallNoise []float64
	for b.Loop() {
		for _, s := range sides {
			s.round = cost{}
		}
		for _, i := range []int{0, 1, 2, 2, 1, 0, 1, 2, 0, 0, 2, 1, 2, 0, 1, 1, 0, 2} {
			sides[i].turn(b)
		}
		cpu = append(cpu, 100*(2*float64(measured.round.cpu)/float64(bare.round.cpu+other.round.cpu)-1))
		wall = append(wall, 100*(2*float64(measured.round.wall)/float64(bare.round.wall+other.round.wall)-1))
		cpuNoise = append(cpuNoise, 100*(float64(other.round.cpu)/float64(bare.round.cpu)-1))
		wallNoise = append(wallNoise, 100*(float64(other.round.wall)/float64(bare.round.wall)-1))
	}
	b.ReportMetric(median(cpu), "%-cpu-added")
	b.ReportMetric(median(cpuNoise), "%-cpu-noise")
	b.ReportMetric(median(wall), "%-wall-added")
	b.ReportMetric(median(wallNoise), "%-wall-noise")
	b.ReportMetric(measured.bytesPerAppend()-(bare.bytesPerAppend()+other.bytesPerAppend())/2, "B/append-added")
	b.ReportMetric(bare.bytesPerAppend(), "B/append-bare")
	b.ReportMetric(bare.appendsPerSecond(), "appends/s-bare")
}

// perTurn is the number of appends in a turn.
const perTurn = 2_048

type placed struct {
	Order    string `bson:"order"`
	Customer string `bson:"customer"`
	SKU      string `bson:"sku"`
	Quantity int    `bson:"quantity"`
	Cents    int64  `bson:"cents"`
}

// An overheadSide is a store that is measured or is not, with a server of its own.
type overheadSide struct {
	client *client.Client
	store  *mongostore.Store
	types  *eventstore.Registry

	round, whole cost
	appends      int
}

// A cost is what appends have used.
type cost struct {
	wall, cpu time.Duration
	bytes     uint64 // allocated
}

func (c *cost) add(o cost) {
	c.wall += o.wall
	c.cpu += o.cpu
	c.bytes += o.bytes
}

func (s *overheadSide) bytesPerAppend() float64 { return float64(s.whole.bytes) / float64(s.appends) }

func (s *overheadSide) appendsPerSecond() float64 {
	return float64(s.appends) / s.whole.wall.Seconds()
}

func newOverheadSide(b *testing.B, tcp, measure bool) *overheadSide {
	b.Helper()
	server := mongosim.Start(b, func(c *mongosim.Config) { c.OplogEntries = perTurn })
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
	types, err := eventstore.NewRegistry(eventstore.NewBSONCodec(), eventstore.Type[placed]("order.placed"))
	require.NoError(b, err)
	return &overheadSide{client: c, store: s, types: types}
}

func (s *overheadSide) turn(b *testing.B) {
	b.Helper()
	const writers = 64
	_, err := s.client.Mongo().Database("bench").Collection("events").DeleteMany(b.Context(), bson.D{})
	require.NoError(b, err)
	var all sync.WaitGroup
	runtime.GC()
	start, used, allocated := time.Now(), processorTime(b), allocatedBytes()
	for range writers {
		all.Go(func() {
			for range perTurn / writers {
				id := eventstore.NewEventID().String()
				events, err := s.types.Encode(placed{Order: id, Customer: "customer-4711", SKU: "lamp-black-40", Quantity: 3, Cents: 12_900})
				if err == nil {
					_, err = eventstore.Append(b.Context(), s.store, eventstore.StreamID("order-"+id), eventstore.NoStream, events...)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	of := cost{wall: time.Since(start), cpu: processorTime(b) - used, bytes: allocatedBytes() - allocated}
	s.round.add(of)
	s.whole.add(of)
	s.appends += perTurn
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func allocatedBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// processorTime is how long this process has used processors.
func processorTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
