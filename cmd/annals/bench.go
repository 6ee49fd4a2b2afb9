package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A benchConfig is what the command line asks for.
type benchConfig struct {
	uri       string
	writers   []int
	events    []int
	seconds   float64
	workloads []string
	asJSON    bool
	rounds    int
	flights   int
}

func benchCommand() command {
	return command{
		name:  "bench",
		short: "compare the store with the raw driver, taking turns in one run",
		long: `Compare the store with the raw driver, taking turns in one run.

Workloads: append (one event; raw: insertOne), append_txn (raw: a transaction
per append), load (one stream over and over; raw: find and decode into structs),
deliver (from acknowledged append to a subscriber in another process, which writes the
log, and as deliver_watch to one that does not; raw: a change stream), append_followed
(as append, while the log is written and read; raw: while a change stream is read),
readlog (from the beginning; raw: find in the order of _id and decode).
Everything is written with majority. Without -uri it runs on the simulated server,
whose figures say nothing about MongoDB.`,
		setup: func(f *flag.FlagSet) func(context.Context, io.Writer) error {
			cfg := benchConfig{
				writers:   []int{1, 16, 64},
				events:    []int{1, 3, 10},
				workloads: []string{"append", "append_txn", "load", "deliver", "append_followed", "readlog"},
			}
			f.StringVar(&cfg.uri, "uri", "", "connection string; a simulated server when empty")
			f.Var(numbers(&cfg.writers), "writers", "numbers of concurrent writers")
			f.Var(numbers(&cfg.events), "events", "numbers of events per append")
			f.Float64Var(&cfg.seconds, "seconds", 5, "seconds for each side of each measurement")
			f.IntVar(&cfg.rounds, "rounds", 25, "turns that each side takes in a measurement, fewer where one operation takes longer than a turn")
			f.IntVar(&cfg.flights, "flights", 0, "groups of appends written at the same time; 0 for the store's default")
			f.Var(names(&cfg.workloads), "workloads", "what to measure")
			f.BoolVar(&cfg.asJSON, "json", false, "print JSON")
			return func(ctx context.Context, out io.Writer) error {
				report, err := runBench(ctx, cfg)
				if err != nil {
					return err
				}
				return report.print(out, cfg.asJSON)
			}
		},
	}
}

// Figures are what one side reached.
type figures struct {
	AppendsPerSec  float64 `json:"appends_per_s,omitempty"`
	LoadsPerSec    float64 `json:"loads_per_s,omitempty"`
	EventsPerSec   float64 `json:"events_per_s,omitempty"`
	P50            float64 `json:"p50_ms,omitempty"`
	P99            float64 `json:"p99_ms,omitempty"`
	AllocsPerEvent float64 `json:"allocs_per_event,omitempty"`
	BytesPerEvent  float64 `json:"bytes_per_event,omitempty"`
}

// A result compares the two sides in one workload.
type result struct {
	Workload string `json:"workload"`
	Events   int    `json:"events"`
	Writers  int    `json:"writers"`
	// Annals is the store, Raw the driver. Ratio is that of their rates, or of
	// raw to Annals for latencies: above one, Annals is better.
	Annals figures `json:"annals"`
	Raw    figures `json:"raw"`
	Ratio  float64 `json:"ratio"`
	// Cursor is a cursor that looks at no document, in reads.
	Cursor *figures `json:"cursor,omitempty"`
}

type report struct {
	Server  string   `json:"server"`
	CPUs    int      `json:"cpus"`
	Go      string   `json:"go"`
	Seconds float64  `json:"seconds"`
	Results []result `json:"results"`
}

