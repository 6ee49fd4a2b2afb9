package mongosim

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/annals-es/annals/simstore/mongosim/internal/command"
	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

// readBuffer is what a connection reads at once; longer messages are read past it.
const readBuffer = 8 << 10

// A conn is one client's connection. Its requests are handled one after the other, on one
// goroutine.
type conn struct {
	s      *Server
	nc     net.Conn
	buf    *bufio.Reader
	reader *wire.Reader
	writer *wire.Writer
	state  *command.Conn
}

func newConn(s *Server, nc net.Conn, host string) *conn {
	buf := bufio.NewReaderSize(nc, readBuffer)
	c := &conn{
		s: s, nc: nc, buf: buf,
		reader: wire.NewReader(buf, &s.codec),
		writer: wire.NewWriter(nc, &s.codec, &s.ids),
		state:  s.engine.Connect(nc.RemoteAddr().String(), host),
	}
	c.state.Watch = c.watch
	return c
}

func (c *conn) hangUp() { _ = c.nc.Close() }

// serve answers requests until the client hangs up, or sends what cannot be read.
func (c *conn) serve() {
	defer c.s.engine.Disconnect(c.state)
	defer c.hangUp()
	for {
		req, err := c.reader.Read()
		var bad *wire.RequestError
		switch {
		case errors.As(err, &bad):
			if _, err := c.writer.Reply(bad.Request, bad.Request.ID, c.s.engine.HandleMalformed(c.state, bad), false); err != nil {
				return
			}
			continue
		case err != nil:
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
				c.s.log.Debug("connection ended", "remote", c.state.Remote, "error", err)
			}
			return
		}
		if !c.answer(req) {
			return
		}
	}
}

// answer handles a request, and those that follow from it when the client allows a stream
// of replies. It reports whether the connection is to be kept.
func (c *conn) answer(req *wire.Request) bool {
	responseTo := req.ID
	for {
		resp := c.s.engine.Handle(c.s.ctx, c.state, req)
		if resp.Doc != nil {
			id, err := c.writer.Reply(req, responseTo, resp.Doc, resp.Next != nil)
			if err != nil {
				return false
			}
			responseTo = id
		}
		if resp.Close {
			return false
		}
		if resp.Next == nil {
			return true
		}
		req = resp.Next
	}
}

// watch notices that the client hangs up while a command waits: nobody reads the
// connection then.
func (c *conn) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := c.buf.Peek(1); err != nil && !isTimeout(err) {
			cancel(mongoerr.New(mongoerr.ClientDisconnect, "operation was interrupted because a client disconnected"))
		}
	}()
	return ctx, func() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the watcher
		<-ended
		_ = c.nc.SetReadDeadline(time.Time{})
		cancel(nil)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
