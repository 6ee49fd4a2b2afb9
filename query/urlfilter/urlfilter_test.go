package urlfilter_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/urlfilter"
)

type status string

type order struct {
	ID       bson.ObjectID `bson:"_id"`
	Status   status        `bson:"status"`
	Total    int64         `bson:"total"`
	PlacedAt time.Time     `bson:"placed_at"`
	Paid     bool          `bson:"paid"`
	Tags     []string      `bson:"tags"`
	Customer struct {
		Name string `bson:"name"`
	} `bson:"customer"`
	Weight float64 `bson:"weight"`
}

func testSpec(t testing.TB) *urlfilter.Spec {
	spec, err := urlfilter.New(urlfilter.Config{
		Fields: []urlfilter.Field{
			urlfilter.ForString("status", query.StringFieldOf(func(o *order) *status { return &o.Status })).WithEnum("paid", "open", "a,b"),
			urlfilter.For("total", query.FieldOf(func(o *order) *int64 { return &o.Total })).AsSortable(),
			urlfilter.For("placed_at", query.FieldOf(func(o *order) *time.Time { return &o.PlacedAt })).AsSortable(),
			urlfilter.For("paid", query.FieldOf(func(o *order) *bool { return &o.Paid })),
			urlfilter.For("id", query.FieldOf(func(o *order) *bson.ObjectID { return &o.ID })),
			urlfilter.ForArray("tag", query.ArrayFieldOf(func(o *order) *[]string { return &o.Tags })),
			urlfilter.For("customer", query.FieldOf(func(o *order) *string { return &o.Customer.Name })).
				WithOps(urlfilter.Eq, urlfilter.Prefix, urlfilter.Suffix, urlfilter.Contains).AsSortable(),
			urlfilter.For("weight", query.FieldOf(func(o *order) *float64 { return &o.Weight })),
			{Name: "price", Type: urlfilter.Decimal},
			{Name: "ref", Type: urlfilter.UUID},
			{Name: "size", Parse: func(s string) (any, error) {
				if n, ok := map[string]int{"s": 1, "m": 2}[s]; ok {
					return n, nil
				}
				return nil, errors.New("want s or m")
			}},
		},
		DefaultSort: []query.SortKey{query.Desc("placed_at")},
		Ignore:      []string{"utm_source"},
	})
	require.NoError(t, err)
	return spec
}

