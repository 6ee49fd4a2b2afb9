package changestream

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

var ev = storage.Namespace{DB: "db", Coll: "ev"}

func engine(t testing.TB) *storage.Engine {
	e := storage.Open(storage.Config{TTLInterval: -1})
	t.Cleanup(e.Close)
	return e
}

func raw(t testing.TB, json string) bson.Raw {
	t.Helper()
	var doc bson.Raw
	require.NoError(t, bson.UnmarshalExtJSON([]byte(json), false, &doc))
	return doc
}

// stage builds a $changeStream argument from JSON and, with a token, one of
// its fields.
func stage(t testing.TB, json, field string, token bson.Raw) bson.RawValue {
	doc := raw(t, json)
	if field != "" {
		doc = value.With(doc, field, value.Doc(token))
	}
	return value.Doc(doc)
}

func watch(t testing.TB, e *storage.Engine, spec Spec) *Stream {
	t.Helper()
	s, err := tryWatch(t, e, spec)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func tryWatch(t testing.TB, e *storage.Engine, spec Spec) (*Stream, error) {
	t.Helper()
	if spec.Stage.Type == 0 {
		spec.Stage = stage(t, `{}`, "", nil)
	}
	if spec.DB == "" {
		spec.DB, spec.Coll = "db", "ev"
	}
	if spec.Env == nil {
		spec.Env = &expr.Env{}
	}
	return Open(t.Context(), e, spec)
}

func next(t testing.TB, s *Stream) []bson.Raw {
	t.Helper()
	docs, err := s.Next(t.Context(), 0, 16<<20, time.Time{})
	require.NoError(t, err)
	return docs
}

// types lists events as "insert 1".
func types(t testing.TB, docs []bson.Raw) []string {
	out := []string{}
	for _, d := range docs {
		s := d.Lookup("operationType").StringValue()
		if k := value.Lookup(d, "documentKey._id"); !value.IsMissing(k) {
			s += " " + k.String()
		}
		out = append(out, s)
	}
	return out
}

func tokenOf(d bson.Raw) bson.Raw { return d.Lookup("_id").Document() }

func insert(t testing.TB, e *storage.Engine, w storage.Write, ns storage.Namespace, docs ...string) {
	t.Helper()
	var raws []bson.Raw
	for _, d := range docs {
		raws = append(raws, raw(t, d))
	}
	res, err := e.InsertMany(t.Context(), w, ns, raws, true)
	require.NoError(t, err)
	require.Empty(t, res.Errors)
}

func modify(t testing.TB, e *storage.Engine, id int32, change storage.Change) {
	t.Helper()
	c, err := e.Collection(nil, ev)
	require.NoError(t, err)
	_, at := c.FindByID(storage.View{}, value.Int32(id))
	_, err = c.Modify(t.Context(), storage.Write{}, at, func(bson.Raw) (storage.Change, error) { return change, nil })
	require.NoError(t, err)
}

func TestEventsOfEveryKind(t *testing.T) {
	t.Parallel()
	e := engine(t)
	s := watch(t, e, Spec{Stage: stage(t, `{"fullDocument":"updateLookup"}`, "", nil)})
	first := s.Token()
	require.Empty(t, next(t, s))
	require.Equal(t, first, s.Token(), "nothing has happened")

	insert(t, e, storage.Write{}, ev, `{"_id":1,"a":1}`)
	modify(t, e, 1, storage.Change{Doc: raw(t, `{"_id":1,"a":2}`), Update: &storage.UpdateDescription{Updated: raw(t, `{"a":2}`), Removed: []string{"b.c"}}})
	modify(t, e, 1, storage.Change{Doc: raw(t, `{"_id":1,"z":1}`)})
	modify(t, e, 1, storage.Change{Delete: true})
	docs := next(t, s)
	require.Equal(t, []string{`insert {"$numberInt":"1"}`, `update {"$numberInt":"1"}`, `replace {"$numberInt":"1"}`, `delete {"$numberInt":"1"}`}, types(t, docs))
	require.Equal(t, tokenOf(docs[3]), s.Token())

	id := func(d bson.Raw) bson.E { return bson.E{Key: "_id", Value: tokenOf(d)} }
	at := func(d bson.Raw) bson.E { return bson.E{Key: "clusterTime", Value: d.Lookup("clusterTime")} }
	ns := bson.E{Key: "ns", Value: bson.D{{Key: "db", Value: "db"}, {Key: "coll", Value: "ev"}}}
	one := bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: int32(1)}}}
	for i, want := range []bson.D{
		{id(docs[0]), {Key: "operationType", Value: "insert"}, at(docs[0]), {Key: "fullDocument", Value: raw(t, `{"_id":1,"a":1}`)}, ns, one},
		{
			id(docs[1]),
			{Key: "operationType", Value: "update"},
			at(docs[1]),
			{Key: "fullDocument", Value: nil},
			ns, one,
			{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: bson.D{{Key: "a", Value: int32(2)}}}, {Key: "removedFields", Value: bson.A{"b.c"}}}},
		},
		{id(docs[2]), {Key: "operationType", Value: "replace"}, at(docs[2]), {Key: "fullDocument", Value: raw(t, `{"_id":1,"z":1}`)}, ns, one},
		{id(docs[3]), {Key: "operationType", Value: "delete"}, at(docs[3]), ns, one},
	} {
		b, err := bson.Marshal(want)
		require.NoError(t, err)
		require.Equal(t, bson.Raw(b).String(), docs[i].String())
	}

	insert(t, e, storage.Write{}, ev, `{"_id":2}`)
	modify(t, e, 2, storage.Change{Doc: raw(t, `{"_id":2,"a":2}`), Update: &storage.UpdateDescription{Updated: raw(t, `{"a":2}`)}})
	docs = next(t, s)
	require.Equal(t, raw(t, `{"_id":2,"a":2}`), bson.Raw(docs[1].Lookup("fullDocument").Value))

	insert(t, e, storage.Write{}, storage.Namespace{DB: "db", Coll: "other"}, `{"_id":1}`)
	require.Empty(t, next(t, s))
	p := highWater(e.LastOp())
	require.Equal(t, p.token(), s.Token(), "a quiet stream's token moves on")

	_, err := e.Drop(t.Context(), ev)
	require.NoError(t, err)
	docs = next(t, s)
	require.Equal(t, []string{"drop", "invalidate"}, types(t, docs))
	require.True(t, s.Closed())
	require.Equal(t, tokenOf(docs[1]), s.Token())
	require.Empty(t, next(t, s))
}

