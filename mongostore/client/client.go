package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"golang.org/x/sync/semaphore"

	"github.com/annals-es/annals/mongostore/internal/refusal"
)

// ErrPoolExhausted says that MaxPool operations were under way for all of
// WaitQueueTimeout.
var ErrPoolExhausted = errors.New("no connection became free")

// ErrClosed says that the client was closed.
var ErrClosed = errors.New("client is closed")

// A Client is a driver's client that is replaced when its credentials change. It
// is safe for concurrent use.
type Client struct {
	cfg    Config
	dialer options.ContextDialer
	places *semaphore.Weighted // one for each operation of Use

	current atomic.Pointer[generation]

	refresh sync.Mutex // one refresh at a time; guards what follows
	onSwap  []func(*mongo.Client) <-chan struct{}
	vain    time.Time // when the provider was asked last and had nothing new
	vainErr error     // why
	// vainEarly is set when it may have something before long.
	vainEarly bool

	refused chan struct{} // a server has refused the credentials

	closed atomic.Bool
	life   context.Context
	end    context.CancelFunc
	work   sync.WaitGroup
}

// refreshPause is how long the provider is left alone after it had nothing new.
const refreshPause = time.Second

// followWithin is how long server and provider may disagree on credentials before
// an operation fails for it.
const followWithin = 10 * time.Second

// A generation is a driver's client with the credentials that it was made with.
type generation struct {
	mongo   *mongo.Client
	watcher *watcher
	refused atomic.Bool // a server has refused the credentials

	mu         sync.Mutex
	credential Credential
	users      int
	retired    chan struct{} // closed when nobody uses it any more
	last       bool          // no new users
}

// Connect makes a client and checks that a server answers, within
// ServerSelectionTimeout. While the client is open it looks for changed TLS files
// every TLS.ReloadInterval, and asks for new credentials before they expire.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("connect to MongoDB: %w", err)
	}
	cfg = cfg.withDefaults()
	c := &Client{
		cfg:    cfg,
		dialer: cfg.Dialer,
		places: semaphore.NewWeighted(int64(min(cfg.MaxPool, 1<<30))),

		refused: make(chan struct{}, 1),
	}
	if c.dialer == nil {
		c.dialer = &net.Dialer{Timeout: cfg.ConnectTimeout}
	}
	var files *tlsDialer
	if cfg.TLS.Enabled {
		var err error
		if files, err = newTLSDialer(c.dialer, cfg.TLS, cfg.Logger); err != nil {
			return nil, fmt.Errorf("connect to MongoDB: %w", err)
		}
		c.dialer = files
	}
	credential, err := c.credential(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to MongoDB: %w", err)
	}
	g, err := c.open(ctx, credential)
	if err != nil {
		if files != nil && files.failure.Load() != nil {
			err = fmt.Errorf("%w: %w", *files.failure.Load(), err)
		}
		return nil, fmt.Errorf("connect to MongoDB: %w", err)
	}
	c.use(g)
	c.life, c.end = context.WithCancel(context.WithoutCancel(ctx))
	if files != nil {
		c.work.Go(func() { files.watch(c.life) })
	}
	if cfg.Credentials != nil {
		c.work.Go(func() { c.keepFresh(c.life) })
	}
	return c, nil
}

// credential asks the provider, if there is one.
func (c *Client) credential(ctx context.Context) (Credential, error) {
	if c.cfg.Credentials == nil {
		return Credential{}, nil
	}
	credential, err := c.cfg.Credentials.Credential(ctx)
	if err != nil {
		return Credential{}, fmt.Errorf("get credentials: %w", err)
	}
	return credential, nil
}

// open makes a driver's client with credentials and checks that it works.
func (c *Client) open(ctx context.Context, credential Credential) (*generation, error) {
	g := &generation{retired: make(chan struct{}), credential: credential}
	g.watcher = newWatcher(c.cfg.MaxPool, func(s State) {
		if c.current.Load() == g {
			c.changed(s)
		}
	}, time.Now)
	g.watcher.onRefused = func() {
		g.refused.Store(true)
		if c.current.Load() == g {
			select {
			case c.refused <- struct{}{}:
			default: // somebody will look already
			}
		}
	}
	client, err := mongo.Connect(c.driverOptions(g.watcher, credential))
	if err != nil {
		return nil, errors.New(redactError(err, c.cfg.URI))
	}
	ping, cancel := context.WithTimeout(ctx, c.cfg.ServerSelectionTimeout+c.cfg.ConnectTimeout)
	defer cancel()
	if err := client.Ping(ping, readpref.PrimaryPreferred()); err != nil {
		_ = client.Disconnect(context.WithoutCancel(ctx))
		return nil, err
	}
	g.mongo = client
	return g, nil
}

// use makes a generation the current one.
func (c *Client) use(g *generation) {
	c.current.Store(g)
	c.changed(g.watcher.snapshot())
}

func (c *Client) changed(s State) {
	if c.cfg.OnChange != nil {
		c.cfg.OnChange(s)
	}
}

