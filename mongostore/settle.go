package mongostore

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"github.com/annals-es/annals/eventstore"
)

// stateReads is how many streams' states are read at a time for one append.
const stateReads = 8

// settle finds out where an append stands that cannot be placed from memory, or
// whose key was taken: it is a repetition, a conflict, or to be tried (again)
// behind the present heads. In the first two cases done is true or err says it.
func (s *Store) settle(ctx context.Context, a *pending) (res eventstore.AppendResult, done bool, err error) {
	ctx, release, err := s.reading(mongo.NewSessionContext(ctx, nil))
	if err != nil {
		return res, false, err
	}
	defer release()
	if a.maybe {
		if mine, err := s.findOwn(ctx, a); err != nil || mine {
			return a.result(), mine, err
		}
	}
	if a.req.ID != (eventstore.AppendID{}) {
		if first, found, err := s.findAppendID(ctx, a); err != nil || found {
			return first, found, err
		}
	}
	states, err := s.states(ctx, a)
	if err != nil {
		return res, false, err
	}
	if first, found, err := s.judge(ctx, a, states); err != nil || found {
		return first, found, err
	}
	for i := range a.parts {
		a.parts[i].rebase(a.req.Streams[i].Stream, states[i].Head)
	}
	return res, false, nil
}

func (s *Store) states(ctx context.Context, a *pending) ([]streamState, error) {
	states := make([]streamState, len(a.parts))
	if len(a.parts) == 1 {
		st, err := s.stateWithin(ctx, a.req.Streams[0].Stream)
		if err != nil {
			return nil, err
		}
		s.heads.learn(st.Stream, st.Head)
		states[0] = st
		return states, nil
	}
	g, ctx := errgroup.WithContext(mongo.NewSessionContext(ctx, nil))
	g.SetLimit(stateReads)
	for i := range a.parts {
		g.Go(func() (err error) {
			states[i], err = s.state(ctx, a.req.Streams[i].Stream)
			return err
		})
	}
	return states, g.Wait()
}

// judge compares streams with what an append expects of them. It returns the
// first result when the append was made before, and an error when it cannot be
// made.
func (s *Store) judge(ctx context.Context, a *pending, states []streamState) (eventstore.AppendResult, bool, error) {
	var conflict *eventstore.ConflictError
	restarts := false
	for i := range a.parts {
		st, state := &a.req.Streams[i], &states[i]
		switch {
		case state.State == eventstore.Tombstoned:
			return eventstore.AppendResult{}, false, &eventstore.TombstonedError{Stream: st.Stream}
		case !st.Expected.Matches(state.StreamInfo):
			if conflict == nil {
				conflict = &eventstore.ConflictError{Stream: st.Stream, Expected: st.Expected, Actual: state.Head}
			}
		case state.State == eventstore.Deleted && st.Expected == eventstore.NoStream:
			restarts = true
		}
	}
	if conflict == nil && !restarts {
		return eventstore.AppendResult{}, false, nil
	}
	first, found, err := s.findRepeated(ctx, a, states)
	if err != nil || found {
		return first, found, err
	}
	if conflict != nil {
		return eventstore.AppendResult{}, false, conflict
	}
	return eventstore.AppendResult{}, false, nil
}

// findRepeated looks for the events of an append at the places where its
// expectations would have put them.
func (s *Store) findRepeated(ctx context.Context, a *pending, states []streamState) (eventstore.AppendResult, bool, error) {
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(a.parts)), Duplicate: true}
	var tok token
	for i := range a.parts {
		st := &a.req.Streams[i]
		if len(st.Events) == 0 {
			res.Streams[i] = eventstore.StreamResult{Stream: st.Stream, Last: states[i].Head}
			continue
		}
		after, ok := st.Expected.Version()
		if !ok {
			return eventstore.AppendResult{}, false, nil
		}
		last, found, err := s.holds(ctx, st, after, states[i].Head)
		if !found && err == nil && after == 0 && states[i].restart > 0 {
			// NoStream is also what starts a stream anew after its deletion.
			after = states[i].restart
			last, found, err = s.holds(ctx, st, after, states[i].Head)
		}
		if err != nil || !found {
			return eventstore.AppendResult{}, false, err
		}
		res.Streams[i] = eventstore.StreamResult{Stream: st.Stream, First: after + 1, Last: after + eventstore.Version(len(st.Events))}
		tok.ids = append(tok.ids, last)
	}
	if len(tok.ids) == 0 {
		return eventstore.AppendResult{}, false, nil // nothing to be written, nothing to recognise
	}
	tok.until = s.seenIn(ctx)
	res.Token = tok.encode()
	return res, true, nil
}

