package command

import (
	"context"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Conn is what the node knows of a client's connection. Make one with
// [Engine.Connect]; requests of one connection are handled one after the other.
type Conn struct {
	ID     int64
	Remote string
	Host   string // the member's address as this client knows it
	// Watch, when set, returns a context that also ends when the client hangs
	// up, for the time that a command waits, and a function that ends the watch.
	Watch func(ctx context.Context) (context.Context, func())

	mu      sync.Mutex
	greeted bool
	meta    bson.Raw // the client document of the handshake
	app     string
	// supportsHello makes refusals say "not primary" instead of "not master".
	supportsHello bool

	auth authState

	closed atomic.Bool
}

// AppName is the application's name as given in the handshake.
func (c *Conn) AppName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.app
}

func (c *Conn) helloSupported() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.supportsHello
}

// watch is Watch, or nothing when there is none.
func (c *Conn) watch(ctx context.Context) (context.Context, func()) {
	if c.Watch == nil {
		return ctx, func() {}
	}
	return c.Watch(ctx)
}
