package mongostore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// progressEvery is how often a sequencer that has nothing to write notes how far
// it has read, so that a quiet store does not lose its place in the oplog.
const progressEvery = 30 * time.Second

// gatherFor is how long the sequencer lets changes come together after a read of
// the change stream that has brought fewer than gatherBelow. The first change after a
// quiet while is taken at once. Those that follow one by one, from a writer that
// appends without pause, share documents of the log: that leaves more of the server
// to the writer, and delays none by more.
const (
	gatherFor   = 2 * time.Millisecond
	gatherBelow = 100
)

// A sequencer writes the log. All it knows of it is the end: the head, and where
// in the change stream of events to go on from there. Every document it inserts
// stands at head+1 and continues at that place. When the insert meets a document
// of another sequencer, it forgets what it has read and starts from the new end.
// So whoever writes a document, it holds what the change stream gives behind the
// document before.
type sequencer struct {
	store      *Store
	unanswered *atomic.Int32 // the follower's

	head  eventstore.Position
	mark  bson.Timestamp
	token bson.Raw // where to go on, nil when only a recovery finds that out
	noted time.Time

	pending []logEntry // entries read and not yet written
}

// errOvertaken says that another sequencer has written at our position.
var errOvertaken = errors.New("overtaken by another sequencer")

func newSequencer(f *follower) *sequencer {
	return &sequencer{store: f.store, unanswered: f.unanswered}
}

// run sequences until ctx ends or something fails.
func (q *sequencer) run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		if err := ask(ctx, q.store.answer, q.load); err != nil {
			return err
		}
		before := q.head
		err := q.sequence(ctx)
		if !errors.Is(err, errOvertaken) {
			return err
		}
		if q.head > before {
			attempt = 0
		}
		// The other's document may not have reached the majority yet.
		if !pause(ctx, attempt, time.Second) {
			return ctx.Err()
		}
	}
}

// A sequencerRecord is the document of meta that says where to go on when the
// log's last document does not, or is older: after a recovery, and when nothing
// was appended for a while. It holds for one head only.
type sequencerRecord struct {
	Head  int64          `bson:"head"`
	Mark  bson.Timestamp `bson:"cluster_time"`
	Token bson.Raw       `bson:"token"`
}

// load reads the end of the log.
func (q *sequencer) load(ctx context.Context) error {
	ctx, done, err := q.store.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	last, err := q.store.lastLogDoc(ctx)
	if err != nil {
		return err
	}
	// Afterwards: the tail must not be behind what is written next.
	if err := q.store.catchUp(ctx); err != nil {
		return err
	}
	q.head, q.mark, q.token = last.last(), last.mark, last.token
	var r sequencerRecord
	err = q.store.meta.FindOne(ctx, bson.D{{Key: "_id", Value: "sequencer"}}).Decode(&r)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
	case err != nil:
		return err
	case eventstore.Position(r.Head) == q.head:
		q.token, q.mark = r.Token, r.Mark
	}
	q.noted = time.Now()
	q.pending = nil
	q.store.tail.fail(nil)
	return nil
}

// note keeps the place in the change stream that belongs to the present head.
func (q *sequencer) note(ctx context.Context, token bson.Raw) error {
	q.noted = time.Now()
	q.token = token
	err := ask(ctx, q.store.answer, func(ctx context.Context) error {
		_, err := q.store.meta.UpdateOne(ctx,
			bson.D{{Key: "_id", Value: "sequencer"}, {Key: "head", Value: bson.D{{Key: "$lte", Value: int64(q.head)}}}},
			bson.D{{Key: "$set", Value: bson.D{
				{Key: "head", Value: int64(q.head)}, {Key: "cluster_time", Value: q.mark}, {Key: "token", Value: token},
			}}},
			options.UpdateOne().SetUpsert(true))
		return err
	})
	if mongo.IsDuplicateKeyError(err) { // somebody has noted more
		return nil
	}
	return err
}

// sequence reads the change stream from the end of the log on and writes what it
// gives. When the place is lost it recovers first.
func (q *sequencer) sequence(ctx context.Context) error {
	if q.token != nil {
		cs, err := q.open(ctx, options.ChangeStream().SetResumeAfter(q.token))
		lost := isHistoryLost(err) || isRefusedToken(err)
		if err == nil {
			err = q.pump(ctx, cs, nil)
			closeChangeStream(ctx, cs)
			lost = isHistoryLost(err)
		}
		if !lost {
			return err
		}
		q.store.logger.WarnContext(ctx, "the sequencer has lost its place in the oplog and compares events and log", slog.Any("error", err))
		if err := ask(ctx, q.store.answer, q.load); err != nil {
			return err
		}
	}
	return q.recover(ctx)
}