// holds reports whether a stream holds exactly the events of a part behind a
// version, and the document id of the last one.
func (s *Store) holds(ctx context.Context, st *eventstore.StreamAppend, after, head eventstore.Version) (last bson.ObjectID, ok bool, err error) {
	n := eventstore.Version(len(st.Events))
	if after+n > head {
		return last, false, nil
	}
	cur, err := s.events.Find(ctx,
		bson.D{
			{Key: "stream_id", Value: st.Stream},
			{Key: "version", Value: bson.D{{Key: "$gt", Value: int64(after)}, {Key: "$lte", Value: int64(after + n)}}},
		},
		options.Find().SetSort(bson.D{{Key: "stream_id", Value: 1}, {Key: "version", Value: 1}}).
			SetProjection(bson.D{{Key: "event_id", Value: 1}}))
	if err != nil {
		return last, false, err
	}
	var docs []struct {
		ID      bson.ObjectID `bson:"_id"`
		EventID bson.Binary   `bson:"event_id"`
	}
	if err := cur.All(ctx, &docs); err != nil {
		return last, false, err
	}
	if len(docs) != len(st.Events) {
		return last, false, nil
	}
	for i := range docs {
		if string(docs[i].EventID.Data) != string(st.Events[i].ID[:]) {
			return last, false, nil
		}
		last = docs[i].ID
	}
	return last, true, nil
}

// findOwn looks for the very documents of this append, written by an attempt that
// was not acknowledged, and takes over where they are.
func (s *Store) findOwn(ctx context.Context, a *pending) (bool, error) {
	for i := range a.parts {
		p := &a.parts[i]
		if len(p.docs) == 0 {
			continue
		}
		var doc struct {
			Version eventstore.Version `bson:"version"`
		}
		err := s.events.FindOne(ctx, bson.D{{Key: "_id", Value: documentID(p.docs[0])}}).Decode(&doc)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		p.rebase(a.req.Streams[i].Stream, doc.Version-1)
		s.heads.learn(a.req.Streams[i].Stream, p.last())
	}
	// The documents are there as of the reply, and were made after the append began.
	w := windowOf(a.start, s.seenIn(ctx))
	a.since, a.until = w.since, w.until
	return true, nil
}

// seenIn returns the latest time that the store has seen, that of what was read in
// the session of ctx included.
func (s *Store) seenIn(ctx context.Context) bson.Timestamp {
	s.observe(mongo.SessionFromContext(ctx))
	return unpackTime(s.observed.Load())
}

// An appendRecord is a document of the appends collection: the result of an
// append that had an id.
type appendRecord struct {
	ID      bson.Binary    `bson:"_id"`
	Streams []appendStream `bson:"streams"`
	At      bson.DateTime  `bson:"at"`
}

type appendStream struct {
	Stream eventstore.StreamID `bson:"stream_id"`
	First  int64               `bson:"first"`
	Last   int64               `bson:"last"`
	// Event is the document id of the last event, absent where none was
	// written.
	Event *bson.ObjectID `bson:"event,omitempty"`
}

func appendKeyOf(id eventstore.AppendID) bson.Binary {
	return bson.Binary{Subtype: uuidSubtype, Data: id[:]}
}

func (s *Store) appendRecord(a *pending) appendRecord {
	r := appendRecord{
		ID:      appendKeyOf(a.req.ID),
		Streams: make([]appendStream, len(a.parts)),
		At:      bson.NewDateTimeFromTime(s.cfg.Clock()),
	}
	for i := range a.parts {
		p := &a.parts[i]
		r.Streams[i] = appendStream{Stream: a.req.Streams[i].Stream, Last: int64(p.last())}
		if len(p.docs) > 0 {
			id := documentID(p.docs[len(p.docs)-1])
			r.Streams[i].First = int64(p.base + 1)
			r.Streams[i].Event = &id
		}
	}
	return r
}

// findAppendID looks for the first result of an append with this id.
func (s *Store) findAppendID(ctx context.Context, a *pending) (eventstore.AppendResult, bool, error) {
	var r appendRecord
	err := s.appends.FindOne(ctx, bson.D{{Key: "_id", Value: appendKeyOf(a.req.ID)}}).Decode(&r)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return eventstore.AppendResult{}, false, nil
	}
	if err != nil {
		return eventstore.AppendResult{}, false, err
	}
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(r.Streams)), Duplicate: true}
	tok := token{until: s.seenIn(ctx)}
	same := len(r.Streams) == len(a.req.Streams)
	for i, st := range r.Streams {
		same = same && st.Stream == a.req.Streams[i].Stream
		res.Streams[i] = eventstore.StreamResult{Stream: st.Stream, First: eventstore.Version(st.First), Last: eventstore.Version(st.Last)}
		if st.Event != nil {
			tok.ids = append(tok.ids, *st.Event)
		}
	}
	if !same {
		return eventstore.AppendResult{}, false, eventstore.NotWritten(fmt.Errorf("append %s to %q: %w", a.req.ID, a.req.Streams[0].Stream, eventstore.ErrAppendIDReused))
	}
	if len(tok.ids) > 0 {
		res.Token = tok.encode()
	}
	return res, true, nil
}
