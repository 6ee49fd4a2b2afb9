//go:build unix

package metrics_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/mongostore/metrics"
	"github.com/annals-es/annals/simstore/mongosim"
)

// BenchmarkOverhead appends single events by 64 writers on a simulated server, with
// all monitors and metrics and without, in turns: noise hits both alike. It reports
// what measuring adds to an append in processor time (of client and server, which
// share the process) and in wall time, as medians of the pairs of turns, in percent.
// Processor time is the better one to go by where others use the machine as well. An
// iteration is a pair of turns of 4,096 appends each.
func BenchmarkOverhead(b *testing.B) {
	bare, measured := benchmarked(b, false), benchmarked(b, true)
	turn := func(s *mongostore.Store) (wall, cpu time.Duration) {
		const writers, each = 64, 64
		var all sync.WaitGroup
		runtime.GC()
		start, used := time.Now(), processorTime(b)
		for range writers {
			all.Go(func() {
				for range each {
					stream := eventstore.StreamID("order-" + eventstore.NewEventID().String())
					_, err := s.Append(b.Context(), eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
						{Stream: stream, Expected: eventstore.NoStream, Events: []eventstore.EventData{happened()}},
					}})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		return time.Since(start), processorTime(b) - used
	}
	turn(bare)
	turn(measured)
	var wallAdded, cpuAdded []float64
	var without, with time.Duration
	for i := 0; b.Loop(); i++ {
		var wall, cpu [2]time.Duration
		for k := range 2 {
			which := (i + k) % 2
			wall[which], cpu[which] = turn([]*mongostore.Store{bare, measured}[which])
		}
		without, with = without+wall[0], with+wall[1]
		wallAdded = append(wallAdded, 100*(float64(wall[1])/float64(wall[0])-1))
		cpuAdded = append(cpuAdded, 100*(float64(cpu[1])/float64(cpu[0])-1))
	}
	slices.Sort(wallAdded)
	slices.Sort(cpuAdded)
	middle := len(wallAdded) / 2
	b.ReportMetric(cpuAdded[middle], "%-cpu-added")
	b.ReportMetric(wallAdded[middle], "%-wall-added")
	b.ReportMetric(4096*float64(len(wallAdded))/without.Seconds(), "appends/s-bare")
	b.ReportMetric(4096*float64(len(wallAdded))/with.Seconds(), "appends/s-measured")
}

// processorTime is how long this process has used processors.
func processorTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func benchmarked(b *testing.B, measure bool) *mongostore.Store {
	b.Helper()
	server := mongosim.Start(b)
	cc := client.Config{URI: server.URI(), Dialer: server, SimulationMode: client.SimulationServer}
	sc := mongostore.Config{Database: fmt.Sprintf("bench_%t", measure)}
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
	return s
}
