package pipeline

import (
	"math"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// limitStage is $limit.
type limitStage struct {
	plain
	n int64
}

func parseLimit(_ *parser, arg bson.RawValue) ([]stage, error) {
	if !value.IsNumber(arg) {
		return nil, fail(15957, "the limit must be specified as a number")
	}
	n := value.ClampInt64(arg)
	if n <= 0 {
		return nil, fail(15958, "the limit must be positive")
	}
	return []stage{&limitStage{n: n}}, nil
}

func (l *limitStage) run(_ *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		left := l.n
		for doc, err := range in {
			left--
			if !yield(doc, err) || err != nil || left <= 0 {
				return
			}
		}
	}
}

// skipStage is $skip.
type skipStage struct {
	plain
	n int64
}

func parseSkip(_ *parser, arg bson.RawValue) ([]stage, error) {
	if !value.IsNumber(arg) {
		return nil, fail(15972, "Argument to $skip must be a number not a %s", value.TypeName(arg.Type))
	}
	n := value.ClampInt64(arg)
	if n < 0 {
		return nil, fail(15956, "Argument to $skip cannot be negative")
	}
	return []stage{&skipStage{n: n}}, nil
}

func (s *skipStage) run(_ *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		left := s.n
		for doc, err := range in {
			if left > 0 && err == nil {
				left--
				continue
			}
			if !yield(doc, err) || err != nil {
				return
			}
		}
	}
}

// sortStage is $sort. limit is how many documents what follows will take, 0
// if that isn't known.
type sortStage struct {
	plain
	order *order.Order
	limit int64
}

func parseSort(_ *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(15973, "the $sort key specification must be an object")
	}
	if value.IsEmpty(arg.Value) {
		return nil, fail(15976, "$sort stage must have at least one sort key")
	}
	o, err := order.Parse(arg.Value)
	if err != nil {
		return nil, err
	}
	return []stage{&sortStage{order: o}}, nil
}

func (s *sortStage) run(_ *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		limit := s.limit
		if limit > math.MaxInt32 {
			limit = 0
		}
		sorter := order.NewSorter(s.order, int(limit))
		sorted := after(in, sorter.Add, func(emit func(bson.Raw) bool) error {
			for _, doc := range sorter.Docs() {
				if !emit(doc) {
					return nil
				}
			}
			return nil
		})
		sorted(yield)
	}
}

// sampleStage is $sample.
type sampleStage struct {
	plain
	n int64
}

func parseSample(_ *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(28745, "the $sample stage specification must be an object")
	}
	s := &sampleStage{n: -1}
	for k, v := range value.Fields(arg.Value) {
		if k != "size" {
			return nil, fail(28748, "unrecognized option to $sample: %s", k)
		}
		if !value.IsNumber(v) {
			return nil, fail(28746, "size argument to $sample must be a number")
		}
		if s.n = value.ClampInt64(v); s.n < 0 {
			return nil, fail(28747, "size argument to $sample must not be negative")
		}
	}
	if s.n < 0 {
		return nil, fail(28749, "$sample stage must specify a size")
	}
	return []stage{s}, nil
}

// run keeps a reservoir, which it shuffles in the end.
func (s *sampleStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		if s.n == 0 {
			return
		}
		var kept []bson.Raw
		seen := int64(0)
		sampled := after(in, func(doc bson.Raw) error {
			seen++
			if int64(len(kept)) < s.n {
				kept = append(kept, doc)
			} else if at := int64(r.env.Random() * float64(seen)); at < s.n {
				kept[at] = doc
			}
			return nil
		}, func(emit func(bson.Raw) bool) error {
			for i := len(kept) - 1; i >= 0; i-- {
				j := int(r.env.Random() * float64(i+1))
				kept[i], kept[j] = kept[j], kept[i]
				if !emit(kept[i]) {
					return nil
				}
			}
			return nil
		})
		sampled(yield)
	}
}

// parseCount makes $count a $group and a $project.
func parseCount(p *parser, arg bson.RawValue) ([]stage, error) {
	name := value.AsString(arg)
	switch {
	case arg.Type != bson.TypeString:
		return nil, fail(40156, "the count field must be a non-empty string")
	case name == "":
		return nil, fail(40157, "the count field must be a non-empty string")
	case name[0] == '$':
		return nil, fail(40158, "the count field cannot be a $-prefixed path")
	case strings.IndexByte(name, 0) >= 0:
		return nil, fail(40159, "the count field cannot contain a null byte")
	case strings.IndexByte(name, '.') >= 0:
		return nil, fail(40160, "the count field cannot contain '.'")
	}
	group, err := parseGroup(p, object("_id", value.Null(), name, object("$sum", value.Int32(1))))
	if err != nil {
		return nil, err
	}
	project, err := parseProject(p, object("_id", value.Int32(0), name, value.Int32(1)))
	return append(group, project...), err
}

// parseSortByCount makes $sortByCount a $group and a $sort.
func parseSortByCount(p *parser, arg bson.RawValue) ([]stage, error) {
	switch arg.Type {
	case bson.TypeEmbeddedDocument:
		if !hasOperator(arg) {
			return nil, fail(40147, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object")
		}
	case bson.TypeString:
		if !strings.HasPrefix(value.AsString(arg), "$") {
			return nil, fail(40148, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object")
		}
	default:
		return nil, fail(40149, "the sortByCount field must be specified as a string or as an object")
	}
	group, err := parseGroup(p, object("_id", arg, "count", object("$sum", value.Int32(1))))
	if err != nil {
		return nil, err
	}
	sort, err := parseSort(p, object("count", value.Int32(-1)))
	return append(group, sort...), err
}

// object makes a document of names and values.
func object(pairs ...any) bson.RawValue {
	var o value.Object
	for i := 0; i < len(pairs); i += 2 {
		o.Add(pairs[i].(string), pairs[i+1].(bson.RawValue))
	}
	return o.Value()
}

// hasOperator tells whether v is a document whose first field is an operator.
func hasOperator(v bson.RawValue) bool {
	if v.Type != bson.TypeEmbeddedDocument {
		return false
	}
	name, _, _, _ := value.Next(value.Body(v.Value))
	return strings.HasPrefix(name, "$")
}
