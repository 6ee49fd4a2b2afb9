package pipeline_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A memory is a host whose collections are slices.
type memory map[string][]bson.Raw

func (m memory) Scan(_ context.Context, ns pipeline.Namespace, f *match.Filter) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		for _, doc := range m[ns.Coll] {
			if f != nil {
				ok, err := f.Match(doc)
				if err != nil {
					yield(nil, err)
					return
				}
				if !ok {
					continue
				}
			}
			if !yield(doc, nil) {
				return
			}
		}
	}
}

func (m memory) CollStats(_ context.Context, ns pipeline.Namespace, _ bson.Raw) (bson.Raw, error) {
	return bson.Marshal(bson.D{{Key: "ns", Value: ns.String()}})
}

func (m memory) IndexStats(context.Context, pipeline.Namespace) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		doc, err := bson.Marshal(bson.D{{Key: "name", Value: "_id_"}})
		yield(doc, err)
	}
}

func (m memory) Exists(_ context.Context, ns pipeline.Namespace) (bool, error) {
	_, ok := m[ns.Coll]
	return ok, nil
}

func (m memory) UniqueOn(_ context.Context, _ pipeline.Namespace, fields []string) (bool, error) {
	return slices.Equal(fields, []string{"sku"}), nil
}

func (m memory) Replace(_ context.Context, ns pipeline.Namespace, docs iter.Seq2[bson.Raw, error]) error {
	var all []bson.Raw
	for doc, err := range docs {
		if err != nil {
			return err
		}
		all = append(all, doc)
	}
	m[ns.Coll] = all
	return nil
}

func (m memory) Insert(_ context.Context, ns pipeline.Namespace, doc bson.Raw) error {
	for _, old := range m[ns.Coll] {
		if value.Equal(value.Field(old, "_id"), value.Field(doc, "_id")) {
			return mongoerr.New(mongoerr.DuplicateKey, "duplicate key")
		}
	}
	m[ns.Coll] = append(m[ns.Coll], doc)
	return nil
}

// Update understands replacements, $set and $setOnInsert.
func (m memory) Update(_ context.Context, ns pipeline.Namespace, u pipeline.Update) (int, error) {
	f, err := match.Parse(u.Filter, &expr.Env{})
	if err != nil {
		return 0, err
	}
	for i, doc := range m[ns.Coll] {
		if ok, _ := f.Match(doc); !ok {
			continue
		}
		switch change := u.Change.Document(); {
		case value.Field(change, "$set").Type != 0:
			for k, v := range value.Fields(value.Field(change, "$set").Value) {
				m[ns.Coll][i] = value.With(m[ns.Coll][i], k, v)
			}
		case value.Field(change, "$setOnInsert").Type == 0:
			m[ns.Coll][i] = change
		}
		return 1, nil
	}
	if u.Upsert {
		change := u.Change.Document()
		for _, operator := range []string{"$set", "$setOnInsert"} {
			if v := value.Field(change, operator); v.Type != 0 {
				change = v.Value
			}
		}
		m[ns.Coll] = append(m[ns.Coll], change)
	}
	return 0, nil
}

// TestRecordedExpressions and TestRecordedPipelines ask every recorded case.
// The numbers that must agree only ever go up.
func TestRecordedExpressions(t *testing.T) {
	t.Parallel()
	recorded(t, "expr", 1806)
}

func TestRecordedPipelines(t *testing.T) {
	t.Parallel()
	recorded(t, "pipeline", 344)
}

func recorded(t *testing.T, group string, reached int) {
	sets := mqltest.Datasets(t)
	same, total := 0, 0
	for _, c := range mqltest.Cases(t, group) {
		total++
		docs, err := ask(memory(sets), "cases", c.Dataset, c.Pipeline, &expr.Env{})
		switch {
		case err != nil && c.Error != nil && int32(mongoerr.CodeOf(err)) == c.Error.Code && mongoerr.CodeOf(err).Name() == c.Error.Name:
			same++
			continue
		case err == nil && c.Error == nil && agree(docs, c.Want, c.Unordered):
			same++
			continue
		}
		if total-same < 60 {
			t.Logf("%s %v\n want %v %v\n got  %v %v", c.ID, c.Pipeline, c.Want, c.Error, docs, err)
		}
	}
	t.Logf("%d of %d agree", same, total)
	if same < reached {
		t.Errorf("%d of %d answered as recorded, reached before: %d", same, total, reached)
	}
}

func ask(host memory, db, coll string, stages []bson.Raw, env *expr.Env) ([]bson.Raw, error) {
	ns := pipeline.Namespace{DB: db, Coll: coll}
	p, err := pipeline.Parse(stages, ns, env)
	if err != nil {
		return nil, err
	}
	source := host.Scan(context.Background(), ns, nil)
	var out []bson.Raw
	for doc, err := range p.Run(context.Background(), host, source) {
		if err != nil {
			return nil, err
		}
		out = append(out, doc)
	}
	return out, nil
}

func agree(got []bson.Raw, want []bson.RawValue, unordered bool) bool {
	if len(got) != len(want) {
		return false
	}
	var g, w []string
	for i := range want {
		g = append(g, mqltest.Canonical(value.Doc(got[i])))
		w = append(w, mqltest.Canonical(want[i]))
	}
	if unordered {
		slices.Sort(g)
		slices.Sort(w)
	}
	return strings.Join(g, "\n") == strings.Join(w, "\n")
}
