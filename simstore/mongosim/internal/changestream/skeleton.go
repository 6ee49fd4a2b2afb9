package changestream

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// A Spec says what to watch and from where.
type Spec struct {
	// DB and Coll name the collection to watch. An empty Coll watches the
	// database; both empty, the cluster.
	DB, Coll string
	// Stage is the $changeStream stage's argument.
	Stage bson.RawValue
	// Pipeline are the stages after it.
	Pipeline []bson.Raw
	Env      *expr.Env
	// Modern allows what servers from 6.0 on know: fullDocument whenAvailable and required.
	Modern bool
}

// A Stream follows the oplog. One goroutine uses it at a time.
type Stream struct{}

// Open checks the spec and finds the starting point; errors are *mongoerr.Error with the server's codes and labels.
func Open(ctx context.Context, e *storage.Engine, spec Spec) (*Stream, error) { panic("skeleton") }

// Next gives up to limit events (0: no limit but bytes), at most maxBytes of them (at least one). When there is
// none it waits for one until the deadline (zero: does not wait). After the last event of an invalidated stream
// Closed is true and the cursor is to be reported as exhausted.
func (s *Stream) Next(ctx context.Context, limit, maxBytes int, deadline time.Time) ([]bson.Raw, error) {
	panic("skeleton")
}

// Token is the postBatchResumeToken to send with what Next returned last.
func (s *Stream) Token() bson.Raw { panic("skeleton") }

// Closed tells whether the stream has ended with an invalidate event.
func (s *Stream) Closed() bool { panic("skeleton") }

// Close releases the stream.
func (s *Stream) Close() { panic("skeleton") }
