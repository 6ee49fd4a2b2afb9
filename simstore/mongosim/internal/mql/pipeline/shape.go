package pipeline

import (
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

type shapeMode uint8

const (
	includes shapeMode = iota // keeps what is marked
	excludes                  // drops what is marked
	adds                      // keeps everything
)

// A shape reshapes one level of a document: it keeps or drops marked fields,
// computes others, and has shapes for what lies below.
type shape struct {
	mode     shapeMode
	marked   map[string]bool
	children map[string]*shape
	computed map[string]*expr.Expr
	order    []string // of children and computed fields, as they were written
	computes bool     // something here or below is computed
}

func newShape(mode shapeMode) *shape {
	return &shape{mode: mode, marked: map[string]bool{}, children: map[string]*shape{}, computed: map[string]*expr.Expr{}}
}

func (s *shape) fold() error {
	for _, name := range s.order {
		if c := s.children[name]; c != nil {
			if err := c.fold(); err != nil {
				return err
			}
		} else if err := s.computed[name].Fold(); err != nil {
			return err
		}
	}
	return nil
}

func (s *shape) child(name string) *shape {
	c := s.children[name]
	if c == nil {
		c = newShape(s.mode)
		s.children[name] = c
		s.order = append(s.order, name)
	}
	return c
}

func (s *shape) mark(path []string) {
	for ; len(path) > 1; path = path[1:] {
		s = s.child(path[0])
	}
	s.marked[path[0]] = true
}

func (s *shape) compute(path []string, e *expr.Expr) {
	for ; len(path) > 1; path = path[1:] {
		s.computes = true
		s = s.child(path[0])
	}
	s.computes = true
	if s.computed[path[0]] == nil {
		s.order = append(s.order, path[0])
	}
	s.computed[path[0]] = e
}

// A shaping is the application of shapes to one document.
type shaping struct {
	root bson.Raw
	vars expr.Vars
}

// doc appends the reshaped document.
func (a shaping) doc(dst []byte, s *shape, doc bson.Raw) ([]byte, error) {
	var results [8]bson.RawValue
	values := results[:0]
	for _, name := range s.order {
		var v bson.RawValue
		var err error
		if c := s.children[name]; c == nil {
			v, err = s.computed[name].Eval(a.root, a.vars)
		} else if old := value.Field(doc, name); old.Type != 0 || c.computes {
			v, err = a.value(c, old)
		}
		if err != nil {
			return dst, err
		}
		values = append(values, v)
	}
	dst, at := value.AppendStart(dst)
	var few [16]bool
	placed := few[:] // which have been written in their old place
	if len(s.order) > len(few) {
		placed = make([]bool, len(s.order))
	}
	rest := value.Body(doc)
	for {
		k, v, tail, ok := value.Next(rest)
		if !ok {
			break
		}
		rest = tail
		i := s.indexOf(k)
		switch {
		case i >= 0 && (s.mode != includes || s.children[k] != nil):
			placed[i] = true
			dst = value.AppendElem(dst, k, values[i])
		case i >= 0:
		case s.mode == adds || s.marked[k] == (s.mode == includes):
			dst = value.AppendElem(dst, k, v)
		}
	}
	for i, name := range s.order {
		if !placed[i] {
			dst = value.AppendElem(dst, name, values[i])
		}
	}
	return value.AppendEnd(dst, at), nil
}

func (s *shape) indexOf(name string) int {
	for i, n := range s.order {
		if n == name {
			return i
		}
	}
	return -1
}

// value reshapes what lies at a field that has a shape of its own. What holds
// no fields becomes a document if something is computed below it; otherwise an
// inclusion drops it and an exclusion keeps it.
func (a shaping) value(s *shape, v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		out, err := a.doc(make([]byte, 0, len(v.Value)), s, v.Value)
		return value.Doc(out), err
	case bson.TypeArray:
		buf, at := value.AppendStart(make([]byte, 0, len(v.Value)))
		n := int64(0)
		for _, e := range value.Elements(v) {
			out, err := a.value(s, e)
			if err != nil {
				return v, err
			}
			if out.Type == 0 {
				continue
			}
			buf = append(buf, byte(out.Type))
			buf = append(strconv.AppendInt(buf, n, 10), 0)
			buf = append(buf, out.Value...)
			n++
		}
		return bson.RawValue{Type: bson.TypeArray, Value: value.AppendEnd(buf, at)}, nil
	}
	switch {
	case s.computes:
		out, err := a.doc(nil, s, bson.Raw{5, 0, 0, 0, 0})
		return value.Doc(out), err
	case s.mode == includes:
		return bson.RawValue{}, nil
	default:
		return v, nil
	}
}

// shapeStage is $project, $addFields, $set or $unset.
type shapeStage struct{ shape *shape }

func (s *shapeStage) fold() error { return s.shape.fold() }

func (s *shapeStage) run(r *run, in docs) docs {
	return each(in, func(doc bson.Raw) (bson.Raw, error) {
		return shaping{doc, r.vars}.doc(make([]byte, 0, len(doc)+64), s.shape, doc)
	})
}