func TestParse(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	for raw, want := range map[string]query.Filter{
		"":                                      query.Everything(),
		"status=paid":                           query.Eq("status", "paid"),
		"status[eq]=paid":                       query.Eq("status", "paid"),
		"status=paid&status=open":               query.In("status", "paid", "open"),
		"status[in]=paid,open":                  query.In("status", "paid", "open"),
		`status[in]=a\,b,open`:                  query.In("status", "a,b", "open"),
		"status[nin]=paid":                      query.Nin("status", "paid"),
		"status[ne]=paid":                       query.Ne("status", "paid"),
		"total[gte]=100&total[lt]=200":          query.Between("total", int64(100), int64(200)),
		"total[gt]=-1&total[lte]=5":             query.And(query.Gt("total", int64(-1)), query.Lte("total", int64(5))),
		"placed_at[gte]=2024-05-01":             query.Gte("placed_at", time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)),
		"placed_at=2024-05-01T12:00:00%2B02:00": query.Eq("placed_at", time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC)),
		"paid=true":                             query.Eq("paid", true),
		"paid[exists]=false":                    query.Missing("paid"),
		"paid[exists]=true":                     query.Exists("paid"),
		"id=507f1f77bcf86cd799439011":           query.Eq("_id", must(bson.ObjectIDFromHex("507f1f77bcf86cd799439011"))),
		"tag=gift":                              query.Eq("tags", "gift"),
		"customer[prefix]=A.":                   query.HasPrefix("customer.name", "A."),
		"customer[suffix]=$":                    query.HasSuffix("customer.name", "$"),
		"customer[contains]=(":                  query.Contains("customer.name", "("),
		"customer=$where":                       query.Eq("customer.name", "$where"),
		`customer={"$gt":""}`:                   query.Eq("customer.name", `{"$gt":""}`),
		"weight=1.5":                            query.Eq("weight", 1.5),
		"price=1.50":                            query.Eq("price", must(bson.ParseDecimal128("1.50"))),
		"size=m":                                query.Eq("size", 2),
		"utm_source=x":                          query.Everything(),
		"ref=0e3b9063-8abd-4eb3-9f9f-f4c59fd30a60": query.Eq("ref", bson.Binary{Subtype: 4, Data: []byte{
			0x0e, 0x3b, 0x90, 0x63, 0x8a, 0xbd, 0x4e, 0xb3, 0x9f, 0x9f, 0xf4, 0xc5, 0x9f, 0xd3, 0x0a, 0x60,
		}}),
	} {
		r, err := spec.ParseString(raw)
		require.NoError(t, err, raw)
		assert.Equal(t, want.String(), r.Filter.String(), raw)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestParsePaging(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	r, err := spec.ParseString("sort=-placed_at,total&limit=50&cursor=abc")
	require.NoError(t, err)
	assert.Equal(t, []query.SortKey{query.Desc("placed_at"), query.Asc("total")}, r.Sort)
	assert.Equal(t, 50, r.Limit)
	assert.Equal(t, "abc", r.Cursor)
	assert.Equal(t, 1, r.Page)

	r, err = spec.ParseString("page=7")
	require.NoError(t, err)
	assert.Equal(t, 7, r.Page)
	assert.Equal(t, query.DefaultPageSize, r.Limit)
	assert.Equal(t, []query.SortKey{query.Desc("placed_at")}, r.Sort)
}

func TestParseListsEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := testSpec(t).ParseString("status=gone&total[gte]=much&total[regex]=x&nope=1&$where=1&sort=status&limit=1000&page=0&paid=yes&weight=NaN&total[=1")
	var e *urlfilter.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, query.ErrInvalid)
	got := map[string]string{}
	for _, p := range e.Problems {
		got[p.Parameter] = p.Code
	}
	assert.Equal(t, map[string]string{
		"status": urlfilter.CodeValue, "total[gte]": urlfilter.CodeValue, "total[regex]": urlfilter.CodeOperator,
		"nope": urlfilter.CodeField, "$where": urlfilter.CodeField, "sort": urlfilter.CodeField, "limit": urlfilter.CodeValue,
		"page": urlfilter.CodeValue, "paid": urlfilter.CodeValue, "weight": urlfilter.CodeValue, "total[": urlfilter.CodeField,
	}, got)
	assert.Contains(t, err.Error(), "status: want one of: paid, open")
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	for _, raw := range []string{
		"limit=0", "limit=-1", "limit=1&limit=2", "page=1000001", "cursor=a&page=2", "sort=", "sort=total,total", "sort=-total,total",
		"sort=total,placed_at,customer,total", "total=", "total=1e3", "total=9223372036854775808", "weight=Infinity", "weight=0x1p-2",
		"id=xyz", "ref=0e3b9063", "price=NaN", "paid[exists]=1", "total[in]=1,x", "size=l", "customer=%ff", "customer=%00",
		"customer=" + strings.Repeat("x", 2000), "total[in]=" + strings.Repeat("1,", 200) + "1", strings.Repeat("total=1&", 60), "total[gt][lt]=1", "total]=1", "[eq]=1", "=1",
		"status[prefix]=pa", "placed_at=yesterday", "cursor=" + strings.Repeat("x", 9000), "a;b=%zz",
	} {
		_, err := spec.ParseString(raw)
		var e *urlfilter.Error
		require.ErrorAs(t, err, &e, raw)
	}
}

// Two names of one path are one sort key, and what came doesn't reach a log as it is.
func TestParseAliasesAndControlCharacters(t *testing.T) {
	t.Parallel()
	spec := urlfilter.MustNew(urlfilter.Config{
		Fields: []urlfilter.Field{{Name: "a", Path: "x", Type: urlfilter.Int, Sortable: true}, {Name: "b", Path: "x", Type: urlfilter.Int, Sortable: true}},
		Params: urlfilter.Params{Page: "-", Cursor: "-"},
	})
	_, err := spec.ParseString("sort=a,-b")
	require.ErrorContains(t, err, "given twice")
	_, err = spec.ParseString("a%00%0Alevel%3Derror=1")
	require.ErrorContains(t, err, "a??level=error: there is no such filter")
}

