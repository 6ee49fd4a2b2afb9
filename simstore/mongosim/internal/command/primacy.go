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
	both := &eitherContext{Context: ctx, other: primary}
	return both, func() {
		both.release()
		p.running.RUnlock()
	}
}

// An eitherContext ends with either of two contexts. Most operations never wait for that, so what
// it takes is made when somebody asks.
type eitherContext struct {
	context.Context
	other context.Context

	mu     sync.Mutex
	merged context.Context
	cancel context.CancelCauseFunc
	stop   func() bool
}

func (c *eitherContext) merge() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.merged == nil {
		c.merged, c.cancel = context.WithCancelCause(c.Context)
		cancel, other := c.cancel, c.other
		c.stop = context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	}
	return c.merged
}

func (c *eitherContext) Done() <-chan struct{} { return c.merge().Done() }

func (c *eitherContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.other.Err() != nil {
		<-c.merge().Done() // so that its cause is the one to be seen
		return context.Canceled
	}
	return nil
}

// Value finds the merged context for context.Cause, which asks by an unexported key.
func (c *eitherContext) Value(key any) any { return c.merge().Value(key) }

func (c *eitherContext) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.stop()
		c.cancel(nil)
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