func TestTransactionEvents(t *testing.T) {
	t.Parallel()
	e := engine(t)
	insert(t, e, storage.Write{}, ev, `{"_id":0}`)
	s := watch(t, e, Spec{})
	lsid := raw(t, `{"id":1,"uid":2}`)
	tx, err := e.Begin(storage.TxnOptions{LSID: lsid, TxnNumber: 6})
	require.NoError(t, err)
	w := storage.Write{Txn: tx}
	insert(t, e, w, ev, `{"_id":10}`)
	insert(t, e, w, storage.Namespace{DB: "db", Coll: "other"}, `{"_id":1}`)
	insert(t, e, w, ev, `{"_id":11}`)
	require.Empty(t, next(t, s))
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	docs := next(t, s)
	require.Equal(t, []string{`insert {"$numberInt":"10"}`, `insert {"$numberInt":"11"}`}, types(t, docs))
	for _, d := range docs {
		require.Equal(t, lsid, d.Lookup("lsid").Document())
		require.Equal(t, int64(6), d.Lookup("txnNumber").Int64())
	}
	require.Equal(t, docs[0].Lookup("clusterTime"), docs[1].Lookup("clusterTime"))

	again := watch(t, e, Spec{Stage: stage(t, `{}`, "resumeAfter", tokenOf(docs[0]))})
	require.Equal(t, docs[1:], next(t, again))
	again = watch(t, e, Spec{Stage: stage(t, `{}`, "resumeAfter", tokenOf(docs[1]))})
	require.Empty(t, next(t, again))
	require.Equal(t, tokenOf(docs[1]), again.Token())
}

