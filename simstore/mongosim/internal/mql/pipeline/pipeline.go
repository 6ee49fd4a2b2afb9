// Package pipeline parses and runs aggregation pipelines over raw BSON.
//
// A stage is a line in the table of stages and the file of its function;
// nothing else knows it.
package pipeline

import (
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
)

// A Pipeline is a parsed list of stages. It is immutable: goroutines may run
// it at the same time.
type Pipeline struct {
	stages []placed
	ns     Namespace
	env    *expr.Env
}

// Parse parses the stages of a command on the collection ns; an empty
// collection stands for {aggregate: 1}, an empty Namespace for none, as with
// a pipeline in a test. Refusals are *mongoerr.Error with the server's codes
// and come before anything runs.
func Parse(stages []bson.Raw, ns Namespace, env *expr.Env) (*Pipeline, error) {
	return parse(stages, ns, env, topLevel)
}

// ParseUpdate parses the pipeline of an update, in which few stages are
// allowed.
func ParseUpdate(stages []bson.Raw, env *expr.Env) (*Pipeline, error) {
	return parse(stages, Namespace{}, env, inUpdate)
}

// CheckStages refuses stages that there are not, as [Parse] does before it looks at their arguments.
func CheckStages(stages []bson.Raw, ns Namespace, env *expr.Env) error {
	return newParser(ns, env).checkStages(stages)
}

func parse(stages []bson.Raw, ns Namespace, env *expr.Env, where place) (*Pipeline, error) {
	p, err := newParser(ns, env).pipeline(stages, where)
	if err != nil {
		return nil, err
	}
	return p, p.fold()
}

func (p *Pipeline) fold() error {
	for _, s := range p.stages {
		if err := s.fold(); err != nil {
			return err
		}
	}
	return nil
}

// joinSortAndLimit tells a sort how many of its documents the limit behind it
// will take.
func (p *Pipeline) joinSortAndLimit() {
	for i, s := range p.stages {
		sort, ok := s.stage.(*sortStage)
		if !ok {
			continue
		}
		skipped := int64(0)
		for _, next := range p.stages[i+1:] {
			if skip, ok := next.stage.(*skipStage); ok && skipped+skip.n >= skipped {
				skipped += skip.n
				continue
			}
			if limit, ok := next.stage.(*limitStage); ok && skipped+limit.n > 0 {
				sort.limit = skipped + limit.n
			}
			break
		}
	}
}

// Pushdown is what the beginning of a pipeline leaves to a planner.
type Pushdown struct {
	Filter *match.Filter // nil: none
	Sort   *order.Order  // nil: none
	Limit  int64         // 0: none; counts after Filter and Sort
	Used   int           // how many leading stages the above stand for
}

// Pushdown gives the leading filter, sort and limit, so that the host can
// answer them from an index.
func (p *Pipeline) Pushdown() Pushdown {
	var d Pushdown
	rest := p.stages
	if len(rest) > 0 {
		if m, ok := rest[0].stage.(*matchStage); ok {
			d.Filter, d.Used, rest = m.filter, d.Used+1, rest[1:]
		}
	}
	if len(rest) > 0 {
		if s, ok := rest[0].stage.(*sortStage); ok {
			d.Sort, d.Used, rest = s.order, d.Used+1, rest[1:]
		}
	}
	if len(rest) > 0 {
		if l, ok := rest[0].stage.(*limitStage); ok {
			d.Limit, d.Used = l.n, d.Used+1
		}
	}
	return d
}

// Len tells how many stages there are; an alias such as $bucket counts as the
// stages it stands for.
func (p *Pipeline) Len() int { return len(p.stages) }

// From gives the pipeline without its first n stages, which a host that has
// answered a Pushdown runs instead.
func (p *Pipeline) From(n int) *Pipeline {
	return &Pipeline{stages: p.stages[n:], ns: p.ns, env: p.env}
}

// ChangeStream gives the argument of a leading $changeStream stage, which the
// host answers; the rest of the pipeline is From(1).
func (p *Pipeline) ChangeStream() (spec bson.Raw, ok bool) {
	if len(p.stages) == 0 {
		return nil, false
	}
	s, ok := p.stages[0].stage.(*changeStreamStage)
	if !ok {
		return nil, false
	}
	return s.spec, true
}

// ReadsCollection tells whether the documents of the collection flow in;
// $collStats, $indexStats, $documents and $changeStream make their own.
func (p *Pipeline) ReadsCollection() bool {
	return len(p.stages) == 0 || !p.stages[0].def.collection
}

// Writes tells the namespace that a closing $out or $merge writes to.
func (p *Pipeline) Writes() (target Namespace, ok bool) {
	if len(p.stages) == 0 {
		return Namespace{}, false
	}
	w, ok := p.stages[len(p.stages)-1].stage.(interface{ target() Namespace })
	if !ok {
		return Namespace{}, false
	}
	return w.target(), true
}

// Namespaces lists the other collections that stages read from.
func (p *Pipeline) Namespaces() []Namespace {
	var out []Namespace
	for _, s := range p.stages {
		if r, ok := s.stage.(interface{ reads() []Namespace }); ok {
			out = append(out, r.reads()...)
		}
	}
	return out
}

// Run lets the documents of in flow through the stages and yields what comes
// out. It works while its result is ranged over, and stops with the first
// error, which is yielded with a nil document. The result may be ranged over
// once. Results may share memory with what flowed in. A pipeline that needs no
// host, as in an update, may be given a nil one.
func (p *Pipeline) Run(ctx context.Context, host Host, in iter.Seq2[bson.Raw, error]) iter.Seq2[bson.Raw, error] {
	return p.flow(&run{ctx: ctx, host: host, env: p.env}, in)
}

func (p *Pipeline) flow(r *run, in docs) docs {
	inner := *r
	inner.env = p.env
	for _, s := range p.stages {
		in = s.run(&inner, in)
	}
	return in
}

// read runs the pipeline on the documents of its collection.
func (p *Pipeline) read(r *run) docs {
	if !p.ReadsCollection() {
		return p.flow(r, none)
	}
	stages := p
	var filter *match.Filter
	if len(p.stages) > 0 {
		if m, ok := p.stages[0].stage.(*matchStage); ok {
			inner := *r
			inner.env = p.env
			bound, err := m.bind(&inner)
			if err != nil {
				return failed(err)
			}
			filter, stages = bound, p.From(1)
		}
	}
	return stages.flow(r, r.host.Scan(r.ctx, p.ns, filter))
}

func none(func(bson.Raw, error) bool) {}
