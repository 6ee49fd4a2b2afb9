package command

import (
	"context"
	"sync"
)

// primacy is what operations hold that only a primary may run: a stepdown interrupts them
// and waits until they have ended, so that nothing is written afterwards.
type primacy struct {
	running sync.RWMutex // held for reading by each such operation

	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// renew makes a new context, for operations that begin from now on.
func (p *primacy) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
}

// begin derives the context of an operation, which then has to make sure that the node is (still)
// primary, and to call end.
func (p *primacy) begin(ctx context.Context) (_ context.Context, end func()) {
	p.running.RLock()
	p.mu.Lock()
	primary := p.ctx
	p.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(primary, func() { cancel(context.Cause(primary)) })
	return ctx, func() {
		stop()
		cancel(nil)
		p.running.RUnlock()
	}
}

// interrupt ends the contexts of the operations that run.
func (p *primacy) interrupt(cause error) {
	p.mu.Lock()
	cancel := p.cancel
	p.mu.Unlock()
	cancel(cause)
	p.renew()
}

// drain waits for the operations that run.
func (p *primacy) drain() {
	p.running.Lock()
	defer p.running.Unlock()
}