func TestResume(t *testing.T) {
	t.Parallel()
	e := engine(t)
	s := watch(t, e, Spec{})
	start := s.Token()
	insert(t, e, storage.Write{}, ev, `{"_id":1}`, `{"_id":2}`, `{"_id":3}`)
	docs := next(t, s)
	require.Len(t, docs, 3)
	for _, field := range []string{"resumeAfter", "startAfter"} {
		require.Equal(t, docs, next(t, watch(t, e, Spec{Stage: stage(t, `{}`, field, start)})))
		for i := range docs {
			got := next(t, watch(t, e, Spec{Stage: stage(t, `{}`, field, tokenOf(docs[i]))}))
			require.Len(t, got, len(docs)-1-i)
			if len(got) > 0 {
				require.Equal(t, docs[i+1:], got)
			}
		}
	}
	at := docs[1].Lookup("clusterTime")
	from := value.Doc(value.With(raw(t, `{}`), "startAtOperationTime", at))
	require.Equal(t, docs[1:], next(t, watch(t, e, Spec{Stage: from})))
	require.Equal(t, docs, next(t, watch(t, e, Spec{Stage: stage(t, `{"startAtOperationTime":{"$timestamp":{"t":1000,"i":1}}}`, "", nil)})))

	// A token of another collection's event is not found.
	insert(t, e, storage.Write{}, storage.Namespace{DB: "db", Coll: "other"}, `{"_id":1}`)
	foreign := next(t, watch(t, e, Spec{DB: "db", Coll: "other", Stage: value.Doc(value.With(raw(t, `{}`), "startAtOperationTime", at))}))
	insert(t, e, storage.Write{}, ev, `{"_id":4}`)
	lost := watch(t, e, Spec{Stage: stage(t, `{}`, "resumeAfter", tokenOf(foreign[0]))})
	_, err := lost.Next(t.Context(), 0, 1<<20, time.Time{})
	require.Equal(t, mongoerr.ChangeStreamFatalError, mongoerr.CodeOf(err))
	require.True(t, mongoerr.From(err).HasLabel(mongoerr.LabelNonResumable))
}

func TestResumeAfterInvalidate(t *testing.T) {
	t.Parallel()
	e := engine(t)
	insert(t, e, storage.Write{}, ev, `{"_id":1}`)
	s := watch(t, e, Spec{})
	_, err := e.Drop(t.Context(), ev)
	require.NoError(t, err)
	docs := next(t, s)
	inv := tokenOf(docs[1])
	_, err = tryWatch(t, e, Spec{Stage: stage(t, `{}`, "resumeAfter", inv)})
	require.Equal(t, mongoerr.InvalidResumeToken, mongoerr.CodeOf(err))
	s = watch(t, e, Spec{Stage: stage(t, `{}`, "startAfter", inv)})
	require.Empty(t, next(t, s))
	require.Equal(t, inv, s.Token())
	insert(t, e, storage.Write{}, ev, `{"_id":99}`)
	require.Equal(t, []string{`insert {"$numberInt":"99"}`}, types(t, next(t, s)))
	// Resumed from the drop, the invalidate comes again.
	s = watch(t, e, Spec{Stage: stage(t, `{}`, "resumeAfter", tokenOf(docs[0]))})
	require.Equal(t, docs[1:], next(t, s))
	require.True(t, s.Closed())
}

