package project_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/project"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t testing.TB, spec, filter string) (*project.Projection, error) {
	t.Helper()
	f, err := match.Parse(mqltest.Short(t, filter), &expr.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return project.Parse(mqltest.Short(t, spec), f, &expr.Env{})
}

func TestApply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec, filter, doc, want string
	}{
		{`{a: 1}`, `{}`, `{b: 1, a: 2, _id: 3}`, `{a: 2, _id: 3}`}, // the document's order
		{`{a: 1, _id: 0}`, `{}`, `{_id: 1, a: 2}`, `{a: 2}`},
		{`{a: 0}`, `{}`, `{_id: 1, a: 2, b: 3}`, `{_id: 1, b: 3}`},
		{`{a: 0, _id: 1}`, `{}`, `{_id: 1, a: 2, b: 3}`, `{_id: 1, b: 3}`},
		{`{_id: 0}`, `{}`, `{_id: 1, a: 2}`, `{a: 2}`},
		{`{_id: 1}`, `{}`, `{_id: 1, a: 2}`, `{_id: 1}`},
		{`{}`, `{}`, `{_id: 1, a: 2}`, `{_id: 1, a: 2}`},
		{`{"a.b": 1}`, `{}`, `{a: {b: 1, c: 2}}`, `{a: {b: 1}}`},
		{`{"a.b": 1}`, `{}`, `{a: 5}`, `{}`},
		{`{"a.b": 1}`, `{}`, `{a: [{b: 1, c: 1}, 5, [{b: 2, c: 2}], {c: 3}]}`, `{a: [{b: 1}, [{b: 2}], {}]}`},
		{`{"a.b": 0}`, `{}`, `{a: [{b: 1, c: 1}, 5, [{b: 2}]]}`, `{a: [{c: 1}, 5, [{}]]}`},
		{`{a: {b: 1, c: {d: 1}}}`, `{}`, `{a: {b: 1, c: {d: 2, e: 3}, f: 4}}`, `{a: {b: 1, c: {d: 2}}}`},
		{`{"a.b": 1, "a.c": 1}`, `{}`, `{a: {c: 1, b: 2, d: 3}}`, `{a: {c: 1, b: 2}}`},
		// expressions
		{`{x: "$a", y: {$add: ["$a", 1]}}`, `{}`, `{_id: 1, a: 2, y: 7}`, `{_id: 1, x: 2, y: 3}`},
		{`{x: "$nope"}`, `{}`, `{_id: 1}`, `{_id: 1}`},
		{`{a: 1, "b.c": {$literal: 5}}`, `{}`, `{_id: 1, a: 1, b: [1, {d: 1}]}`, `{_id: 1, a: 1, b: [{c: 5}, {c: 5}]}`},
		{`{x: "text", n: null}`, `{}`, `{_id: 1, x: 2}`, `{_id: 1, x: "text", n: null}`},
		// $slice
		{`{a: {$slice: 2}}`, `{}`, `{_id: 1, a: [1, 2, 3], b: 1}`, `{_id: 1, a: [1, 2], b: 1}`},
		{`{a: {$slice: -2}}`, `{}`, `{a: [1, 2, 3]}`, `{a: [2, 3]}`},
		{`{a: {$slice: [1, 5]}}`, `{}`, `{a: [1, 2, 3]}`, `{a: [2, 3]}`},
		{`{a: {$slice: [-5, 1]}}`, `{}`, `{a: [1, 2, 3]}`, `{a: [1]}`},
		{`{a: {$slice: 1}, b: 1}`, `{}`, `{_id: 1, a: [1, 2], b: 1, c: 1}`, `{_id: 1, a: [1], b: 1}`},
		{`{a: {$slice: 1}, _id: 1}`, `{}`, `{_id: 1, a: [1, 2], c: 1}`, `{_id: 1, a: [1]}`},
		{`{"a.b": {$slice: 1}}`, `{}`, `{a: [{b: [1, 2]}, 7, {b: 3}]}`, `{a: [{b: [1]}, 7, {b: 3}]}`},
		{`{a: {$slice: ["$a", 1]}}`, `{}`, `{_id: 1, a: [1, 2], b: 1}`, `{_id: 1, a: [1]}`}, // the expression
		// $elemMatch
		{`{a: {$elemMatch: {b: 2}}}`, `{}`, `{_id: 1, a: [{b: 1}, {b: 2, c: 1}, {b: 2}], d: 1}`, `{_id: 1, a: [{b: 2, c: 1}]}`},
		{`{a: {$elemMatch: {$gt: 1}}, d: 1}`, `{}`, `{_id: 1, a: [1, 2, 3], d: 1}`, `{_id: 1, d: 1, a: [2]}`},
		{`{a: {$elemMatch: {$gt: 5}}}`, `{}`, `{_id: 1, a: [1]}`, `{_id: 1}`},
		// positional
		{`{"a.$": 1}`, `{a: {$gt: 1}}`, `{_id: 1, a: [1, 2, 3], b: 1}`, `{_id: 1, a: [2]}`},
		{`{"a.$": 1, b: 1}`, `{"a.x": 2}`, `{_id: 1, a: [{x: 1}, {x: 2}], b: 1}`, `{_id: 1, a: [{x: 2}], b: 1}`},
		{`{"a.$": 1}`, `{a: 5}`, `{_id: 1, a: 5}`, `{_id: 1, a: 5}`}, // no array, nothing to do
		{`{"a.b.$": 1}`, `{"a.b": 2}`, `{_id: 1, a: {b: [1, 2]}}`, `{_id: 1, a: {b: [2]}}`},
	} {
		p, err := parse(t, c.spec, c.filter)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		got, err := p.Apply(mqltest.Short(t, c.doc))
		if err != nil {
			t.Errorf("%s on %s: %v", c.spec, c.doc, err)
			continue
		}
		want := mqltest.Canonical(value.Doc(mqltest.Short(t, c.want)))
		if text := mqltest.Canonical(value.Doc(got)); text != want {
			t.Errorf("%s on %s\n got  %s\n want %s", c.spec, c.doc, text, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]mongoerr.Code{
		`{a: 1, b: 0}`:                        31254,
		`{a: 0, b: 1}`:                        31253,
		`{a: 0, b: "$c"}`:                     31310,
		`{a: 0, b: {$add: [1, 2]}}`:           31252,
		`{a: 1, "a.b": 1}`:                    31249,
		`{"a.b": 1, a: 1}`:                    31250,
		`{"a.b": 1, a: {b: 1}}`:               31250,
		`{a: {}}`:                             51270,
		`{a: {$foo: 1}}`:                      31325,
		`{a: {$add: [1, 2], b: 1}}`:           16410,
		`{"": 1}`:                             40352,
		`{"a.": 1}`:                           40353,
		`{"a..b": 1}`:                         15998,
		`{"$a": 1}`:                           16410,
		`{"a.$": 0}`:                          31395,
		`{"a.$": "x"}`:                        31308,
		`{"a.$": {b: 1}}`:                     31271,
		`{"a.$.b": 1}`:                        31394,
		`{"a.$": 1, "b.$": 1}`:                31276,
		`{"a.$": 1, b: {$elemMatch: {c: 1}}}`: 31255,
		`{b: {$elemMatch: {c: 1}}, "a.$": 1}`: 31256,
		`{".$": 1}`:                           5392900,
		`{a: {$elemMatch: 1}}`:                31274,
		`{"a.b": {$elemMatch: {c: 1}}}`:       31275,
		`{a: {b: {$elemMatch: {c: 1}}}}`:      31275,
		`{a: {$elemMatch: {$expr: 1}}}`:       2,
		`{a: {$slice: "x"}}`:                  28667,
	} {
		_, err := parse(t, spec, `{x: 1}`)
		if got := mongoerr.CodeOf(err); got != want {
			t.Errorf("%s: %v, want code %d", spec, err, want)
		}
	}
	if _, err := project.Parse(mqltest.Short(t, `{"a.$": 1}`), nil, nil); mongoerr.CodeOf(err) != 51050 {
		t.Error(err)
	}
	p, err := parse(t, `{"a.$": 1}`, `{b: 1}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(mqltest.Short(t, `{a: [1], b: 1}`)); mongoerr.CodeOf(err) != 51246 {
		t.Error(err)
	}
	if p, err = parse(t, `{"a.$": 1}`, `{b: 1}`); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(mqltest.Short(t, `{a: [1], b: [0, 1]}`)); mongoerr.CodeOf(err) != 51247 {
		t.Error(err)
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(mqltest.Short(f, `{a: 1, "b.c": {$slice: [1, 2]}, d: {$elemMatch: {e: 1}}, x: {$add: ["$a", 1]}, y: {z: "$b"}}`)),
		[]byte(mqltest.Short(f, `{a: 1, b: [{c: [1, 2, 3]}], d: [{e: 1}], y: [1, {q: 1}]}`)))
	f.Fuzz(func(_ *testing.T, spec, doc []byte) {
		p, err := project.Parse(spec, nil, &expr.Env{})
		if err != nil {
			return
		}
		_, _ = p.Apply(doc)
	})
}

func BenchmarkApply(b *testing.B) {
	p, err := parse(b, `{a: 1, "b.c": 1}`, `{}`)
	if err != nil {
		b.Fatal(err)
	}
	doc := mqltest.Short(b, `{_id: 1, a: "text", b: {c: 1, d: 2}, e: [1, 2, 3]}`)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.Apply(doc)
	}
}
