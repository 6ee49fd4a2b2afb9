package storage

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// What a real server answered, step by step.
func TestCreateIndexesAsRecorded(t *testing.T) {
	t.Parallel()
	e := open(t)
	events := Namespace{"transcript", "events"}
	c, err := e.Create(t.Context(), nil, events, CollectionOptions{})
	require.NoError(t, err)
	_, err = e.Create(t.Context(), nil, events, CollectionOptions{})
	requireCode(t, mongoerr.NamespaceExists, err)
	require.Equal(t, "Collection already exists. NS: transcript.events", mongoerr.From(err).Message)
	for _, step := range []struct {
		spec          string
		before, after int
		code          mongoerr.Code
		message       string
	}{
		{spec: `{"key":{"stream_id":1,"version":1},"name":"stream_version","unique":true}`, before: 1, after: 2},
		{spec: `{"key":{"stream_id":1,"version":1},"name":"stream_version","unique":true}`, before: 2, after: 2},
		{spec: `{"key":{"stream_id":1,"version":1},"name":"stream_version"}`, code: 85, message: "Index with name: stream_version already exists with different options"},
		{spec: `{"key":{"stream_id":1,"version":1},"name":"other_name","unique":true}`, code: 85, message: "Index with name: other_name already exists with a different name"},
		{spec: `{"key":{"position":1},"name":"stream_version"}`, code: 86, message: `Index must have unique name.The existing index: { v: 2, unique: true, key: { stream_id: 1, version: 1 }, name: "stream_version" } has the same name as the requested index: { v: 2, key: { position: 1 }, name: "stream_version" }`},
		{spec: `{"key":{"position":1},"name":"position"}`, before: 2, after: 3},
		{spec: `{"key":{"at":1},"name":"ttl","expireAfterSeconds":60}`, before: 3, after: 4},
		{spec: `{"key":{"a":1},"name":"partial","partialFilterExpression":{"a":{"$exists":true}},"sparse":false}`, before: 4, after: 5},
		{spec: `{"key":{"a":5},"name":"bad"}`, before: 5, after: 6},
		{spec: `{"key":{},"name":"empty"}`, code: 67, message: `Error in specification { key: {}, name: "empty" } :: caused by :: Index keys cannot be empty.`},
	} {
		before, after, err := c.CreateIndexes(t.Context(), nil, []bson.Raw{raw(t, step.spec)})
		if step.code != 0 {
			requireCode(t, step.code, err)
			require.Equal(t, step.message, mongoerr.From(err).Message)
			continue
		}
		require.NoError(t, err, step.spec)
		require.Equal(t, []int{step.before, step.after}, []int{before, after}, step.spec)
	}
	var listed []string
	for _, s := range c.Indexes() {
		listed = append(listed, ShellText(s))
	}
	require.Equal(t, []string{
		`{ v: 2, key: { _id: 1 }, name: "_id_" }`,
		`{ v: 2, unique: true, key: { stream_id: 1, version: 1 }, name: "stream_version" }`,
		`{ v: 2, key: { position: 1 }, name: "position" }`,
		`{ v: 2, key: { at: 1 }, name: "ttl", expireAfterSeconds: 60 }`,
		`{ v: 2, key: { a: 1 }, name: "partial", partialFilterExpression: { a: { $exists: true } }, sparse: false }`,
		`{ v: 2, key: { a: 5 }, name: "bad" }`,
	}, listed)

	drop := func(which bson.RawValue) (int, error) { return c.DropIndexes(t.Context(), which) }
	n, err := drop(value.String("ttl"))
	require.NoError(t, err)
	require.Equal(t, 6, n)
	_, err = drop(value.String("nope"))
	requireCode(t, 27, err)
	require.Equal(t, "index not found with name [nope]", mongoerr.From(err).Message)
	_, err = drop(value.String("_id_"))
	requireCode(t, 72, err)
	require.Equal(t, "cannot drop _id index", mongoerr.From(err).Message)
	_, err = drop(value.Doc(raw(t, `{"x":1}`)))
	requireCode(t, 27, err)
	_, err = drop(value.Doc(raw(t, `{"position":1}`)))
	require.NoError(t, err)
	n, err = drop(value.String("*"))
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Len(t, c.Indexes(), 1)
}