func TestScopes(t *testing.T) {
	t.Parallel()
	e := engine(t)
	other := storage.Namespace{DB: "db", Coll: "other"}
	coll := watch(t, e, Spec{})
	target := watch(t, e, Spec{DB: "db", Coll: "renamed"})
	db := watch(t, e, Spec{DB: "db"})
	all := watch(t, e, Spec{DB: "admin", Stage: stage(t, `{"allChangesForCluster":true}`, "", nil)})
	insert(t, e, storage.Write{}, ev, `{"_id":1}`)
	insert(t, e, storage.Write{}, other, `{"_id":2}`)
	insert(t, e, storage.Write{}, storage.Namespace{DB: "db2", Coll: "ev"}, `{"_id":3}`)
	insert(t, e, storage.Write{}, storage.Namespace{DB: "db", Coll: "system.profile"}, `{"_id":4}`)
	insert(t, e, storage.Write{}, storage.Namespace{DB: "config", Coll: "x"}, `{"_id":5}`)
	require.NoError(t, e.Rename(t.Context(), ev, storage.Namespace{DB: "db", Coll: "renamed"}, false))
	_, err := e.DropDatabase(t.Context(), "db")
	require.NoError(t, err)
	insert(t, e, storage.Write{}, storage.Namespace{DB: "db2", Coll: "ev"}, `{"_id":6}`)

	num := func(n string) string { return `{"$numberInt":"` + n + `"}` }
	got := next(t, coll)
	require.Equal(t, []string{"insert " + num("1"), "rename", "invalidate"}, types(t, got))
	require.JSONEq(t, `{"db": "db","coll": "renamed"}`, got[1].Lookup("to").String())
	require.Equal(t, []string{"rename", "invalidate"}, types(t, next(t, target)))
	require.Equal(t, []string{"insert " + num("1"), "insert " + num("2"), "rename", "drop", "drop", "dropDatabase", "invalidate"}, types(t, next(t, db)))
	got = next(t, all)
	require.Equal(t, []string{"insert " + num("1"), "insert " + num("2"), "insert " + num("3"), "rename", "drop", "drop", "dropDatabase", "insert " + num("6")}, types(t, got))
	require.JSONEq(t, `{"db": "db"}`, got[6].Lookup("ns").String())
	require.False(t, all.Closed())
}

func TestSpecsThatAreRefused(t *testing.T) {
	t.Parallel()
	e := engine(t)
	for json, code := range map[string]mongoerr.Code{
		`{"fullDocument":"nope"}`:          40575,
		`{"fullDocument":"whenAvailable"}`: 40575,
		`{"fullDocument":1}`:               mongoerr.TypeMismatch,
		`{"fullDocumentBeforeChange":"x"}`: mongoerr.BadValue,
		`{"nope":1}`:                       40415,
		`{"allChangesForCluster":true}`:    mongoerr.InvalidOptions,
		`{"resumeAfter":{"x":1}}`:          40647,
		`{"resumeAfter":{"_data":"zz"}}`:   mongoerr.FailedToParse,
		`{"resumeAfter":{"_data":"826B03B46E0000003C2B0229296E04"},"startAfter":{"_data":"826B03B46E0000003C2B0229296E04"}}`: 50865,
		`{"resumeAfter":{"_data":"826B03B46E0000003C2B0229296E04"},"startAtOperationTime":{"$timestamp":{"t":1,"i":1}}}`:     40674,
		`{"resumeAfter":{"_data":"826B03B46E0000003C2B022C0100296E04"}}`:                                                     mongoerr.InvalidResumeToken,
	} {
		_, err := tryWatch(t, e, Spec{Stage: stage(t, json, "", nil)})
		require.Equal(t, code, mongoerr.CodeOf(err), "%s: %v", json, err)
	}
	for _, spec := range []Spec{{DB: "local", Coll: "c"}, {DB: "config"}, {DB: "admin"}, {DB: "db", Coll: "system.x"}} {
		_, err := tryWatch(t, e, spec)
		require.Equal(t, mongoerr.InvalidNamespace, mongoerr.CodeOf(err))
	}
	_, err := tryWatch(t, e, Spec{Stage: value.Int32(1)})
	require.Equal(t, mongoerr.Code(50808), mongoerr.CodeOf(err))
	_, err = tryWatch(t, e, Spec{Pipeline: []bson.Raw{raw(t, `{"$group":{"_id":1}}`)}})
	require.Equal(t, mongoerr.IllegalOperation, mongoerr.CodeOf(err))
	require.Equal(t, "$group is not permitted in a $changeStream pipeline", mongoerr.From(err).Message)
}

