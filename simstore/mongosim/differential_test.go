package mongosim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/simstore/mongosim"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
)

// TestSameAnswersAsServer asks a real server and a simulated one questions recombined from the recorded cases.
// MONGOSIM_CASES is the number of questions of each kind, none by default; MONGODB_URI names the server, a 4.4;
// MONGOSIM_SEED repeats a run. What it finds is to be read: some answers depend on an order that a server need not
// keep.
func TestSameAnswersAsServer(t *testing.T) {
	t.Parallel()
	count := number(t, "MONGOSIM_CASES", 0)
	if count == 0 {
		t.Skip("MONGOSIM_CASES says how many questions to ask; none")
	}
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		t.Fatal("MONGOSIM_CASES is set and MONGODB_URI, the server to compare with, is not")
	}
	seed := uint64(number(t, "MONGOSIM_SEED", int(rand.Uint32())))
	for i, group := range []string{"filter", "find", "update", "pipeline", "expr"} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			t.Logf("MONGOSIM_SEED=%d", seed)
			g := newRecombiner(t, seed*8+uint64(i))
			sets := g.datasets()
			real := load(t, realServer(t, uri).Database(fmt.Sprintf("mongosim_%d_%s", os.Getpid(), group)), sets)
			t.Cleanup(func() { _ = real.db.Drop(context.WithoutCancel(t.Context())) })
			sim := load(t, mongosim.Start(t).Client(t).Database("oracle"), sets)
			differ := 0
			for range count {
				c := g.next(group)
				want := real.answer(c)
				c.Want, c.N, c.NMod, c.Error = want.docs, want.n, want.nMod, want.failed
				got := sim.answer(c)
				if got.agrees(c) || undetermined(c, got) {
					continue
				}
				if differ++; differ <= 40 {
					t.Errorf("%s\n%s", question(c), contrast(want, got))
				}
			}
			t.Logf("%d of %d as the server", count-differ, count)
		})
	}
}

func number(t *testing.T, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n
}

func realServer(t *testing.T, uri string) *mongo.Client {
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Disconnect(context.WithoutCancel(t.Context()))) })
	return client
}

func load(t *testing.T, db *mongo.Database, sets map[string][]bson.Raw) *oracle {
	o := &oracle{t: t, db: db}
	for name, docs := range sets {
		_, err := db.Collection(name).InsertMany(t.Context(), docs)
		require.NoError(t, err)
	}
	return o
}

// undetermined reports whether the answers differ only where the server promises nothing: the order of
// documents that no stage sorted, and the identities that it makes up.
func undetermined(c mqltest.Case, got oracleAnswer) bool {
	if c.Error != nil || got.failed != nil || got.n != c.N || got.nMod != c.NMod || len(got.docs) != len(c.Want) {
		return false
	}
	if c.Kind == "update" {
		return c.Upsert && slices.EqualFunc(c.Want, got.docs, func(a, b bson.RawValue) bool {
			return withoutMadeID(a) == withoutMadeID(b)
		})
	}
	ordered, sameMembers := true, true
	switch c.Kind {
	case "find":
		ordered = c.Sort == nil || !c.Sort.Lookup("_id").IsZero()
		sameMembers = ordered || c.Skip == 0 && c.Limit == 0
	case "pipeline":
		ordered, sameMembers = promised(c.Pipeline)
	}
	if !sameMembers {
		return true
	}
	want, have := texts(c.Want), texts(got.docs)
	slices.Sort(want)
	slices.Sort(have)
	return !ordered && slices.Equal(want, have)
}

// promised reports whether a pipeline's answers come in one order only, and whether they are the same
// documents whatever order its stages chose.
func promised(stages []bson.Raw) (ordered, sameMembers bool) {
	ordered, unique := true, true
	for _, s := range stages {
		e := s.Index(0)
		switch e.Key() {
		case "$unwind":
			unique = false
		case "$group", "$bucket", "$bucketAuto", "$sortByCount":
			if !ordered {
				return false, false
			}
			ordered, unique = false, true
		case "$sort":
			sort, ok := e.Value().DocumentOK()
			ordered = ok && unique && !sort.Lookup("_id").IsZero()
		case "$limit", "$skip":
			if !ordered {
				return false, false
			}
		case "$graphLookup", "$facet":
			return false, false
		}
	}
	return ordered, true
}

func withoutMadeID(doc bson.RawValue) string {
	d := bson.D{}
	elements, _ := doc.Document().Elements()
	for _, e := range elements {
		if e.Key() == "_id" && e.Value().Type == bson.TypeObjectID {
			d = append(d, bson.E{Key: "_id", Value: "made"})
			continue
		}
		d = append(d, bson.E{Key: e.Key(), Value: e.Value()})
	}
	return d.String()
}

// contrast shows two answers from the first document on that differs.
func contrast(want, got oracleAnswer) string {
	for len(want.docs) > 0 && len(got.docs) > 0 && mqltest.Canonical(want.docs[0]) == mqltest.Canonical(got.docs[0]) {
		want.docs, got.docs = want.docs[1:], got.docs[1:]
	}
	return fmt.Sprintf("  want %s\n  got  %s", describe(want.docs, want.n, want.nMod, want.failed), describe(got.docs, got.n, got.nMod, got.failed))
}

func question(c mqltest.Case) string {
	c.Want, c.N, c.NMod, c.Error = nil, 0, 0, nil
	switch c.Kind {
	case "filter", "find":
		return fmt.Sprintf("%s %s find %s sort %s projection %s skip %d limit %d", c.ID, c.Dataset, c.Filter, c.Sort, c.Projection, c.Skip, c.Limit)
	case "update":
		return fmt.Sprintf("%s doc %s filter %s update %s arrayFilters %s upsert %t", c.ID, c.Doc, c.Filter, mqltest.Canonical(c.Update), c.ArrayFilters, c.Upsert)
	}
	return fmt.Sprintf("%s %s %s", c.ID, c.Dataset, c.Pipeline)
}
