package mongosim

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how much one side of a pipe may write before the other reads.
const pipeBuffer = 1 << 20

// newPipe returns the two ends of a connection in memory. Unlike net.Pipe's it has
// buffers, as sockets do: a writer need not wait for its reader.
func newPipe() (client, server net.Conn) {
	a, b := newHalf(), newHalf()
	return &pipeEnd{in: a, out: b, local: "client", remote: "server"},
		&pipeEnd{in: b, out: a, local: "server", remote: "client"}
}

// A half is one direction of a pipe.
type half struct {
	mu     sync.Mutex
	change sync.Cond
	buf    []byte
	start  int  // of what is unread in buf
	closed bool // by the writer: the reader gets EOF at the end
	broken bool // by the reader: writing fails
	read   deadline
	write  deadline
}

func newHalf() *half {
	h := &half{}
	h.change.L = &h.mu
	return h
}

// A deadline wakes those who wait when it passes.
type deadline struct {
	passed bool
	timer  *time.Timer
}

func (h *half) set(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	if !t.IsZero() {
		if wait := time.Until(t); wait > 0 {
			var timer *time.Timer
			timer = time.AfterFunc(wait, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				if d.timer == timer {
					d.passed = true
					h.change.Broadcast()
				}
			})
			d.timer = timer
		} else {
			d.passed = true
		}
	}
	h.change.Broadcast()
}

func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.broken:
			return 0, io.ErrClosedPipe
		case h.read.passed:
			return 0, os.ErrDeadlineExceeded
		case h.start < len(h.buf):
			n := copy(p, h.buf[h.start:])
			if h.start += n; h.start == len(h.buf) {
				h.buf, h.start = h.buf[:0], 0
				if cap(h.buf) > pipeBuffer/4 {
					h.buf = nil
				}
			}
			h.change.Broadcast()
			return n, nil
		case h.closed:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		h.change.Wait()
	}
}

func (h *half) Write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch room := pipeBuffer - (len(h.buf) - h.start); {
		case h.closed || h.broken:
			return n, io.ErrClosedPipe
		case h.write.passed:
			return n, os.ErrDeadlineExceeded
		case len(p) == 0:
			return n, nil
		case room > 0:
			if h.start > 0 && len(h.buf)+min(room, len(p)) > cap(h.buf) {
				h.buf = h.buf[:copy(h.buf, h.buf[h.start:])]
				h.start = 0
			}
			m := min(room, len(p))
			h.buf = append(h.buf, p[:m]...)
			n, p = n+m, p[m:]
			h.change.Broadcast()
			continue
		}
		h.change.Wait()
	}
}

// close ends the direction: for its reader after what has been written, for its writer at
// once; a reader that closes wants no more.
func (h *half) close(byReader bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.broken = h.broken || byReader
	for _, d := range []*deadline{&h.read, &h.write} {
		if d.timer != nil && byReader {
			d.timer.Stop()
			d.timer = nil
		}
	}
	h.change.Broadcast()
}

// A pipeEnd is one end of a pipe.
type pipeEnd struct {
	in, out       *half
	local, remote pipeAddr
}

func (e *pipeEnd) Read(p []byte) (int, error)  { return e.in.Read(p) }
func (e *pipeEnd) Write(p []byte) (int, error) { return e.out.Write(p) }

// Close ends both directions. What was written before still reaches the other end.
func (e *pipeEnd) Close() error {
	e.in.close(true)
	e.out.close(false)
	return nil
}

func (e *pipeEnd) LocalAddr() net.Addr  { return e.local }
func (e *pipeEnd) RemoteAddr() net.Addr { return e.remote }

func (e *pipeEnd) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

func (e *pipeEnd) SetReadDeadline(t time.Time) error {
	e.in.set(&e.in.read, t)
	return nil
}

func (e *pipeEnd) SetWriteDeadline(t time.Time) error {
	e.out.set(&e.out.write, t)
	return nil
}

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