func TestUserPipeline(t *testing.T) {
	t.Parallel()
	e := engine(t)
	s := watch(t, e, Spec{Pipeline: []bson.Raw{raw(t, `{"$match":{"operationType":"delete"}}`)}})
	insert(t, e, storage.Write{}, ev, `{"_id":1}`, `{"_id":2}`)
	modify(t, e, 1, storage.Change{Delete: true})
	insert(t, e, storage.Write{}, ev, `{"_id":3}`)
	require.Equal(t, []string{`delete {"$numberInt":"1"}`}, types(t, next(t, s)))

	s = watch(t, e, Spec{Pipeline: []bson.Raw{raw(t, `{"$project":{"_id":0}}`)}})
	insert(t, e, storage.Write{}, ev, `{"_id":4}`)
	_, err := s.Next(t.Context(), 0, 1<<20, time.Time{})
	require.Equal(t, mongoerr.ChangeStreamFatalError, mongoerr.CodeOf(err))
	require.True(t, mongoerr.From(err).HasLabel(mongoerr.LabelNonResumable))
	require.Contains(t, mongoerr.From(err).Message, `Expected: { _id: { _data: "82`)
	require.Contains(t, mongoerr.From(err).Message, `but found: {}`)

	// An invalidate closes the stream also where the pipeline drops it.
	s = watch(t, e, Spec{Pipeline: []bson.Raw{raw(t, `{"$match":{"operationType":"insert"}}`)}})
	_, err = e.Drop(t.Context(), ev)
	require.NoError(t, err)
	require.Empty(t, next(t, s))
	require.True(t, s.Closed())
}

func TestHistoryLost(t *testing.T) {
	t.Parallel()
	e := engine(t)
	s := watch(t, e, Spec{})
	start := s.Token()
	insert(t, e, storage.Write{}, ev, `{"_id":1}`, `{"_id":2}`, `{"_id":3}`)
	e.Oplog().Truncate(0)
	_, err := s.Next(t.Context(), 0, 1<<20, time.Time{})
	require.Equal(t, mongoerr.ChangeStreamHistoryLost, mongoerr.CodeOf(err))
	require.True(t, mongoerr.From(err).HasLabel(mongoerr.LabelNonResumable))
	_, err = tryWatch(t, e, Spec{Stage: stage(t, `{}`, "resumeAfter", start)})
	require.Equal(t, mongoerr.ChangeStreamHistoryLost, mongoerr.CodeOf(err))
	s = watch(t, e, Spec{})
	insert(t, e, storage.Write{}, ev, `{"_id":4}`)
	require.Len(t, next(t, s), 1)
}

func TestLimitsOfABatch(t *testing.T) {
	t.Parallel()
	e := engine(t)
	s := watch(t, e, Spec{})
	insert(t, e, storage.Write{}, ev, `{"_id":1}`, `{"_id":2}`, `{"_id":3}`, `{"_id":4}`)
	docs, err := s.Next(t.Context(), 1, 1<<20, time.Time{})
	require.NoError(t, err)
	require.Len(t, docs, 1)
	require.Equal(t, tokenOf(docs[0]), s.Token())
	docs, err = s.Next(t.Context(), 0, 1, time.Time{})
	require.NoError(t, err)
	require.Len(t, docs, 1, "at least one")
	docs, err = s.Next(t.Context(), 0, 2*len(docs[0]), time.Time{})
	require.NoError(t, err)
	require.Len(t, docs, 2)
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	e := engine(t)
	s := watch(t, e, Spec{})
	type result struct {
		docs []bson.Raw
		err  error
	}
	got := make(chan result, 1)
	wait := func(ctx context.Context, d time.Duration) {
		docs, err := s.Next(ctx, 0, 1<<20, time.Now().Add(d))
		got <- result{docs, err}
	}
	go wait(t.Context(), time.Minute)
	insert(t, e, storage.Write{}, storage.Namespace{DB: "db", Coll: "other"}, `{"_id":1}`)
	insert(t, e, storage.Write{}, ev, `{"_id":1}`)
	r := <-got
	require.NoError(t, r.err)
	require.Len(t, r.docs, 1)

	go wait(t.Context(), time.Millisecond)
	r = <-got
	require.NoError(t, r.err)
	require.Empty(t, r.docs)

	ctx, cancel := context.WithCancel(t.Context())
	go wait(ctx, time.Minute)
	cancel()
	require.Equal(t, mongoerr.Interrupted, mongoerr.CodeOf((<-got).err))

	go wait(t.Context(), time.Minute)
	e.Close()
	require.Equal(t, mongoerr.InterruptedAtShutdown, mongoerr.CodeOf((<-got).err))
}

