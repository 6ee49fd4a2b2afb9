package changestream

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// maxEvent is how large an event may be.
const maxEvent = 16<<20 + 16<<10

// A Stream follows the oplog. One goroutine uses it at a time.
type Stream struct {
	engine *storage.Engine
	opts   *options
	stages *pipeline.Pipeline // the user's; nil for none

	buf   []storage.Entry // read from the oplog
	at    int             // the entry in buf that is being looked at
	sub   int             // the operation within it
	next  uint64          // number of the entry after buf
	ready []event         // made, not yet given out

	seeking    bool // for the resume token
	sawToken   bool
	startAfter *position // the invalidate that the stream was started after, until it has passed

	token  bson.Raw          // postBatchResumeToken
	passed storage.Timestamp // the time of that token
	closed bool
}

// Open checks the spec and finds the place to start from. Errors are
// *mongoerr.Error with the server's codes and labels; that a resume token is
// not found shows at the first Next.
func Open(_ context.Context, e *storage.Engine, spec Spec) (*Stream, error) {
	opts, err := spec.parse()
	if err != nil {
		return nil, err
	}
	s := &Stream{engine: e, opts: opts}
	if s.stages, err = spec.stages(); err != nil {
		return nil, err
	}
	from := opts.startAt
	switch p := opts.resume; {
	case p != nil:
		from = p.time
		s.seeking = true
		s.token = opts.token
		if opts.startAfter && p.invalidate {
			s.startAfter = p
		}
	case from == 0:
		// One tick after the newest operation, which is not to be seen.
		from = e.LastOp() + 1
	}
	if s.token == nil {
		p := highWater(from)
		s.token = p.token()
	}
	s.passed = from
	number, complete := e.Oplog().Seek(from)
	if !complete {
		return nil, errHistoryLost()
	}
	s.next = number
	return s, nil
}

// errHistoryLost says that the oplog doesn't reach back to where the stream
// is.
func errHistoryLost() error {
	return fatal(mongoerr.ChangeStreamHistoryLost, "Resume of change stream was not possible, as the resume point may no longer be in the oplog.")
}

// stages parses the user's pipeline, with a $changeStream stage before it as
// that decides what is allowed.
func (spec Spec) stages() (*pipeline.Pipeline, error) {
	first := value.NewObject(len(spec.Stage.Value) + 32)
	first.Add("$changeStream", spec.Stage)
	ns := pipeline.Namespace{DB: spec.DB, Coll: spec.Coll}
	p, err := pipeline.Parse(append([]bson.Raw{first.Doc()}, spec.Pipeline...), ns, spec.Env)
	if err != nil || len(spec.Pipeline) == 0 {
		return nil, err
	}
	return p.From(1), nil
}

// Token is the postBatchResumeToken that belongs to what Next returned last.
func (s *Stream) Token() bson.Raw { return s.token }

// Closed tells whether the stream has given out its invalidate event: the
// cursor is exhausted.
func (s *Stream) Closed() bool { return s.closed }

// Close lets go of what the stream holds.
func (s *Stream) Close() {
	s.closed = true
	s.buf, s.ready = nil, nil
}

// Next gives up to limit events (0: any number) of at most maxBytes together,
// but at least one if there is one. When there is none it waits until the
// deadline for one; the zero deadline doesn't wait. Errors that end the stream
// carry the label NonResumableChangeStreamError where the server's do.
func (s *Stream) Next(ctx context.Context, limit, maxBytes int, deadline time.Time) ([]bson.Raw, error) {
	for {
		out, drained, err := s.collect(ctx, limit, maxBytes)
		if err != nil {
			return nil, err
		}
		if drained && !s.closed {
			s.advance()
		}
		if len(out) > 0 || s.closed || deadline.IsZero() {
			return out, nil
		}
		if more, err := s.wait(ctx, deadline); !more || err != nil {
			return nil, err
		}
	}
}

// wait waits for the oplog to grow; more is false when the deadline has come.
func (s *Stream) wait(ctx context.Context, deadline time.Time) (more bool, err error) {
	until, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err = s.engine.Oplog().Wait(until, s.next)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, mongoerr.New(mongoerr.Interrupted, "operation was interrupted")
	case errors.Is(err, storage.ErrClosed):
		return false, mongoerr.New(mongoerr.InterruptedAtShutdown, "interrupted at shutdown")
	default:
		return false, nil
	}
}

// collect gives the events there are now; drained is true when it has seen the
// end of the oplog.
func (s *Stream) collect(ctx context.Context, limit, maxBytes int) (out []bson.Raw, drained bool, err error) {
	size := 0
	for !s.closed && (limit == 0 || len(out) < limit) {
		ev, ok, err := s.peek()
		if err != nil {
			return nil, false, err
		}
		if !ok {
			return out, true, nil
		}
		doc, err := s.through(ctx, ev)
		if err != nil {
			return nil, false, err
		}
		if doc != nil {
			if len(out) > 0 && size+len(doc) > maxBytes {
				return out, false, nil
			}
			size += len(doc)
			out = append(out, doc)
		}
		s.ready = s.ready[1:]
		s.token, s.passed = ev.token, ev.at.time
		s.closed = ev.last
	}
	return out, false, nil
}

// advance moves the token on to the end of the oplog, for a client whose
// stream is quiet while others write.
func (s *Stream) advance() {
	end := storage.Timestamp(0)
	if n := len(s.buf); n > 0 {
		end = s.buf[n-1].Time
	}
	if end > s.passed && (!s.seeking || s.sawToken || s.opts.resume.isHighWater()) {
		p := highWater(end)
		s.token, s.passed = p.token(), end
	}
}