func (c *Client) driverOptions(w *watcher, credential Credential) *options.ClientOptions {
	cfg := c.cfg
	opts := options.Client().ApplyURI(cfg.URI)
	if cfg.Credentials != nil {
		opts.SetAuth(credential.driver(optionsOfURI(cfg.URI)))
	}
	opts.SetAppName(cfg.AppName).
		SetMinPoolSize(cfg.MinPool).
		SetMaxPoolSize(cfg.MaxPool).
		SetMaxConnIdleTime(cfg.MaxIdleTime).
		SetServerSelectionTimeout(cfg.ServerSelectionTimeout).
		SetConnectTimeout(cfg.ConnectTimeout).
		SetDialer(c.dialer).
		SetServerMonitor(w.serverMonitor()).
		SetPoolMonitor(w.poolMonitor(cfg.PoolMonitor))
	if cfg.CommandMonitor != nil {
		opts.SetMonitor(cfg.CommandMonitor)
	}
	if cfg.TLS.Enabled {
		opts.TLSConfig = nil // the dialer encrypts
	}
	// Validate has seen all three.
	if p, _ := cfg.ReadPreference.driver(); p != nil {
		opts.SetReadPreference(p)
	}
	if r, _ := cfg.ReadConcern.driver(); r != nil {
		opts.SetReadConcern(r)
	}
	if w, _ := cfg.WriteConcern.driver(); w != nil {
		opts.SetWriteConcern(w)
	}
	return opts
}

// Mongo returns the driver's client of the moment. It stays usable until a while
// after new credentials have replaced it; hold on to the Client and not to this,
// or be told by [Client.OnSwap].
func (c *Client) Mongo() *mongo.Client { return c.current.Load().mongo }

// State tells what is known of the servers and the connections.
func (c *Client) State() State { return c.current.Load().watcher.snapshot() }

// OnSwap has fn called with the driver's client: now, and with the new one
// whenever credentials have changed, before [Client.Refresh] returns. So nothing
// is missed between connecting and this call. It should return quickly; the
// channel that it returns, which may be nil, is closed when the client before is no
// longer in use. That one is disconnected then, all calls of [Client.Use] having
// returned as well. Event stores are moved over by
//
//	c.OnSwap(store.Rebind)
func (c *Client) OnSwap(fn func(*mongo.Client) (drained <-chan struct{})) {
	c.refresh.Lock()
	defer c.refresh.Unlock()
	c.onSwap = append(c.onSwap, fn)
	fn(c.Mongo())
}

// Use calls fn with the driver's client. When the server refuses the credentials,
// they are refreshed and fn is called once more; it was not able to do anything
// the first time. At most MaxPool calls are under way at a time; one that waits
// longer than WaitQueueTimeout for its turn fails with [ErrPoolExhausted].
func (c *Client) Use(ctx context.Context, fn func(context.Context, *mongo.Client) error) error {
	if err := c.enqueue(ctx); err != nil {
		return err
	}
	defer c.places.Release(1)
	for attempt := 1; ; attempt++ {
		g, err := c.acquire()
		if err != nil {
			return err
		}
		err = fn(ctx, g.mongo)
		g.release()
		if attempt > 1 || c.cfg.Credentials == nil || !refusal.Is(err) {
			return err
		}
		if fresh := c.Refresh(ctx); fresh != nil {
			return errors.Join(err, fresh)
		}
	}
}

func (c *Client) enqueue(ctx context.Context) error {
	if c.places.TryAcquire(1) {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, c.cfg.WaitQueueTimeout)
	defer cancel()
	if err := c.places.Acquire(wait, 1); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w in %s: %d operations are under way", ErrPoolExhausted, c.cfg.WaitQueueTimeout, c.cfg.MaxPool)
	}
	return nil
}

// acquire returns the current generation with one user more.
func (c *Client) acquire() (*generation, error) {
	for !c.closed.Load() {
		g := c.current.Load()
		g.mu.Lock()
		if !g.last {
			g.users++
			g.mu.Unlock()
			return g, nil
		}
		g.mu.Unlock() // it was replaced in between
	}
	return nil, ErrClosed
}

func (g *generation) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.last && g.users == 0 {
		close(g.retired)
	}
}

// retire ends a generation for new users.
func (g *generation) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.last {
		if g.last = true; g.users == 0 {
			close(g.retired)
		}
	}
}

// Refresh asks the provider for credentials and, when they have changed, replaces
// the driver's client. Operations under way end on the old one. Whoever calls it at
// the same time shares the answer, and a provider that had nothing new is asked
// again after a second at the earliest, for which Refresh waits. Where credentials
// have changed on the server and not at the provider yet, or the other way round,
// it asks again for up to ten seconds. It does nothing without a provider.
func (c *Client) Refresh(ctx context.Context) error {
	if c.cfg.Credentials == nil {
		return nil
	}
	for called := time.Now(); ; {
		early, err := c.refreshOnce(ctx)
		if !early || time.Since(called) > followWithin || ctx.Err() != nil {
			return err
		}
	}
}