func TestPreAndPostImages(t *testing.T) {
	t.Parallel()
	e := engine(t)
	_, err := e.Create(t.Context(), nil, ev, storage.CollectionOptions{PreImages: true})
	require.NoError(t, err)
	modern := &expr.Env{Version: expr.V60}
	s := watch(t, e, Spec{Env: modern, Stage: stage(t, `{"fullDocument":"required","fullDocumentBeforeChange":"required"}`, "", nil)})
	insert(t, e, storage.Write{}, ev, `{"_id":1,"a":1}`)
	modify(t, e, 1, storage.Change{Doc: raw(t, `{"_id":1,"a":2}`), Update: &storage.UpdateDescription{Updated: raw(t, `{"a":2}`)}})
	modify(t, e, 1, storage.Change{Doc: raw(t, `{"_id":1,"a":3}`), Update: &storage.UpdateDescription{Updated: raw(t, `{"a":3}`)}})
	modify(t, e, 1, storage.Change{Delete: true})
	docs := next(t, s)
	for i, want := range map[int][2]int32{1: {1, 2}, 2: {2, 3}} {
		require.Equal(t, want[0], docs[i].Lookup("fullDocumentBeforeChange", "a").Int32())
		require.Equal(t, want[1], docs[i].Lookup("fullDocument", "a").Int32())
	}
	require.Equal(t, int32(3), docs[3].Lookup("fullDocumentBeforeChange", "a").Int32())

	plain := storage.Namespace{DB: "db", Coll: "plain"}
	s = watch(t, e, Spec{DB: "db", Coll: "plain", Stage: stage(t, `{"fullDocumentBeforeChange":"whenAvailable"}`, "", nil)})
	strict := watch(t, e, Spec{DB: "db", Coll: "plain", Stage: stage(t, `{"fullDocumentBeforeChange":"required"}`, "", nil)})
	insert(t, e, storage.Write{}, plain, `{"_id":1}`)
	c, _ := e.Collection(nil, plain)
	_, at := c.FindByID(storage.View{}, value.Int32(1))
	_, err = c.Modify(t.Context(), storage.Write{}, at, func(bson.Raw) (storage.Change, error) { return storage.Change{Delete: true}, nil })
	require.NoError(t, err)
	docs = next(t, s)
	require.True(t, value.IsMissing(value.Field(docs[1], "fullDocumentBeforeChange")))
	_, err = strict.Next(t.Context(), 0, 1<<20, time.Time{})
	require.Equal(t, mongoerr.Code(51770), mongoerr.CodeOf(err))
}

func BenchmarkEvents(b *testing.B) {
	e := engine(b)
	s := watch(b, e, Spec{})
	doc := raw(b, `{"_id":1,"stream_id":"order-1","version":1,"data":{"a":"some text that makes it longer","b":[1,2,3]}}`)
	n := 0
	for b.Loop() {
		if n%1000 == 0 {
			b.StopTimer()
			docs := make([]bson.Raw, 1000)
			for i := range docs {
				docs[i] = value.With(doc, "_id", value.Int64(int64(n+i)))
			}
			_, err := e.InsertMany(b.Context(), storage.Write{}, ev, docs, false)
			require.NoError(b, err)
			b.StartTimer()
		}
		docs, err := s.Next(b.Context(), 1, 16<<20, time.Time{})
		if err != nil || len(docs) != 1 {
			b.Fatal(len(docs), err)
		}
		n++
	}
}

func BenchmarkInsertToWaitingStream(b *testing.B) {
	e := engine(b)
	s := watch(b, e, Spec{})
	got := make(chan int)
	go func() {
		defer close(got)
		for {
			docs, err := s.Next(context.Background(), 0, 16<<20, time.Now().Add(time.Minute))
			if err != nil {
				return
			}
			got <- len(docs)
		}
	}()
	n := 0
	for b.Loop() {
		doc := raw(b, `{"_id":0}`)
		_, err := e.InsertMany(b.Context(), storage.Write{}, ev, []bson.Raw{value.With(doc, "_id", value.Int64(int64(n)))}, true)
		require.NoError(b, err)
		<-got
		n++
	}
	e.Close()
	for range got {
	}
}