func TestIndexSpecsThatAreRefused(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e)
	for spec, code := range map[string]mongoerr.Code{
		`{"key":{"a":0},"name":"x"}`:                                                 67,
		`{"key":{"a":true},"name":"x"}`:                                              67,
		`{"key":{"a":"nope"},"name":"x"}`:                                            67,
		`{"key":{"a":""},"name":"x"}`:                                                67,
		`{"key":{"":1},"name":"x"}`:                                                  67,
		`{"key":{"a..b":1},"name":"x"}`:                                              67,
		`{"key":{"$a":1},"name":"x"}`:                                                67,
		`{"key":{"a":1},"name":""}`:                                                  67,
		`{"key":{"a":1,"b":1},"name":"x","expireAfterSeconds":1}`:                    67,
		`{"key":{"a":1},"name":"x","expireAfterSeconds":-1}`:                         67,
		`{"key":{"a":1},"name":"x","expireAfterSeconds":"1"}`:                        67,
		`{"key":{"a":1},"name":"x","sparse":true,"partialFilterExpression":{"a":1}}`: 67,
		`{"key":{"a":1},"name":"x","partialFilterExpression":{"a":{"$ne":1}}}`:       67,
		`{"key":{"a":1},"name":"x","partialFilterExpression":{"$or":[{"a":1}]}}`:     67,
		`{"key":{"a":1},"name":"x","partialFilterExpression":5}`:                     14,
		`{"key":{"a":1},"name":5}`:                                                   14,
		`{"key":5,"name":"x"}`:                                                       14,
		`{"name":"x"}`:                                                               9,
		`{"key":{"a":1},"name":"x","nope":1}`:                                        197,
		`{"key":{"a":"text"},"name":"x"}`:                                            mongoerr.CommandNotSupported,
		`{"key":{"a":"2dsphere"},"name":"x"}`:                                        mongoerr.CommandNotSupported,
		`{"key":{"$**":1},"name":"x"}`:                                               mongoerr.CommandNotSupported,
		`{"key":{"a":"hashed"},"name":"x","unique":true}`:                            16764,
		`{"key":{"_id":1},"name":"x","hidden":true}`:                                 197,
		`{"key":{"_id":1},"name":"x","sparse":true}`:                                 197,
		`{"key":{"_id":1},"name":"_id_","unique":true}`:                              197,
		`{"key":{"_id":-1},"name":"x"}`:                                              2,
		`{"key":{"a":1},"name":"_id_"}`:                                              2,
		`{"key":{"a":1},"name":"*"}`:                                                 2,
		`{"key":{"a":1},"name":"x","collation":{}}`:                                  2,
		`{"key":{"a":1},"name":"x","storageEngine":{}}`:                              67,
		`{"key":{"a":"hashed","b":"hashed"},"name":"x"}`:                             31303,
	} {
		_, _, err := c.CreateIndexes(t.Context(), nil, []bson.Raw{raw(t, spec)})
		require.Equal(t, code, mongoerr.CodeOf(err), "%s: %v", spec, err)
	}
	require.Len(t, c.Indexes(), 1)
}

func TestDuplicateKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spec    string
		have    []string
		doc     string
		message string
		value   string
	}{
		"_id":                 {doc: `{"_id":1}`, have: []string{`{"_id":1}`}, message: "_id_ dup key: { _id: 1 }", value: `{ _id: 1 }`},
		"compound":            {spec: `{"key":{"s":1,"v":-1},"name":"sv","unique":true}`, have: []string{`{"_id":1,"s":"a","v":{"$numberLong":"2"}}`}, doc: `{"_id":2,"s":"a","v":2}`, message: `sv dup key: { s: "a", v: 2 }`, value: `{ s: "a", v: 2 }`},
		"missing is null":     {spec: `{"key":{"k":1},"name":"k","unique":true}`, have: []string{`{"_id":1}`}, doc: `{"_id":2,"k":null}`, message: "k dup key: { k: null }", value: `{ k: null }`},
		"one of an array":     {spec: `{"key":{"k":1},"name":"k","unique":true}`, have: []string{`{"_id":1,"k":[1,2]}`}, doc: `{"_id":2,"k":[3,2]}`, message: "k dup key: { k: 2 }", value: `{ k: 2 }`},
		"within an array":     {spec: `{"key":{"a.b":1},"name":"ab","unique":true}`, have: []string{`{"_id":1,"a":[{"b":1},{"b":2}]}`}, doc: `{"_id":2,"a":{"b":1.0}}`, message: "ab dup key: { a.b: 1.0 }", value: `{ a.b: 1.0 }`},
		"partial":             {spec: `{"key":{"k":1},"name":"k","unique":true,"partialFilterExpression":{"on":true}}`, have: []string{`{"_id":1,"k":1}`, `{"_id":2,"k":1,"on":true}`, `{"_id":3,"k":1}`}, doc: `{"_id":4,"k":1,"on":true}`, message: "k dup key: { k: 1 }", value: `{ k: 1 }`},
		"sparse, all missing": {spec: `{"key":{"k":1},"name":"k","unique":true,"sparse":true}`, have: []string{`{"_id":1}`, `{"_id":2}`}, doc: `{"_id":3}`},
		"one array repeats":   {spec: `{"key":{"k":1},"name":"k","unique":true}`, doc: `{"_id":1,"k":[1,1,1]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := collection(t, open(t))
			if tc.spec != "" {
				index1(t, c, tc.spec)
			}
			for _, d := range tc.have {
				_, err := c.Insert(t.Context(), Write{}, raw(t, d))
				require.NoError(t, err)
			}
			stats := c.Stats()
			_, err := c.Insert(t.Context(), Write{}, raw(t, tc.doc))
			if tc.message == "" {
				require.NoError(t, err)
				return
			}
			requireCode(t, mongoerr.DuplicateKey, err)
			dup := mongoerr.From(err)
			require.Equal(t, "E11000 duplicate key error collection: test.c index: "+tc.message, dup.Message)
			require.Equal(t, "keyPattern", dup.Fields[0].Key)
			require.Equal(t, "keyValue", dup.Fields[1].Key)
			require.Equal(t, tc.value, ShellText(dup.Fields[1].Value.(bson.Raw)))
			require.Equal(t, stats, c.Stats(), "nothing is left of it")
		})
	}
}

func TestBuildingOverDuplicatesFails(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"k":1}`, `{"_id":2,"k":1}`, `{"_id":3,"k":[1,2],"l":[1]}`)
	_, _, err := c.CreateIndexes(t.Context(), nil, []bson.Raw{raw(t, `{"key":{"x":1},"name":"x"}`), raw(t, `{"key":{"k":1},"name":"k","unique":true}`)})
	requireCode(t, mongoerr.DuplicateKey, err)
	require.Regexp(t, `^Index build failed: [0-9a-f-]{36}: Collection test\.c \( [0-9a-f-]{36} \) :: caused by :: E11000 duplicate key error collection: test\.c index: k dup key: \{ k: 1 \}$`, mongoerr.From(err).Message)
	require.Len(t, c.Indexes(), 1, "all or none")
	_, _, err = c.CreateIndexes(t.Context(), nil, []bson.Raw{raw(t, `{"key":{"k":1,"l":1},"name":"kl"}`)})
	requireCode(t, 171, err)
}