func isHistoryLost(err error) bool { return err != nil && errors.Is(Classify("", err), ErrHistoryLost) }

// isRefusedToken reports whether a change stream was refused for what it was
// asked. Servers have many codes for a token of a collection that is no more, or
// of another cluster.
func isRefusedToken(err error) bool {
	e, ok := errors.AsType[*Error](Classify("", err))
	return ok && isServerError(err) && !e.Retryable && (e.Kind == ErrQuery || e.Kind == ErrInvalidOperation)
}

// open opens the change stream of events, as [openStream] does.
func (q *sequencer) open(ctx context.Context, opts *options.ChangeStreamOptionsBuilder) (*mongo.ChangeStream, error) {
	return openStream(ctx, q.store.answer, q.unanswered, func(ctx context.Context) (*mongo.ChangeStream, error) {
		return q.watch(ctx, opts)
	})
}

// watch opens the change stream of events, cut down to what the log needs.
func (q *sequencer) watch(ctx context.Context, opts *options.ChangeStreamOptionsBuilder) (*mongo.ChangeStream, error) {
	field := func(name string) string { return "fullDocument." + name }
	return q.store.events.Watch(ctx,
		mongo.Pipeline{
			{{Key: "$match", Value: bson.D{{Key: "$or", Value: bson.A{
				bson.D{
					{Key: "operationType", Value: "insert"},
					{Key: field("event_type"), Value: bson.D{{Key: "$nin", Value: bson.A{guardType, tombstoneType}}}},
				},
				bson.D{{Key: "operationType", Value: bson.D{{Key: "$in", Value: endings()}}}},
			}}}}},
			{{Key: "$project", Value: bson.D{
				{Key: "operationType", Value: 1},
				{Key: "clusterTime", Value: 1},
				{Key: field("_id"), Value: 1},
				{Key: field("stream_id"), Value: 1},
				{Key: field("event_type"), Value: 1},
				{Key: field("version"), Value: 1},
			}}},
		},
		opts.SetMaxAwaitTime(awaitTime).SetBatchSize(followBatch))
}

// A feed is what was read from the change stream at a time.
type feed struct {
	items []feedItem
	token bson.Raw // behind the items
	err   error    // the stream has ended with it
}

type feedItem struct {
	entry logEntry
	at    bson.Timestamp
	token bson.Raw // of a mark only
}

