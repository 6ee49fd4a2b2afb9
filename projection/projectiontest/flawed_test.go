package projectiontest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
	"github.com/annals-es/annals/simstore"
)

// A flawed backend is a good one with one mistake.
type flawed struct {
	projection.Backend
	mu   sync.Mutex
	flaw string
}

// flaws are mistakes that an implementation might make.
var flaws = []string{
	"commit ignores the fence",
	"commit ignores the revision",
	"commit ignores the position",
	"commit keeps the old revision",
	"commit writes documents in spite of an error",
	"commit forgets dead letters",
	"commit forgets to unpark",
	"commit forgets deletes",
	"commit hides which document is bad",
	"load is limited to a hundred",
	"load ignores the model",
	"scan includes its end",
	"scan ignores the limit",
	"drop does nothing",
	"letters come in no order",
	"letters ignore the key",
	"letters forget attempts",
	"parked keys of all versions",
	"rows ignore the revision",
	"rows ignore the prefix",
	"the clock stands still",
	"a lease has two owners",
	"a fence is given twice",
	"a saved checkpoint ignores the fence",
}

// TestFlawed runs the suite on a flawed backend, in a process of its own.
func TestFlawed(t *testing.T) {
	flaw := os.Getenv("FLAW")
	if flaw == "" {
		t.Skip("started by TestSuiteFindsFlaws")
	}
	projectiontest.Backend(t, func(t *testing.T) (projection.Backend, func(time.Duration)) {
		store := simstore.New(simstore.Config{})
		t.Cleanup(func() { _ = store.Close() })
		return &flawed{Backend: store, flaw: flaw}, time.Sleep
	})
}

func TestSuiteFindsFlaws(t *testing.T) {
	t.Parallel()
	for _, flaw := range append([]string{"none"}, flaws...) {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFlawed$", "-test.failfast")
			cmd.Env = append(os.Environ(), "FLAW="+flaw)
			out, err := cmd.CombinedOutput()
			require.NoError(t, ctx.Err())
			if flaw == "none" {
				require.NoError(t, err, "%s", out)
				return
			}
			require.Error(t, err, "the suite has not noticed")
			require.Contains(t, string(out), "--- FAIL: TestFlawed/")
		})
	}
}

func (f *flawed) is(flaw string) bool {
	if !slices.Contains(flaws, flaw) {
		panic("no such flaw: " + flaw)
	}
	return f.flaw == flaw
}

func (f *flawed) Commit(ctx context.Context, c projection.Commit) (projection.Checkpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := c.From
	stored, err := f.LoadCheckpoint(ctx, c.Key)
	if err != nil {
		return stored, err
	}
	switch {
	case f.is("commit ignores the fence"):
		c.Fence = max(c.Fence, stored.Fence)
	case f.is("commit ignores the revision") && stored.Position == c.From.Position:
		c.From = stored
	case f.is("commit ignores the position"):
		c.From = stored
	case f.is("commit forgets dead letters"):
		c.Parked = nil
	case f.is("commit forgets to unpark"):
		c.Unparked = nil
	case f.is("commit forgets deletes"):
		c.Changes = slices.DeleteFunc(slices.Clone(c.Changes), projection.Change.IsDelete)
	}
	next, err := f.Backend.Commit(ctx, c)
	var refused *projection.DocumentError
	switch {
	case err == nil && f.is("commit ignores the fence"):
		next.Fence = c.Fence
	case err == nil && f.is("commit keeps the old revision"):
		next.Revision = from.Revision
	case errors.As(err, &refused) && f.is("commit writes documents in spite of an error"):
		key := projection.CheckpointKey{Projection: "elsewhere", Partition: int(time.Now().UnixNano())}
		for _, change := range c.Changes {
			key.Partition++
			_, _ = f.Backend.Commit(ctx, projection.Commit{Key: key, Changes: []projection.Change{change}})
		}
	case errors.As(err, &refused) && f.is("commit hides which document is bad"):
		err = errors.New("a document is bad")
	}
	return next, err
}

func (f *flawed) LoadDocuments(ctx context.Context, model string, keys []string) ([]projection.Document, error) {
	if f.is("load ignores the model") {
		model = "orders_v1"
	}
	docs, err := f.Backend.LoadDocuments(ctx, model, keys)
	if f.is("load is limited to a hundred") && len(docs) > 100 {
		docs = docs[:100]
	}
	return docs, err
}

func (f *flawed) ScanDocuments(ctx context.Context, model, from, to string, limit int) ([]projection.Document, error) {
	if f.is("scan includes its end") && to != "" {
		to += "\x00"
	}
	if f.is("scan ignores the limit") {
		limit = min(limit, 0)
	}
	return f.Backend.ScanDocuments(ctx, model, from, to, limit)
}

func (f *flawed) DropModel(ctx context.Context, model string) error {
	if f.is("drop does nothing") {
		return ctx.Err()
	}
	return f.Backend.DropModel(ctx, model)
}

func (f *flawed) DeadLetters(ctx context.Context, q projection.LetterQuery) ([]projection.DeadLetter, error) {
	if f.is("letters ignore the key") {
		q.Key = ""
	}
	letters, err := f.Backend.DeadLetters(ctx, q)
	if f.is("letters come in no order") {
		slices.Reverse(letters)
	}
	if f.is("letters forget attempts") {
		for i := range letters {
			letters[i].Attempts = 0
		}
	}
	return letters, err
}

func (f *flawed) ParkedKeys(ctx context.Context, name string, version int) (map[string]int, error) {
	keys, err := f.Backend.ParkedKeys(ctx, name, version)
	if f.is("parked keys of all versions") && err == nil {
		others, err := f.Backend.ParkedKeys(ctx, name, 3-version)
		for key, n := range others {
			keys[key] += n
		}
		return keys, err
	}
	return keys, err
}

func (f *flawed) SaveRow(ctx context.Context, r projection.Row) (projection.Row, error) {
	if f.is("rows ignore the revision") {
		r.Revision = projection.AnyRevision
	}
	return f.Backend.SaveRow(ctx, r)
}

func (f *flawed) Rows(ctx context.Context, prefix string) ([]projection.Row, error) {
	if f.is("rows ignore the prefix") {
		prefix = ""
	}
	return f.Backend.Rows(ctx, prefix)
}

func (f *flawed) Now(ctx context.Context) (time.Time, error) {
	if f.is("the clock stands still") {
		return time.UnixMilli(0).UTC(), ctx.Err()
	}
	return f.Backend.Now(ctx)
}

func (f *flawed) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (projection.Lease, error) {
	l, err := f.Backend.AcquireLease(ctx, name, owner, ttl)
	if f.is("a lease has two owners") && errors.Is(err, projection.ErrLeaseHeld) {
		return projection.Lease{Name: name, Owner: owner, Fence: 1, Expires: time.Now().Add(ttl)}, nil
	}
	if f.is("a fence is given twice") {
		l.Fence = min(l.Fence, 1)
	}
	return l, err
}

func (f *flawed) SaveCheckpoint(ctx context.Context, key projection.CheckpointKey, c projection.Checkpoint) error {
	err := f.Backend.SaveCheckpoint(ctx, key, c)
	if f.is("a saved checkpoint ignores the fence") && errors.Is(err, projection.ErrFenced) {
		return nil
	}
	return err
}
