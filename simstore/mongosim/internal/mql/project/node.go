package project

import (
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A node projects one level of documents: fields that are marked are kept or
// left out, children project what lies below a field, and others are computed.
type node struct {
	including bool
	marked    map[string]bool
	children  map[string]*node
	computed  map[string]evaluator
	order     []string // of children and computed fields, as they came
	computes  bool     // something at or below is computed
}

func newNode(including bool) *node { return &node{including: including} }

func (n *node) child(name string) *node {
	c := n.children[name]
	if c == nil {
		c = newNode(n.including)
		if n.children == nil {
			n.children = map[string]*node{}
		}
		n.children[name] = c
		n.order = append(n.order, name)
	}
	return c
}

func (n *node) mark(path []string) {
	for ; len(path) > 1; path = path[1:] {
		n = n.child(path[0])
	}
	if n.marked == nil {
		n.marked = map[string]bool{}
	}
	n.marked[path[0]] = true
}

func (n *node) compute(path []string, e evaluator) {
	for ; len(path) > 1; path = path[1:] {
		n.computes = true
		n = n.child(path[0])
	}
	n.computes = true
	if n.computed == nil {
		n.computed = map[string]evaluator{}
	}
	n.computed[path[0]] = e
	n.order = append(n.order, path[0])
}

// appendDoc appends the projection of a document without its computed fields.
func (n *node) appendDoc(dst []byte, doc []byte) []byte {
	dst, at := value.AppendStart(dst)
	rest := value.Body(doc)
	for {
		key, v, tail, ok := value.Next(rest)
		if !ok {
			return value.AppendEnd(dst, at)
		}
		rest = tail
		if n.marked[key] {
			if n.including {
				dst = value.AppendElem(dst, key, v)
			}
			continue
		}
		if c := n.children[key]; c != nil {
			dst = c.appendField(dst, key, v)
		} else if !n.including {
			dst = value.AppendElem(dst, key, v)
		}
	}
}

// appendField appends a field with the projection of its value. What holds no
// fields is kept by an exclusion and dropped by an inclusion.
func (n *node) appendField(dst []byte, key string, v bson.RawValue) []byte {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		dst = appendHead(dst, v.Type, key)
		return n.appendDoc(dst, v.Value)
	case bson.TypeArray:
		dst = appendHead(dst, v.Type, key)
		dst, at := value.AppendStart(dst)
		i := 0
		rest := value.Body(v.Value)
		for {
			_, x, tail, ok := value.Next(rest)
			if !ok {
				return value.AppendEnd(dst, at)
			}
			rest = tail
			before := len(dst)
			dst = n.appendField(dst, strconv.Itoa(i), x)
			if len(dst) > before {
				i++
			}
		}
	}
	switch {
	case !n.including:
		return value.AppendElem(dst, key, v)
	case n.computes:
		// What is computed takes the place of the dropped value.
		return value.AppendElem(dst, key, value.Null())
	}
	return dst
}

func appendHead(dst []byte, t bson.Type, key string) []byte {
	dst = append(dst, byte(t))
	dst = append(dst, key...)
	return append(dst, 0)
}

// computeDoc adds the computed fields to a document that has been projected;
// original is the whole document that they are computed from.
func (n *node) computeDoc(original, doc bson.Raw) (bson.Raw, error) {
	for _, name := range n.order {
		var v bson.RawValue
		var err error
		if c := n.children[name]; c != nil {
			if !c.computes {
				continue
			}
			v, err = c.computeValue(original, value.Field(doc, name))
		} else {
			v, err = n.computed[name].evaluate(original)
		}
		if err != nil {
			return nil, err
		}
		doc = value.With(doc, name, v)
	}
	return doc, nil
}

func (n *node) computeValue(original bson.Raw, v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		doc, err := n.computeDoc(original, v.Value)
		return value.Doc(doc), err
	case bson.TypeArray:
		var out value.Arr
		for _, x := range value.Elements(v) {
			y, err := n.computeValue(original, x)
			if err != nil {
				return v, err
			}
			out.Add(y)
		}
		return out.Value(), nil
	}
	doc, err := n.computeDoc(original, bson.Raw{5, 0, 0, 0, 0})
	return value.Doc(doc), err
}