// pump moves entries from the change stream into the log. Reading goes on while
// a document is being written, and what has come meanwhile makes up the next one.
// The filter, if any, says what was logged already.
func (q *sequencer) pump(ctx context.Context, cs *mongo.ChangeStream, filter *recovery) error {
	ctx, cancel := context.WithCancel(ctx)
	feeds := make(chan feed, 4)
	read := make(chan struct{})
	go func() {
		defer close(read)
		q.readFeeds(ctx, cs, feeds)
	}()
	defer func() { cancel(); <-read }()
	var next *feed // taken from the channel and too much for the document
	for {
		var f feed
		if next != nil {
			f, next = *next, nil
		} else {
			select {
			case f = <-feeds:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for next == nil && f.err == nil {
			var more feed
			select {
			case more = <-feeds:
			default:
			}
			if more.token == nil && more.err == nil {
				break
			}
			if len(f.items)+len(more.items) > q.store.cfg.LogBatch {
				next = &more
				break
			}
			f.items = append(f.items, more.items...)
			f.token, f.err = more.token, more.err
		}
		if err := q.write(ctx, f, filter); err != nil {
			return err
		}
		if f.err != nil {
			return f.err
		}
		if filter != nil && filter.passed {
			filter = nil
		}
		if filter == nil && len(f.items) == 0 && time.Since(q.noted) > progressEvery {
			if err := q.note(ctx, f.token); err != nil {
				return err
			}
		}
	}
}

// readFeeds reads the change stream until it or ctx ends. A feed has at most as many
// items as a document of the log.
func (q *sequencer) readFeeds(ctx context.Context, cs *mongo.ChangeStream, feeds chan<- feed) {
	var (
		size    = q.store.cfg.LogBatch
		decoder logDecoder
		f       feed
	)
	send := func() bool {
		select {
		case feeds <- f:
			f = feed{}
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		next, err := tryNext(ctx, cs, q.store.answer, q.unanswered)
		if !next {
			if f.err = err; err == nil && cs.ID() == 0 {
				f.err = errStreamEnded
			}
			f.token = slices.Clone(cs.ResumeToken())
			if ended := f.err != nil; !send() || ended {
				return
			}
			continue
		}
		item, err := decodeChange(&decoder, cs.Current)
		if err != nil {
			f.err = err
			send()
			return
		}
		if item.entry.typ == markType {
			item.token = slices.Clone(cs.ResumeToken())
		}
		f.items = append(f.items, item)
		if cs.RemainingBatchLength() == 0 || len(f.items) == size {
			f.token = slices.Clone(cs.ResumeToken())
			n := len(f.items)
			if !send() || n < gatherBelow && !sleep(ctx, gatherFor) {
				return
			}
		}
	}
}

func decodeChange(d *logDecoder, change []byte) (item feedItem, err error) {
	it := elementsOf(change)
	var full []byte
	for {
		el, ok := it.next()
		if !ok {
			break
		}
		switch string(el.key) {
		case "operationType":
			if b, _ := el.text(); string(b) != "insert" {
				return item, errStreamEnded
			}
		case "clusterTime":
			item.at, _ = el.timestamp()
		case "fullDocument":
			full, _ = el.document()
		}
	}
	if it.err != nil {
		return item, it.err
	}
	if full == nil {
		return item, malformed("an insertion comes without its document")
	}
	item.entry, err = d.entry(full)
	return item, err
}

// write writes what a feed brings in a document that carries the feed's token.
func (q *sequencer) write(ctx context.Context, f feed, filter *recovery) error {
	for i := range f.items {
		item := &f.items[i]
		if item.entry.typ == markType {
			if filter != nil && !filter.passed && item.entry.id == filter.markID {
				// Everything that the recovery may have seen is behind us.
				if err := q.flush(ctx, nil, true); err != nil {
					return err
				}
				filter.passed = true
				q.mark = item.at
				if err := q.note(ctx, item.token); err != nil {
					return err
				}
			}
			continue
		}
		if filter != nil && !filter.passed {
			if err := filter.offer(ctx, item.entry); err != nil {
				return err
			}
			continue
		}
		q.pending = append(q.pending, item.entry)
		q.mark = item.at
	}
	recovering := filter != nil && !filter.passed
	token := f.token
	if recovering {
		token = nil
	}
	return q.flush(ctx, token, recovering)
}

// flush inserts what is pending behind the head.
func (q *sequencer) flush(ctx context.Context, token bson.Raw, recovered bool) error {
	if len(q.pending) == 0 {
		return nil
	}
	start := time.Now()
	d := logDoc{first: q.head + 1, entries: q.pending, mark: q.mark, token: token, recovered: recovered}
	err := q.insert(ctx, d.encode(start), recovered)
	switch {
	case mongo.IsDuplicateKeyError(err):
		return errOvertaken
	case err != nil:
		return fmt.Errorf("write the log at %d: %w", d.first, err)
	}
	q.pending = nil
	q.head, q.token = d.last(), token
	if !q.store.tail.add(d) {
		return fmt.Errorf("the log's tail in memory ends before %d: %w", d.first, errOvertaken) // to be read again
	}
	if hook := q.store.cfg.Hooks.Sequenced; hook != nil {
		hook(SequenceStats{First: d.first, Events: len(d.entries), Duration: time.Since(start), Delay: delay(d, start)})
	}
	return nil
}

// insert inserts a document of the log. When the reply is lost, the sequencer reads
// the end of the log again, and finds there whether it was written. A recovery would
// have to start again for that: it leaves such things to the driver.
func (q *sequencer) insert(ctx context.Context, doc bson.Raw, recovered bool) error {
	if recovered {
		_, err := q.store.log.InsertOne(ctx, doc)
		return err
	}
	at, err := answered(ctx, q.store.answer, func(ctx context.Context) (bson.Timestamp, error) {
		return insert(ctx, q.store.log, true, doc)
	})
	q.store.observeTime(at) // readers ask for a state no older than what they were told of
	return err
}

// delay is how long before a time the last event of a document was committed, zero
// where that is not known. Marks are in whole seconds, so it starts to count with
// the next one.
func delay(d logDoc, at time.Time) time.Duration {
	if d.mark.IsZero() {
		return 0
	}
	return max(0, at.Sub(time.Unix(int64(d.mark.T)+1, 0)))
}
