package simstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// An Op names an operation of a [Store].
type Op string

// The operations that faults can be injected into.
const (
	OpAppend           Op = "append"
	OpReadStream       Op = "read stream"
	OpReadLog          Op = "read log"
	OpHead             Op = "head"
	OpWait             Op = "wait"
	OpAwait            Op = "await"
	OpStreamInfo       Op = "stream info"
	OpDelete           Op = "delete"
	OpTombstone        Op = "tombstone"
	OpTruncate         Op = "truncate"
	OpErase            Op = "erase"
	OpLoadSnapshot     Op = "load snapshot"
	OpSaveSnapshot     Op = "save snapshot"
	OpDeleteSnapshot   Op = "delete snapshot"
	OpLoadCheckpoint   Op = "load checkpoint"
	OpSaveCheckpoint   Op = "save checkpoint"
	OpDeleteCheckpoint Op = "delete checkpoint"
	OpAcquireLease     Op = "acquire lease"
	OpReleaseLease     Op = "release lease"
	OpLeases           Op = "leases"
	OpLoadDocuments    Op = "load documents"
	OpScanDocuments    Op = "scan documents"
	OpDropModel        Op = "drop model"
	OpCommit           Op = "commit"
	OpDeadLetters      Op = "dead letters"
	OpParkedKeys       Op = "parked keys"
	OpDropDeadLetters  Op = "drop dead letters"
	OpLoadRow          Op = "load row"
	OpSaveRow          Op = "save row"
	OpDeleteRow        Op = "delete row"
	OpRows             Op = "rows"
	OpNow              Op = "now"
)

// A FaultKind says how an operation fails.
type FaultKind uint8

const (
	// Pass lets the operation happen, after the fault's Delay and Before.
	Pass FaultKind = iota
	// Unavailable fails with [eventstore.ErrUnavailable]. Nothing is written.
	Unavailable
	// Conflict fails an append with an [*eventstore.ConflictError] as if a rival
	// had been faster, though Actual is the stream's true head. It names the
	// first stream with an expectation other than Any, and does not apply to
	// appends without one, nor to other operations. For a conflict with a rival
	// who has really written, append his event in Before.
	Conflict
	// UnknownWritten makes an append and then fails with
	// [eventstore.ErrOutcomeUnknown]. It applies to appends and commits only.
	UnknownWritten
	// UnknownNotWritten does not make an append and fails with
	// [eventstore.ErrOutcomeUnknown]. It applies to appends and commits only.
	UnknownNotWritten
)

// String returns the kind in words.
func (k FaultKind) String() string {
	names := [...]string{"pass", "unavailable", "conflict", "outcome unknown, written", "outcome unknown, not written"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("FaultKind(%d)", uint8(k))
}

// A Fault says which operations fail, and how. The zero value of each field is
// the least restriction.
type Fault struct {
	// Ops are the operations it applies to; all when empty.
	Ops []Op
	// Stream limits it to operations on this stream; an append of several
	// streams is on each of them.
	Stream eventstore.StreamID

	// Kind is how the operation fails.
	Kind FaultKind
	// Delay is waited before the operation, or before it fails. Cancelling its
	// context ends the wait.
	Delay time.Duration
	// Before is called before the operation, after Delay, without any lock. It
	// may use the store: set Times, or it meets its own fault again.
	Before func(ctx context.Context)
	// Events is how many events a read yields before it fails. A read of fewer
	// events fails after the last one.
	Events int

	// Skip is the number of operations to let through first.
	Skip int
	// Times is the greatest number of operations to hit; no limit when zero.
	Times int
	// Probability is that of an operation being hit, from 0 to 1; each is when
	// zero. [Config.Seed] decides which.
	Probability float64
}

// mistake returns the field that makes no sense and what is wrong with it, or "".
func (f Fault) mistake() string {
	switch {
	case f.Kind > UnknownNotWritten:
		return fmt.Sprintf("Kind is none: %s", f.Kind)
	case f.Delay < 0:
		return fmt.Sprintf("Delay is negative: %s", f.Delay)
	case f.Events < 0:
		return fmt.Sprintf("Events is negative: %d", f.Events)
	case f.Skip < 0:
		return fmt.Sprintf("Skip is negative: %d", f.Skip)
	case f.Times < 0:
		return fmt.Sprintf("Times is negative: %d", f.Times)
	case !(f.Probability >= 0 && f.Probability <= 1):
		return fmt.Sprintf("Probability is not between 0 and 1: %g", f.Probability)
	}
	return ""
}

// An Injection is a fault that was injected into a store.
type Injection struct {
	owner *injector
	fault Fault

	mu    sync.Mutex
	rand  *rand.Rand
	met   int
	fired int
}

// Inject makes operations meet a fault from now on. Of several faults that apply
// to an operation, the one injected first hits it; those of kind Pass come on
// top. It panics, naming the field, on a fault that makes no sense.
func (s *Store) Inject(f Fault) *Injection {
	if m := f.mistake(); m != "" {
		panic("simstore: Fault." + m)
	}
	return s.faults.add(f)
}

// Remove ends the fault. It may be called more than once.
func (i *Injection) Remove() { i.owner.remove(i) }

// Fired returns how many operations the fault has hit.
func (i *Injection) Fired() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fired
}

