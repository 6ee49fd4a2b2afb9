package pipeline

import (
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// bucketAutoStage is $bucketAuto.
type bucketAutoStage struct {
	by      *expr.Expr
	n       int
	rounder *rounder
	fields  []statement
}

func parseBucketAuto(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40240, "The argument to $bucketAuto must be an object, but found type: %s", value.TypeName(arg.Type))
	}
	b := &bucketAutoStage{}
	hasN := false
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "groupBy":
			if !hasOperator(v) && (v.Type != bson.TypeString || !strings.HasPrefix(value.AsString(v), "$")) {
				return nil, fail(40239, "The $bucketAuto 'groupBy' field must be defined as a $-prefixed path or an expression object, but found: %s", expr.Show(v))
			}
			b.by, err = expr.ParseLazily(v, p.env)
		case "buckets":
			if !value.IsNumber(v) {
				return nil, fail(40241, "The $bucketAuto 'buckets' field must be a numeric value, but found type: %s", value.TypeName(v.Type))
			}
			n, ok := value.Int32Exact(v)
			if !ok {
				return nil, fail(40242, "The $bucketAuto 'buckets' field must be representable as a 32-bit integer, but found %s", expr.Show(v))
			}
			b.n, hasN = int(n), true
		case "output":
			if v.Type != bson.TypeEmbeddedDocument {
				return nil, fail(40244, "The $bucketAuto 'output' field must be an object, but found type: %s", value.TypeName(v.Type))
			}
			for name, e := range value.Fields(v.Value) {
				s, err := parseStatement(p, name, e)
				if err != nil {
					return nil, err
				}
				b.fields = append(b.fields, s)
			}
		case "granularity":
			if v.Type != bson.TypeString {
				return nil, fail(40261, "The $bucketAuto 'granularity' field must be a string, but found type: %s", value.TypeName(v.Type))
			}
			b.rounder, err = newRounder(value.AsString(v))
		default:
			return nil, fail(40245, "Unrecognized option to $bucketAuto: %s", k)
		}
		if err != nil {
			return nil, err
		}
	}
	if b.by == nil || !hasN {
		return nil, fail(40246, "$bucketAuto requires 'groupBy' and 'buckets' to be specified")
	}
	if b.n <= 0 {
		return nil, fail(40243, "The $bucketAuto 'buckets' field must be greater than 0, but found: %d", b.n)
	}
	if len(b.fields) == 0 {
		s, err := parseStatement(p, "count", object("$sum", value.Int32(1)))
		if err != nil {
			return nil, err
		}
		b.fields = []statement{s}
	}
	return []stage{b}, nil
}

func (b *bucketAutoStage) fold() error {
	if err := b.by.Fold(); err != nil {
		return err
	}
	return foldStatements(b.fields)
}

type keyed struct {
	key bson.RawValue
	doc bson.Raw
}

type bucket struct {
	min, max bson.RawValue
	states   []accumulation
}

func (b *bucketAutoStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		var items []keyed
		bucketed := after(in, func(doc bson.Raw) error {
			key, err := b.key(doc, r.vars)
			items = append(items, keyed{key, doc})
			return err
		}, func(emit func(bson.Raw) bool) error {
			slices.SortStableFunc(items, func(x, y keyed) int { return value.Compare(x.key, y.key) })
			buckets, err := b.fill(items, r.vars)
			if err != nil {
				return err
			}
			for _, at := range buckets {
				o := value.NewObject(128)
				o.Add("_id", object("min", at.min, "max", at.max))
				addResults(o, b.fields, at.states)
				if !emit(o.Doc()) {
					return nil
				}
			}
			return nil
		})
		bucketed(yield)
	}
}

func (b *bucketAutoStage) key(doc bson.Raw, vars expr.Vars) (bson.RawValue, error) {
	v, err := b.by.Eval(doc, vars)
	if err != nil {
		return v, err
	}
	if b.rounder != nil {
		if !value.IsNumber(v) {
			return v, fail(40258, "$bucketAuto can specify a 'granularity' with numeric boundaries only, but found a value with type: %s", value.TypeName(v.Type))
		}
		f := value.ToDouble(v)
		if math.IsNaN(f) {
			return v, fail(40259, "$bucketAuto can specify a 'granularity' with numeric boundaries only, but found a NaN")
		}
		if f < 0 {
			return v, fail(40260, "$bucketAuto can specify a 'granularity' with non-negative numbers only, but found a negative number")
		}
	}
	if v.Type == 0 {
		v = value.Null()
	}
	return v, nil
}

// fill distributes the sorted documents: about as many into each bucket, all
// with the same key into the same.
func (b *bucketAutoStage) fill(items []keyed, vars expr.Vars) ([]*bucket, error) {
	size := max(int(math.Round(float64(len(items))/float64(b.n))), 1)
	var out []*bucket
	for len(items) > 0 && len(out) < b.n {
		states, err := startStatements(b.fields, bson.RawValue{}, vars)
		if err != nil {
			return nil, err
		}
		at := &bucket{min: items[0].key, states: states}
		take := func() error {
			at.max = items[0].key
			err := addToStatements(states, items[0].doc, vars)
			items = items[1:]
			return err
		}
		last := len(out) == b.n-1
		for n := 0; len(items) > 0 && (last || n < size); n++ {
			if err := take(); err != nil {
				return nil, err
			}
		}
		if err := b.absorb(at, &items, take); err != nil {
			return nil, err
		}
		out = b.append(out, at)
	}
	if len(out) > 0 && b.rounder != nil {
		first, last := out[0], out[len(out)-1]
		first.min, last.max = b.rounder.down(first.min), b.rounder.up(last.max)
	}
	return out, nil
}

// absorb takes what belongs into a bucket although that is full.
func (b *bucketAutoStage) absorb(at *bucket, items *[]keyed, take func() error) error {
	bound := at.max
	if b.rounder != nil {
		bound = b.rounder.up(at.max)
	}
	for len(*items) > 0 {
		c := value.Compare(bound, (*items)[0].key)
		if b.rounder == nil && c != 0 || b.rounder != nil && c <= 0 {
			break
		}
		if err := take(); err != nil {
			return err
		}
	}
	if b.rounder != nil && len(*items) > 0 {
		at.max = bound
	}
	return nil
}

// append lets a bucket begin where the one before it ends.
func (b *bucketAutoStage) append(out []*bucket, at *bucket) []*bucket {
	if len(out) > 0 {
		before := out[len(out)-1]
		if b.rounder == nil {
			before.max = at.min
		} else {
			if value.ToDouble(before.max) == 0 {
				before.max = b.rounder.down(at.min)
			}
			at.min = before.max
		}
	}
	return append(out, at)
}
