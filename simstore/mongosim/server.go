package mongosim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals/simstore/mongosim/internal/command"
	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

// ErrClosed is returned by the methods of a server that has been closed.
var ErrClosed = errors.New("mongosim: server closed")

// pipeHost is the address under which a server is known to clients that reach it
// through pipes. Nobody resolves it.
const pipeHost = "mongosim:27017"

// A Server is a simulated MongoDB server. Make one with [Start] or [New].
type Server struct {
	cfg    Config
	engine *command.Engine
	codec  wire.Codec
	ids    atomic.Int32 // of replies
	log    *slog.Logger

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu        sync.Mutex
	closed    bool
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	host      string // the first listener's address

	done sync.WaitGroup
}

// New starts a server that is reachable through [Server.ClientOptions], and over TCP once
// [Server.Listen] or [Server.Serve] is called. The caller must Close it. An error
// names the field of cfg that is wrong.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.SetName == "" {
		cfg.SetName = "rs0"
	}
	engine, err := command.New(cfg.engine())
	if err != nil {
		return nil, fmt.Errorf("mongosim: %w", err)
	}
	s := &Server{
		cfg: cfg, engine: engine, log: cfg.Logger,
		conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s, nil
}

// Listen serves clients over TCP on addr, such as "127.0.0.1:0", in the background,
// and returns the address that it listens on.
func (s *Server) Listen(addr string) (net.Addr, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("mongosim: %w", err)
	}
	if err := s.addListener(l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.done.Go(func() { _ = s.accept(l) })
	return l.Addr(), nil
}

// Serve accepts clients from l until the server is closed, when it returns
// [ErrClosed], or until l fails. It closes l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.addListener(l); err != nil {
		return errors.Join(err, l.Close())
	}
	return s.accept(l)
}

func (s *Server) addListener(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	if s.host == "" {
		s.host = l.Addr().String()
	}
	return nil
}

func (s *Server) accept(l net.Listener) error {
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		_ = l.Close()
	}()
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.isClosed() {
				return ErrClosed
			}
			return fmt.Errorf("mongosim: %w", err)
		}
		if err := s.start(nc, nc.LocalAddr().String()); err != nil {
			_ = nc.Close()
			return err
		}
	}
}

// DialContext connects a client through a pipe, whatever the address: a Server is
// a dialer for the driver's options. See [Server.ClientOptions].
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, server := newPipe()
	if err := s.start(server, pipeHost); err != nil {
		return nil, err
	}
	return client, nil
}

// start serves a connection in the background.
func (s *Server) start(nc net.Conn, host string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	c := newConn(s, nc, host)
	s.conns[c] = struct{}{}
	s.done.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
		c.serve()
	})
	return nil
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Connections is the number of clients' connections at the moment. The driver keeps two of
// its own for each client, to watch the server.
func (s *Server) Connections() int { return s.engine.Connections() }

// Close hangs up on all clients, stops listening, aborts transactions and waits until all
// goroutines of the server have ended. It may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.hangUp()
	}
	s.mu.Unlock()
	s.cancel(command.ErrShutdown())
	s.done.Wait()
	s.engine.Close()
}