// peek gives the next event without taking it.
func (s *Stream) peek() (ev event, ok bool, err error) {
	for len(s.ready) == 0 {
		op, en, index, ok, err := s.operation()
		if !ok || err != nil {
			return event{}, false, err
		}
		if !s.opts.scope.sees(op) {
			continue
		}
		if err := s.produce(en, op, index); err != nil {
			return event{}, false, err
		}
	}
	return s.ready[0], true, nil
}

// operation reads the next operation from the oplog.
func (s *Stream) operation() (op *storage.Op, en *storage.Entry, index int, ok bool, err error) {
	for {
		if s.at < len(s.buf) {
			en := &s.buf[s.at]
			if en.Txn == nil {
				s.at++
				return &en.Op, en, 0, true, nil
			}
			if s.sub < len(en.Ops) {
				s.sub++
				return &en.Ops[s.sub-1], en, s.sub - 1, true, nil
			}
			s.at, s.sub = s.at+1, 0
			continue
		}
		if s.buf == nil {
			s.buf = make([]storage.Entry, 0, readAhead)
		}
		n, ok := s.engine.Oplog().Read(s.next, s.buf[:readAhead])
		if !ok {
			return nil, nil, 0, false, errHistoryLost()
		}
		if n == 0 {
			return nil, nil, 0, false, nil
		}
		s.buf, s.at = s.buf[:n], 0
		s.next += uint64(n)
	}
}

// readAhead is how many oplog entries are read at a time.
const readAhead = 64

// produce makes an operation's events and drops those up to the resume token.
func (s *Stream) produce(en *storage.Entry, op *storage.Op, index int) error {
	if s.seeking && !s.mayPass(en, op, index) {
		return nil
	}
	ev, err := s.event(en, op, index)
	if err != nil {
		return err
	}
	events := []event{ev}
	if s.opts.scope.ends(op) {
		inv := invalidate(&ev)
		// Started after an invalidate, the stream passes over that one.
		if s.startAfter == nil || inv.at.equal(s.startAfter) {
			events = append(events, inv)
		}
		s.startAfter = nil
	}
	if !s.seeking {
		s.ready = append(s.ready[:0], events...)
		return nil
	}
	for i := range events {
		keep, err := s.seek(&events[i])
		if err != nil {
			return err
		}
		if keep {
			s.ready = append(s.ready, events[i])
		}
	}
	return nil
}

// mayPass spares the making of events that come before the resume token.
func (s *Stream) mayPass(en *storage.Entry, op *storage.Op, index int) bool {
	p := s.opts.resume
	return en.Time != p.time || index >= p.txnIndex || s.opts.scope.ends(op)
}

// seek compares an event with the resume token: those up to it are dropped,
// and the token must have been among them, unless it is a high water mark.
func (s *Stream) seek(ev *event) (keep bool, err error) {
	p := s.opts.resume
	if !s.seeking {
		return true, nil
	}
	if ev.at.equal(p) {
		s.sawToken = true
		return false, nil
	}
	if before(&ev.at, p) {
		return false, nil
	}
	s.seeking = false
	if !s.sawToken && !p.isHighWater() {
		return false, fatal(mongoerr.ChangeStreamFatalError, "cannot resume stream; the resume token was not found. %s", compactText(ev.token))
	}
	return true, nil
}

// before tells whether an event comes before the token that is being looked
// for.
func before(ev, token *position) bool {
	switch {
	case ev.time != token.time:
		return ev.time < token.time
	case ev.kind != token.kind:
		return ev.kind < token.kind
	case ev.txnIndex != token.txnIndex:
		return ev.txnIndex < token.txnIndex
	case ev.invalidate != token.invalidate:
		return !ev.invalidate
	default:
		return false
	}
}

// through sends an event through the user's pipeline; nil if it doesn't come
// out.
func (s *Stream) through(ctx context.Context, ev event) (bson.Raw, error) {
	doc := ev.doc
	if s.stages != nil {
		doc = nil
		for d, err := range s.stages.Run(ctx, nil, one(ev.doc)) {
			if err != nil {
				return nil, err
			}
			doc = d
		}
		if doc == nil {
			return nil, nil
		}
		if err := sameID(ev, doc); err != nil {
			return nil, err
		}
	}
	if len(doc) > maxEvent {
		return nil, fatal(mongoerr.BSONObjectTooLarge, "BSONObj size: %d (0x%X) is invalid. Size must be between 0 and 16793600(16MB)", len(doc), len(doc))
	}
	return doc, nil
}

func one(doc bson.Raw) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) { yield(doc, nil) }
}

// sameID makes sure that the pipeline has left the resume token alone.
func sameID(ev event, doc bson.Raw) error {
	id := value.Field(doc, "_id")
	if id.Type == bson.TypeEmbeddedDocument && string(id.Value) == string(ev.token) {
		return nil
	}
	expected, found := value.NewObject(64), value.NewObject(64)
	expected.Add("_id", value.Doc(ev.token))
	if !value.IsMissing(id) {
		found.Add("_id", id)
	}
	return fatal(mongoerr.ChangeStreamFatalError, "Encountered an event whose _id field, which contains the resume token, was modified by the pipeline. "+
		"Modifying the _id field of an event makes it impossible to resume the stream from that point. "+
		"Only transformations that retain the unmodified _id field are allowed. Expected: %s but found: %s",
		storage.ShellText(expected.Doc()), storage.ShellText(found.Doc()))
}
