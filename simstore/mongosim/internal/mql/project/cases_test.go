package project_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/project"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// TestRecordedFinds asks every recorded find. The number that must agree only
// ever goes up.
func TestRecordedFinds(t *testing.T) {
	t.Parallel()
	const reached = 350
	sets := mqltest.Datasets(t)
	same := 0
	for _, c := range mqltest.Cases(t, "find") {
		docs, err := find(c, sets[c.Dataset])
		code := int32(mongoerr.CodeOf(err))
		switch {
		case err != nil && c.Error != nil && code == c.Error.Code:
			same++
			continue
		case err == nil && c.Error == nil && agree(docs, c.Want):
			same++
			continue
		}
		t.Logf("%s %v sort %v projection %v skip %d limit %d\n want %v %v\n got  %v %v",
			c.ID, c.Filter, c.Sort, c.Projection, c.Skip, c.Limit, c.Want, c.Error, docs, err)
	}
	t.Logf("%d agree", same)
	if same < reached {
		t.Errorf("%d finds answered as recorded, reached before: %d", same, reached)
	}
}

func find(c mqltest.Case, docs []bson.Raw) ([]bson.Raw, error) {
	env := &expr.Env{}
	if c.Filter == nil {
		c.Filter = bson.Raw{5, 0, 0, 0, 0}
	}
	f, err := match.Parse(c.Filter, env)
	if err != nil {
		return nil, err
	}
	var p *project.Projection
	if len(c.Projection) > 5 {
		if p, err = project.Parse(c.Projection, f, env); err != nil {
			return nil, err
		}
	}
	o, err := order.Parse(c.Sort)
	if err != nil {
		return nil, err
	}
	s := order.NewSorter(o, 0)
	if c.Limit > 0 {
		s = order.NewSorter(o, int(c.Skip+c.Limit))
	}
	for _, d := range docs {
		ok, err := f.Match(d)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if err := s.Add(d); err != nil {
			return nil, err
		}
	}
	out := s.Docs()
	out = out[min(int(c.Skip), len(out)):]
	if p == nil {
		return out, nil
	}
	for i := range out {
		if out[i], err = p.Apply(out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func agree(got []bson.Raw, want []bson.RawValue) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if mqltest.Canonical(value.Doc(got[i])) != mqltest.Canonical(want[i]) {
			return false
		}
	}
	return true
}
