package aggregate

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

// Config says how a repository works. Category is required, everything else has
// a default.
type Config[S any] struct {
	// Category is the category of the streams: the aggregate with key "7f3c"
	// is the stream Category-7f3c. It holds no hyphen.
	Category string

	// Snapshots keeps snapshots; none are used when nil.
	Snapshots snapshot.Store
	// SnapshotPolicy says when to take one; after every 100 events when nil.
	SnapshotPolicy snapshot.Policy
	// Schema is the version of the state's schema, 1 when zero. Raise it
	// whenever S or the way that events fold into it changes.
	Schema int
	// StateCodec encodes states for snapshots; BSON when nil. Codecs see exported
	// fields only, so a state with others is refused unless they are tagged or
	// their type writes itself (MarshalBSON). A StateCodec that is set is trusted
	// to keep what matters.
	StateCodec eventstore.Codec

	// CacheSize is the number of states kept in memory, the least recently used
	// going first; none when zero. A cached state is brought up to date with
	// what was appended since, so it is never stale.
	CacheSize int
	// Clone copies a state so deeply that folding into the copy leaves the
	// original unchanged. It is required with a cache when S holds pointers,
	// maps or slices. If Evolve never changes anything in place, hand in
	// [Unchanged].
	Clone func(S) S

	// MaxAttempts is how often a command is decided before its conflict is
	// returned, 10 when zero.
	MaxAttempts int
	// Backoff is the greatest pause before the second attempt, 5ms when zero;
	// it doubles with each further one up to MaxBackoff, 500ms when zero. The
	// pauses are drawn at random between nothing and these.
	Backoff, MaxBackoff time.Duration

	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger is told what does not fail a command: snapshots that cannot be
	// read or saved. Nothing is logged when nil.
	Logger *slog.Logger
}

// Unchanged returns its argument. As [Config].Clone it declares that Evolve
// never changes a state in place.
func Unchanged[S any](s S) S { return s }

func (c Config[S]) withDefaults() (Config[S], error) {
	var errs []error
	invalid := func(field, reason string) {
		errs = append(errs, &eventstore.InvalidError{What: "aggregate.Config." + field, Reason: reason})
	}
	if err := eventstore.NewStreamID(c.Category, "key").Validate(); err != nil || c.Category == "" || strings.Contains(c.Category, "-") {
		invalid("Category", fmt.Sprintf("is %q; it needs a name without a hyphen", c.Category))
	}
	if c.Schema < 0 {
		invalid("Schema", "is negative; versions start at 1")
	}
	if c.CacheSize < 0 {
		invalid("CacheSize", "is negative; 0 stands for no cache")
	}
	if c.MaxAttempts < 0 || c.Backoff < 0 || c.MaxBackoff < 0 {
		invalid("MaxAttempts, Backoff or MaxBackoff", "is negative; 0 stands for the default")
	}
	if field := reference(reflect.TypeFor[S](), nil); c.CacheSize > 0 && c.Clone == nil && field != "" {
		invalid("Clone", fmt.Sprintf("is not set, and the state refers to memory that a cached copy would share (%s); set it, or CacheSize to 0", field))
	}
	if c.Snapshots != nil && c.StateCodec == nil {
		if reason := unkept(reflect.TypeFor[S]()); reason != "" {
			invalid("StateCodec", "is not set, and the state "+reason+"; export it, or set a StateCodec that keeps what matters")
		}
	}
	c.Schema = max(c.Schema, 1)
	if c.Clone == nil {
		c.Clone = Unchanged[S]
	}
	if c.SnapshotPolicy == nil {
		c.SnapshotPolicy = snapshot.Every(100)
	}
	if c.StateCodec == nil {
		c.StateCodec = eventstore.NewBSONCodec()
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 10
	}
	if c.Backoff == 0 {
		c.Backoff = 5 * time.Millisecond
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 500 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}