func TestKeysOfDocuments(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ spec, doc, want string }{
		"plain":                 {`{"a":1}`, `{"a":5}`, "5"},
		"missing":               {`{"a":1}`, `{}`, "null"},
		"array":                 {`{"a":1}`, `{"a":[1,2]}`, "1 2"},
		"empty array":           {`{"a":1}`, `{"a":[]}`, "undefined"},
		"array in array":        {`{"a":1}`, `{"a":[[1,2],3]}`, "[ 1, 2 ] 3"},
		"dotted":                {`{"a.b":1}`, `{"a":{"b":1}}`, "1"},
		"dotted through scalar": {`{"a.b":1}`, `{"a":1}`, "null"},
		"through an array":      {`{"a.b":1}`, `{"a":[{"b":1},{"b":[2,3]},{},4]}`, "1 2 3 null"},
		"by position":           {`{"a.1":1}`, `{"a":[1,2]}`, "2"},
		"by position, beyond":   {`{"a.1.b":1}`, `{"a":[{"b":1},{"b":2}]}`, "2"},
		"empty array inside":    {`{"a.b":1}`, `{"a":[]}`, "null"},
		"compound":              {`{"a":1,"b":-1}`, `{"a":[1,2],"b":3}`, "1,3 2,3"},
		"same array":            {`{"a.b":1,"a.c":1}`, `{"a":[{"b":1,"c":2},{"b":3,"c":[4,5]}]}`, "1,2 3,4 3,5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := parseIndexSpec(value.With(raw(t, `{"name":"x"}`), "key", value.Doc(raw(t, tc.spec))), false)
			require.NoError(t, err)
			got := ""
			k := keys{want: func(vals []bson.RawValue) {
				if got != "" {
					got += " "
				}
				for i, v := range vals {
					if i > 0 {
						got += ","
					}
					if value.IsMissing(v) {
						v = value.Null()
					}
					got += shellValue(v)
				}
			}}
			require.NoError(t, s.extract(raw(t, tc.doc), &k))
			require.Equal(t, tc.want, got)
		})
	}
}

func TestSettingIndexProperties(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"k":1}`)
	index1(t, c, `{"key":{"k":1},"name":"k","expireAfterSeconds":60}`)
	n, yes, no := int64(5), true, false
	before, after, err := c.SetIndex(t.Context(), "k", nil, &n, nil)
	require.NoError(t, err)
	require.Equal(t, `{ v: 2, key: { k: 1 }, name: "k", expireAfterSeconds: 60 }`, ShellText(before))
	require.Equal(t, `{ v: 2, key: { k: 1 }, name: "k", expireAfterSeconds: 5 }`, ShellText(after))
	used := func() string {
		p, err := c.Plan(View{}, query(t, `{"k":1}`))
		require.NoError(t, err)
		return p.IndexName()
	}
	require.Equal(t, "k", used())
	cur, err := c.Find(t.Context(), View{}, query(t, `{"k":1}`))
	require.NoError(t, err)
	_, _, err = c.SetIndex(t.Context(), "", raw(t, `{"k":1}`), nil, &yes)
	require.NoError(t, err)
	require.Empty(t, used())
	_, _, err = cur.Next(t.Context())
	requireCode(t, mongoerr.QueryPlanKilled, err)
	_, err = c.Find(t.Context(), View{}, Query{Hint: Hint{Name: "k"}})
	requireCode(t, mongoerr.BadValue, err)
	_, _, err = c.SetIndex(t.Context(), "k", nil, nil, &no)
	require.NoError(t, err)
	require.Equal(t, "k", used())
	_, _, err = c.SetIndex(t.Context(), "nope", nil, nil, &no)
	requireCode(t, mongoerr.IndexNotFound, err)
	_, _, err = c.SetIndex(t.Context(), "_id_", nil, nil, &yes)
	requireCode(t, mongoerr.BadValue, err)
}