func TestProblemDetails(t *testing.T) {
	t.Parallel()
	_, err := testSpec(t).ParseString("total=x&nope=1")
	var e *urlfilter.Error
	require.ErrorAs(t, err, &e)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, nil)
	assert.Equal(t, http.StatusBadRequest, w.Code)
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	assert.JSONEq(t, `{"type":"about:blank","title":"Invalid query string","status":400,"detail":"2 parameters are wrong.","errors":[
		{"parameter":"nope","code":"unknown_field","detail":"there is no such filter; fields: status, total, placed_at, paid, id, tag, customer, weight, price, ref, size"},
		{"parameter":"total","code":"bad_value","detail":"want a whole number"}]}`, w.Body.String())
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	ok := urlfilter.Field{Name: "a", Type: urlfilter.String}
	for why, c := range map[string]urlfilter.Config{
		"no fields":       {},
		"bad name":        {Fields: []urlfilter.Field{{Name: "a b", Type: urlfilter.String}}},
		"bad path":        {Fields: []urlfilter.Field{{Name: "a", Path: "$a", Type: urlfilter.String}}},
		"no type":         {Fields: []urlfilter.Field{{Name: "a"}}},
		"twice":           {Fields: []urlfilter.Field{ok, ok}},
		"special":         {Fields: []urlfilter.Field{{Name: "sort", Type: urlfilter.String}}},
		"unknown op":      {Fields: []urlfilter.Field{ok.WithOps("regex")}},
		"op of strings":   {Fields: []urlfilter.Field{{Name: "n", Type: urlfilter.Int, Ops: []urlfilter.Op{urlfilter.Prefix}}}},
		"bad enum":        {Fields: []urlfilter.Field{{Name: "n", Type: urlfilter.Int, Enum: []string{"x"}}}},
		"bad limits":      {Fields: []urlfilter.Field{ok}, DefaultLimit: 50, MaxLimit: 10},
		"too high limit":  {Fields: []urlfilter.Field{ok}, MaxLimit: 1_000_000},
		"bad sort":        {Fields: []urlfilter.Field{ok}, DefaultSort: []query.SortKey{query.Asc("$x")}},
		"sort twice":      {Fields: []urlfilter.Field{ok}, DefaultSort: []query.SortKey{query.Asc("x"), query.Desc("x")}},
		"params alike":    {Fields: []urlfilter.Field{ok}, Params: urlfilter.Params{Sort: "limit"}},
		"param ignored":   {Fields: []urlfilter.Field{ok}, Ignore: []string{"page"}},
		"broken selector": {Fields: []urlfilter.Field{urlfilter.For("x", query.FieldOf(func(*order) *string { return new(string) }))}},
	} {
		_, err := urlfilter.New(c)
		require.Error(t, err, why)
	}
	assert.Panics(t, func() { urlfilter.MustNew(urlfilter.Config{}) })
}

// FuzzParse: whatever comes in, the filter builds, names only allowed paths and has only operators of this package.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"status=paid&total[gte]=100&sort=-placed_at", "total[$gt]=1", "status[$ne]=x", "customer[contains]=.*", "status[in]=a,b\\,c",
		"sort=-,&limit=9999999999999999999", "placed_at[lt]=2024-02-30", "customer[prefix]=%5E%28", "[a]=b", "total[]=1", "a=%",
	} {
		f.Add(s)
	}
	spec := testSpec(f)
	allowed := map[string]bool{
		"status": true, "total": true, "placed_at": true, "paid": true, "_id": true, "tags": true, "customer.name": true,
		"weight": true, "price": true, "ref": true, "size": true,
	}
	operators := map[string]bool{
		"$eq": true, "$ne": true, "$gt": true, "$gte": true, "$lt": true, "$lte": true, "$in": true, "$nin": true, "$exists": true, "$regex": true, "$and": true,
	}
	var check func(t *testing.T, d bson.D)
	check = func(t *testing.T, d bson.D) {
		for _, e := range d {
			if e.Key == "$and" {
				for _, part := range e.Value.(bson.A) {
					check(t, part.(bson.D))
				}
				continue
			}
			require.True(t, allowed[e.Key], "field %q", e.Key)
			if ops, ok := e.Value.(bson.D); ok {
				for _, op := range ops {
					require.True(t, operators[op.Key], "operator %q", op.Key)
					_, nested := op.Value.(bson.D)
					require.False(t, nested)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := spec.ParseString(raw)
		if err != nil {
			var e *urlfilter.Error
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Problems)
			_, err := json.Marshal(e)
			require.NoError(t, err)
			return
		}
		d, err := r.Filter.Build()
		require.NoError(t, err)
		check(t, d)
		require.Positive(t, r.Limit)
		for _, k := range r.Sort {
			require.True(t, allowed[k.Path()])
		}
	})
}
