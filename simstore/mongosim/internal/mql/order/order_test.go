package order_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t testing.TB, spec string) *order.Order {
	t.Helper()
	o, err := order.Parse(mqltest.Short(t, spec))
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return o
}

// TestSort gives documents in the order in which they must come out.
func TestSort(t *testing.T) {
	t.Parallel()
	for spec, docs := range map[string][]string{
		`{a: 1}`: {
			`{a: {$minKey: 1}}`, `{a: []}`, `{b: 1}`, `{a: {$numberDouble: "NaN"}}`, `{a: [9, -1]}`, `{a: 1.5}`,
			`{a: {$numberDecimal: "1.6"}}`, `{a: "x"}`, `{a: {x: 1}}`, `{a: [[1]]}`, `{a: true}`, `{a: {$maxKey: 1}}`,
		},
		`{a: -1}`:              {`{a: "x"}`, `{a: [9, -1]}`, `{a: 5}`, `{a: [2, null]}`, `{a: null}`, `{a: []}`},
		`{"a.b": 1}`:           {`{a: [{b: 3}, {b: 0}]}`, `{a: {b: 1}}`, `{a: [{b: [2, 7]}]}`, `{a: {b: 3}}`},
		`{"a.b": -1}`:          {`{a: [{b: 3}, {b: 0}]}`, `{a: {b: 1}}`, `{a: [1]}`},
		`{"a.0": 1}`:           {`{a: [1, 9]}`, `{a: {"0": 2}}`, `{a: [3, 0]}`, `{a: [[4, 5], 0]}`},
		`{"a.0.b": 1}`:         {`{a: [{b: 1}, {b: 9}]}`, `{a: [{b: 2}, {b: 0}]}`},
		`{a: 1, b: -1}`:        {`{a: 1, b: 2}`, `{a: [1, 3], b: 1}`, `{a: 1}`, `{a: 2, b: 9}`},
		`{"a.b": 1, "a.c": 1}`: {`{a: [{b: 1, c: 5}, {b: 2, c: 1}]}`, `{a: [{b: 1, c: 6}]}`, `{a: {b: 2, c: 0}}`},
	} {
		want := make([]bson.Raw, len(docs))
		for i, d := range docs {
			want[i] = mqltest.Short(t, d)
		}
		got := make([]bson.Raw, len(want))
		for i := range want {
			got[i] = want[len(want)-1-i]
		}
		if err := parse(t, spec).Sort(got); err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if diff := cmp.Diff(texts(want), texts(got)); diff != "" {
			t.Errorf("%s:\n%s", spec, diff)
		}
	}
}

func texts(docs []bson.Raw) []string {
	out := make([]string, len(docs))
	for i, d := range docs {
		out[i] = d.String()
	}
	return out
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]mongoerr.Code{
		`{a: "x"}`:                         15974,
		`{a: null}`:                        15974,
		`{a: 0}`:                           15975,
		`{a: 2}`:                           15975,
		`{a: {b: 1}}`:                      17312,
		`{a: {$meta: "x"}}`:                31138,
		`{a: {$meta: "textScore"}}`:        40218,
		`{"": 1}`:                          40352,
		`{"a.": 1}`:                        40353,
		`{"a..b": 1}`:                      15998,
		`{"$a": 1}`:                        16410,
		`{$natural: 1, a: 1}`:              2,
		`{$natural: 2}`:                    2,
		`{a: 1.9, b: {$numberLong: "-1"}}`: 0, // cut off
		`{$natural: -1}`:                   0,
		`{a: {$meta: "randVal"}}`:          0,
	} {
		_, err := order.Parse(mqltest.Short(t, spec))
		if got := mongoerr.CodeOf(err); got != want {
			t.Errorf("%s: %v, want code %d", spec, err, want)
		}
	}
}

func TestParallelArrays(t *testing.T) {
	t.Parallel()
	_, err := parse(t, `{a: 1, b: 1}`).AppendKey(nil, mqltest.Short(t, `{a: [1], b: [2]}`))
	if mongoerr.CodeOf(err) != mongoerr.BadValue {
		t.Error(err)
	}
	_, err = parse(t, `{"a.0": 1}`).AppendKey(nil, mqltest.Short(t, `{a: [{"0": 1}]}`))
	if mongoerr.CodeOf(err) != 16746 {
		t.Error(err)
	}
}

func TestSorterKeepsTheFirst(t *testing.T) {
	t.Parallel()
	o := parse(t, `{a: 1}`)
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.SliceOf(rapid.Int32Range(-5, 5)).Draw(t, "values")
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		all, top := order.NewSorter(o, 0), order.NewSorter(o, limit)
		for i, n := range ns {
			var d value.Object
			d.Add("a", value.Int32(n))
			d.Add("i", value.Int(int64(i)))
			doc := d.Doc()
			if all.Add(doc) != nil || top.Add(doc) != nil {
				t.Fatal("refused")
			}
		}
		want := all.Docs()
		want = want[:min(limit, len(want))]
		if diff := cmp.Diff(texts(want), texts(top.Docs())); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestKeysAgreeWithCompare checks that a single field sorts as its values
// compare.
func TestKeysAgreeWithCompare(t *testing.T) {
	t.Parallel()
	o, desc := parse(t, `{a: 1}`), parse(t, `{a: -1}`)
	docs := mqltest.Datasets(t)["mixed"]
	for _, a := range docs {
		for _, b := range docs {
			va, vb := value.Field(a, "a"), value.Field(b, "a")
			if value.IsArray(va) || value.IsArray(vb) {
				continue
			}
			if va.Type == 0 {
				va = value.Null()
			}
			if vb.Type == 0 {
				vb = value.Null()
			}
			want := sign(value.Compare(va, vb))
			if got := sign(o.Compare(a, b)); got != want {
				t.Errorf("%v %v: %d, want %d", va, vb, got, want)
			}
			if got := sign(desc.Compare(b, a)); got != want {
				t.Errorf("descending %v %v: %d, want %d", va, vb, got, want)
			}
		}
	}
}

func sign(n int) int {
	return bytes.Compare([]byte{byte(128 + max(-1, min(1, n)))}, []byte{128})
}

func FuzzAppendKey(f *testing.F) {
	f.Add([]byte(mqltest.Short(f, `{"a.0.b": 1, "a.c": -1}`)), []byte(mqltest.Short(f, `{a: [[{b: 1}], {c: [1, 2]}]}`)))
	f.Fuzz(func(_ *testing.T, spec, doc []byte) {
		o, err := order.Parse(spec)
		if err != nil {
			return
		}
		_, _ = o.AppendKey(nil, doc)
	})
}

func BenchmarkAppendKey(b *testing.B) {
	o := parse(b, `{"a.b": 1, n: -1}`)
	doc := mqltest.Short(b, `{_id: 1, a: {b: "text"}, n: 12, c: [1, 2, 3]}`)
	var key []byte
	b.ReportAllocs()
	for b.Loop() {
		key, _ = o.AppendKey(key[:0], doc)
	}
}