// hit decides whether the fault hits an operation that it applies to.
func (i *Injection) hit() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.met++
	// The draw is made for every operation, so that the seed's choice does not
	// depend on Skip and Times.
	drawn := i.fault.Probability == 0 || i.rand.Float64() < i.fault.Probability
	if !drawn || i.met <= i.fault.Skip || (i.fault.Times > 0 && i.fired >= i.fault.Times) {
		return false
	}
	i.fired++
	return true
}

// run does what precedes the operation.
func (i *Injection) run(ctx context.Context) error {
	if i.fault.Delay > 0 {
		timer := time.NewTimer(i.fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if i.fault.Before != nil {
		i.fault.Before(ctx)
	}
	return nil
}

func (i *Injection) unavailable(op Op) error {
	return fmt.Errorf("simstore: %s: injected fault: %w", op, eventstore.ErrUnavailable)
}

func (i *Injection) unknown(op Op) error {
	return eventstore.OutcomeUnknown(fmt.Errorf("simstore: %s: injected fault: connection lost", op))
}

// An injector holds the faults of a store.
type injector struct {
	seed   uint64
	mu     sync.Mutex // of changes
	added  uint64
	faults atomic.Pointer[[]*Injection] // nil when there are none
}

func (in *injector) active() bool { return in.faults.Load() != nil }

func (in *injector) add(f Fault) *Injection {
	in.mu.Lock()
	defer in.mu.Unlock()
	f.Ops = slices.Clone(f.Ops)
	in.added++
	i := &Injection{owner: in, fault: f, rand: rand.New(rand.NewPCG(in.seed, in.added))}
	in.set(append(slices.Clone(in.list()), i))
	return i
}

func (in *injector) remove(i *Injection) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.set(slices.DeleteFunc(slices.Clone(in.list()), func(o *Injection) bool { return o == i }))
}

func (in *injector) list() []*Injection {
	if p := in.faults.Load(); p != nil {
		return *p
	}
	return nil
}

func (in *injector) set(faults []*Injection) {
	if len(faults) == 0 {
		in.faults.Store(nil)
		return
	}
	in.faults.Store(&faults)
}

// meet runs the faults that hit an operation, and returns the one by which it is
// to fail, if any. Its error is the context's.
func (in *injector) meet(ctx context.Context, op Op, stream eventstore.StreamID) (*Injection, error) {
	return in.meetIf(ctx, op, func(f *Fault) bool {
		return f.Kind <= Unavailable && (f.Stream == "" || f.Stream == stream)
	})
}

func (in *injector) meetAppend(ctx context.Context, req eventstore.AppendRequest) (*Injection, error) {
	return in.meetIf(ctx, OpAppend, func(f *Fault) bool {
		if f.Kind == Conflict && !slices.ContainsFunc(req.Streams, expectsVersion) {
			return false
		}
		return f.Stream == "" || slices.ContainsFunc(req.Streams, func(p eventstore.StreamAppend) bool { return p.Stream == f.Stream })
	})
}

func (in *injector) meetCommit(ctx context.Context) (*Injection, error) {
	return in.meetIf(ctx, OpCommit, func(f *Fault) bool { return f.Kind != Conflict && f.Stream == "" })
}

func (in *injector) meetIf(ctx context.Context, op Op, applies func(*Fault) bool) (*Injection, error) {
	for _, i := range in.list() {
		if len(i.fault.Ops) > 0 && !slices.Contains(i.fault.Ops, op) {
			continue
		}
		if !applies(&i.fault) || !i.hit() {
			continue
		}
		if err := i.run(ctx); err != nil {
			return nil, err
		}
		if i.fault.Kind != Pass {
			return i, nil
		}
	}
	return nil, nil
}
