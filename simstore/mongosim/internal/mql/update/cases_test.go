package update_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/update"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// TestRecordedUpdates carries out every recorded update on the collection of
// its one document. The number that must agree only ever goes up.
func TestRecordedUpdates(t *testing.T) {
	t.Parallel()
	const reached = 900
	same := 0
	for _, c := range mqltest.Cases(t, "update") {
		got, n, nMod, err := perform(c)
		code := int32(mongoerr.CodeOf(err))
		switch {
		case err != nil && c.Error != nil && code == c.Error.Code:
			same++
			continue
		case err == nil && c.Error == nil && n == c.N && nMod == c.NMod && agree(c, got):
			same++
			continue
		}
		t.Logf("%s doc %v filter %v update %v\n want %d %d %v %v\n got  %d %d %v %v",
			c.ID, c.Doc, c.Filter, c.Update, c.N, c.NMod, c.Want, c.Error, n, nMod, got, err)
	}
	t.Logf("%d agree", same)
	if same < reached {
		t.Errorf("%d updates carried out as recorded, reached before: %d", same, reached)
	}
}

func emptyDoc() bson.Raw { return bson.Raw{5, 0, 0, 0, 0} }

// perform does what the update command does with a collection of one document.
func perform(c mqltest.Case) (doc bson.Raw, n, nMod int32, err error) {
	env := &expr.Env{}
	u, err := update.Parse(c.Update, update.Options{ArrayFilters: c.ArrayFilters, Env: env})
	if err != nil {
		return nil, 0, 0, err
	}
	filter := c.Filter
	if filter == nil {
		filter = emptyDoc()
	}
	f, err := match.Parse(filter, env)
	if err != nil {
		return nil, 0, 0, err
	}
	doc = c.Doc
	if doc != nil {
		ok, index, err := f.MatchPosition(doc)
		if err != nil {
			return nil, 0, 0, err
		}
		if ok {
			r, err := u.Apply(doc, index)
			if err != nil {
				return nil, 0, 0, err
			}
			if r.Changed {
				nMod = 1
			}
			return r.Doc, 1, nMod, nil
		}
	}
	if !c.Upsert {
		return doc, 0, 0, nil
	}
	made, err := u.Upsert(f)
	if err != nil {
		return nil, 0, 0, err
	}
	return made, 1, 0, nil
}

// agree compares documents; generated ids and the present time can't be the
// same.
func agree(c mqltest.Case, got bson.Raw) bool {
	if got == nil {
		return len(c.Want) == 0
	}
	if len(c.Want) != 1 {
		return false
	}
	want := bson.Raw(c.Want[0].Value)
	a, b := mqltest.Canonical(value.Doc(want)), mqltest.Canonical(value.Doc(got))
	return a == b
}