// refreshOnce is an attempt of Refresh. It is early when the present credentials
// are refused, and what the provider has is nothing else or is refused as well.
func (c *Client) refreshOnce(ctx context.Context) (early bool, err error) {
	called, before := time.Now(), c.current.Load()
	c.refresh.Lock()
	defer c.refresh.Unlock()
	if c.closed.Load() {
		return false, ErrClosed
	}
	old := c.current.Load()
	if old != before {
		return false, nil // somebody else has just done it
	}
	if c.vain.After(called) {
		return c.vainEarly, c.vainErr // somebody else has just asked
	}
	if err := c.pauseRefresh(ctx); err != nil {
		return false, err
	}
	asked := time.Now()
	fresh, err := c.renew(ctx, old)
	if err != nil {
		c.vain, c.vainErr, c.vainEarly = asked, fmt.Errorf("refresh credentials: %w", err), old.refused.Load() && refusal.Is(err)
		c.cfg.Logger.ErrorContext(ctx, "credentials not refreshed; keeping the old client", "error", err)
		return c.vainEarly, c.vainErr
	}
	if fresh == nil {
		c.vain, c.vainErr, c.vainEarly = asked, nil, old.refused.Load()
		return c.vainEarly, nil
	}
	c.use(fresh)
	c.cfg.Logger.InfoContext(ctx, "credentials refreshed", "user", fresh.credential)
	var drained []<-chan struct{}
	for _, fn := range c.onSwap {
		if ch := fn(fresh.mongo); ch != nil {
			drained = append(drained, ch)
		}
	}
	old.retire()
	c.work.Go(func() { c.discard(old, append(drained, old.retired)) }) //nolint:contextcheck // it outlives the call
	return false, nil
}

// pauseRefresh waits until the provider may be asked again.
func (c *Client) pauseRefresh(ctx context.Context) error {
	wait := refreshPause - time.Since(c.vain)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
		return ErrClosed
	}
}

// renew returns a generation with new credentials, or nil when they are the same
// as before.
func (c *Client) renew(ctx context.Context, old *generation) (*generation, error) {
	credential, err := c.credential(ctx)
	if err != nil {
		return nil, err
	}
	if credential.same(old.credential) {
		old.mu.Lock()
		old.credential.Expires = credential.Expires
		old.mu.Unlock()
		return nil, nil
	}
	return c.open(ctx, credential)
}

// discard disconnects a generation when nobody uses it, or the client is closed.
func (c *Client) discard(old *generation, drained []<-chan struct{}) {
	for _, ch := range drained {
		select {
		case <-ch:
		case <-c.life.Done():
		}
	}
	// Those who hold Mongo() without having told us get the time of an
	// operation: Disconnect waits for connections in use.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.life), c.cfg.ServerSelectionTimeout)
	defer cancel()
	if err := old.mongo.Disconnect(ctx); err != nil {
		c.cfg.Logger.Warn("old client not disconnected cleanly", "error", err)
	}
}

// keepFresh refreshes credentials a minute before they expire, or when three
// quarters of their time have passed if that is later.
func (c *Client) keepFresh(ctx context.Context) {
	const check = time.Minute
	for failures := 0; ; {
		g := c.current.Load()
		g.mu.Lock()
		expires := g.credential.Expires
		g.mu.Unlock()
		wait := check
		if !expires.IsZero() {
			wait = min(max(time.Until(expires)*3/4, 10*time.Millisecond), check)
		}
		if time.Until(expires) <= 0 && !expires.IsZero() {
			wait = refreshPause // the provider knows of nothing newer
		}
		if failures > 0 {
			wait = min(time.Second<<min(failures, 5), check)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.refused:
			timer.Stop()
			if !c.current.Load().refused.Load() {
				continue // those before were refused, and they have been replaced
			}
			expires = time.Now() // they have ended, whatever the provider said
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if expires.IsZero() || time.Until(expires) > check && failures == 0 {
			continue
		}
		if err := c.Refresh(ctx); err != nil {
			failures++
		} else {
			failures = 0
		}
	}
}

// Close disconnects, after the calls of [Client.Use] under way have ended or ctx
// has. It may be called again.
func (c *Client) Close(ctx context.Context) error {
	if c.closed.Swap(true) {
		return nil
	}
	c.end()
	c.refresh.Lock() // no refresh is under way
	g := c.current.Load()
	c.refresh.Unlock()
	g.retire()
	select {
	case <-g.retired:
	case <-ctx.Done():
	}
	err := g.mongo.Disconnect(ctx)
	c.work.Wait()
	if err != nil {
		return fmt.Errorf("disconnect from MongoDB: %w", err)
	}
	return nil
}

// laterDialer stands for a dialer that a program sets after FromEnv.
type laterDialer struct{}

func (laterDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, &ConfigError{Setting: "Dialer", Reason: "is not set"}
}