func runBench(ctx context.Context, cfg benchConfig) (*report, error) {
	for _, n := range slices.Concat(cfg.writers, cfg.events) {
		if n < 1 || n > 10_000 {
			return nil, fmt.Errorf("numbers of writers and events are from 1 to 10,000, not %d", n)
		}
	}
	if cfg.seconds <= 0 || cfg.rounds < 1 {
		return nil, fmt.Errorf("seconds and rounds must be positive")
	}
	t, err := newTarget(ctx, cfg.uri)
	if err != nil {
		return nil, err
	}
	defer t.close() //nolint:contextcheck // also after an interrupt
	b, err := newBencher(ctx, t, cfg)
	if err != nil {
		return nil, err
	}
	defer b.close() //nolint:contextcheck // also after an interrupt
	r := &report{Server: t.describe(ctx), CPUs: runtime.NumCPU(), Go: runtime.Version(), Seconds: cfg.seconds}
	for _, w := range cfg.workloads {
		run, ok := map[string]func(context.Context) ([]result, error){
			"append": b.appends, "append_txn": b.transactions, "load": b.loads, "deliver": b.deliveries,
			"append_followed": b.followed, "readlog": b.readLog,
		}[w]
		if !ok {
			return nil, fmt.Errorf("no workload %q; there are append, append_txn, load, deliver, append_followed and readlog", w)
		}
		results, err := run(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		r.Results = append(r.Results, results...)
	}
	return r, nil
}

func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	fmt.Fprintf(w, "%s, %d CPUs shared with it, %s\n\n", r.Server, r.CPUs, r.Go)
	const row = "%-15s %6v %7v | %9v %9v %8v %8v | %9v %9v %8v %8v | %6v\n"
	fmt.Fprintf(w, row, "", "", "", "annals/s", "events/s", "p50 ms", "p99 ms", "raw/s", "events/s", "p50 ms", "p99 ms", "ratio")
	for _, x := range r.Results {
		fmt.Fprintf(w, row, x.Workload, x.Events, x.Writers,
			number(x.Annals.AppendsPerSec+x.Annals.LoadsPerSec), number(x.Annals.EventsPerSec), number(x.Annals.P50), number(x.Annals.P99),
			number(x.Raw.AppendsPerSec+x.Raw.LoadsPerSec), number(x.Raw.EventsPerSec), number(x.Raw.P50), number(x.Raw.P99), number(x.Ratio))
	}
	return nil
}

func number(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 100:
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
	}
	return fmt.Sprintf("%.0f", v)
}

// A meter counts what one side does and how long it takes.
type meter struct {
	hist   *hdrhistogram.Histogram // microseconds
	ops    int64
	events int64
	time   time.Duration

	moved  int64 // events, with those that are left out of the rate
	allocs uint64
	bytes  uint64
}

func newMeter() *meter { return &meter{hist: hdrhistogram.New(1, 60_000_000, 3)} }

func (m *meter) figures() figures {
	f := figures{
		EventsPerSec: float64(m.events) / m.time.Seconds(),
		P50:          float64(m.hist.ValueAtQuantile(50)) / 1000,
		P99:          float64(m.hist.ValueAtQuantile(99)) / 1000,
	}
	if m.moved > 0 {
		f.AllocsPerEvent = float64(m.allocs) / float64(m.moved)
		f.BytesPerEvent = float64(m.bytes) / float64(m.moved)
	}
	return f
}

// add takes over what a worker has done.
func (m *meter) add(w *meter) {
	m.hist.Merge(w.hist)
	m.ops += w.ops
	m.events += w.events
	m.moved += w.moved
}

// A window is the part of a turn that counts. Several workers start together and
// end one after the other: neither the crowd at the start nor the emptiness at the
// end belongs to what they do together. One worker has neither, and all of its
// operations count, however long the last one takes.
type window struct{ opens, closes, ends time.Time }

func newWindow(start time.Time, workers int, d time.Duration) window {
	if workers == 1 {
		return window{opens: start, ends: start.Add(d)}
	}
	lead := min(d/8, 100*time.Millisecond)
	return window{opens: start.Add(lead), closes: start.Add(lead + d), ends: start.Add(lead + d)}
}

func (w window) counts(done time.Time) bool {
	return !done.Before(w.opens) && (w.closes.IsZero() || done.Before(w.closes))
}

// turn lets workers do op over and over for d, and adds what they did. An op
// returns how many events it moved.
func (m *meter) turn(ctx context.Context, workers int, d time.Duration, op func(context.Context, int) (int, error)) error {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	type report struct {
		meter *meter
		err   error
	}
	reports := make(chan report, workers)
	start := time.Now()
	w := newWindow(start, workers, d)
	for worker := range workers {
		go func() {
			own := newMeter()
			began := start
			for began.Before(w.ends) && ctx.Err() == nil {
				n, err := op(ctx, worker)
				if err != nil {
					reports <- report{own, err}
					return
				}
				done := time.Now()
				own.moved += int64(n)
				if w.counts(done) {
					_ = own.hist.RecordValue(max(1, done.Sub(began).Microseconds()))
					own.ops++
					own.events += int64(n)
				}
				began = done
			}
			reports <- report{own, nil}
		}()
	}
	var err error
	for range workers {
		r := <-reports
		m.add(r.meter)
		if r.err != nil {
			err = r.err
		}
	}
	if workers == 1 {
		m.time += time.Since(start)
	} else {
		m.time += d
	}
	runtime.ReadMemStats(&after)
	m.allocs += after.Mallocs - before.Mallocs
	m.bytes += after.TotalAlloc - before.TotalAlloc
	if err == nil {
		err = ctx.Err()
	}
	return err
}
