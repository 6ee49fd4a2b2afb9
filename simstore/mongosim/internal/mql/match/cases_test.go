package match_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// TestRecordedFilters asks every recorded filter. The number that must agree
// only ever goes up.
func TestRecordedFilters(t *testing.T) {
	t.Parallel()
	const reached = 1646
	sets := mqltest.Datasets(t)
	same := 0
	for _, c := range mqltest.Cases(t, "filter") {
		ids, err := ask(c.Filter, sets[c.Dataset])
		code := int32(mongoerr.CodeOf(err))
		switch {
		case err != nil && c.Error != nil && code == c.Error.Code:
			same++
			continue
		case err == nil && c.Error == nil && equal(ids, c.Want):
			same++
			continue
		}
		t.Logf("%s %v\n want %v %v\n got  %v %v", c.ID, c.Filter, c.Want, c.Error, ids, err)
	}
	t.Logf("%d agree", same)
	if same < reached {
		t.Errorf("%d filters answered as recorded, reached before: %d", same, reached)
	}
}

func ask(filter bson.Raw, docs []bson.Raw) (ids []bson.RawValue, err error) {
	f, err := match.Parse(filter, &expr.Env{})
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		ok, err := f.Match(d)
		if err != nil {
			return nil, err
		}
		if ok {
			ids = append(ids, value.Field(d, "_id"))
		}
	}
	return ids, nil
}

func equal(a, b []bson.RawValue) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}
