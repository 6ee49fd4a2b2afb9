package update

import (
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An element is a field or array element of a document that is being changed.
// Documents and arrays stay raw until something below them is needed.
type element struct {
	key    string
	v      bson.RawValue // outdated but for its type once opened
	opened bool
	kids   []*element
	parent *element
}

func newRoot(doc bson.Raw) *element {
	return &element{v: value.Doc(doc)}
}

func (e *element) typ() bson.Type { return e.v.Type }

func (e *element) isArray() bool { return e.v.Type == bson.TypeArray }

func (e *element) isDoc() bool { return e.v.Type == bson.TypeEmbeddedDocument }

// open makes the children of a document or array accessible.
func (e *element) open() []*element {
	if e.opened || !e.isArray() && !e.isDoc() {
		return e.kids
	}
	e.opened = true
	n := value.Len(e.v)
	room := make([]element, n)
	e.kids = make([]*element, n, n+1)
	rest := value.Body(e.v.Value)
	for i := range n {
		key, v, tail, _ := value.Next(rest)
		room[i] = element{key: key, v: v, parent: e}
		e.kids[i] = &room[i]
		rest = tail
	}
	return e.kids
}

// child gives the field name of a document or the element of an array whose
// position name is, nil if there is none.
func (e *element) child(name string) *element {
	switch {
	case e.isDoc():
		for _, k := range e.open() {
			if k.key == name {
				return k
			}
		}
	case e.isArray():
		if i, ok := position(name); ok && i < len(e.open()) {
			return e.kids[i]
		}
	}
	return nil
}

// position reads a path component as the position of an array element.
func position(name string) (int, bool) {
	if name == "" || name[0] < '0' || name[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return int(n), err == nil
}

// value gives the element as it is now.
func (e *element) value() bson.RawValue {
	if !e.opened {
		return e.v
	}
	buf := make([]byte, 0, len(e.v.Value)+64)
	return bson.RawValue{Type: e.v.Type, Value: e.appendTo(buf)}
}

func (e *element) appendTo(buf []byte) []byte {
	if !e.opened {
		return append(buf, e.v.Value...)
	}
	buf, at := value.AppendStart(buf)
	array := e.isArray()
	for i, k := range e.kids {
		buf = append(buf, byte(k.v.Type))
		if array {
			buf = strconv.AppendInt(buf, int64(i), 10)
		} else {
			buf = append(buf, k.key...)
		}
		buf = append(buf, 0)
		buf = k.appendTo(buf)
	}
	return value.AppendEnd(buf, at)
}

func (e *element) set(v bson.RawValue) {
	e.v, e.opened, e.kids = v, false, nil
}

// push appends a child.
func (e *element) push(key string, v bson.RawValue) *element {
	k := &element{key: key, v: v, parent: e}
	e.kids = append(e.open(), k)
	return k
}

// remove takes a child away.
func (e *element) remove(child *element) {
	for i, k := range e.open() {
		if k == child {
			e.kids = append(e.kids[:i:i], e.kids[i+1:]...)
			return
		}
	}
}

// siblings gives the children before and after a child, nil where there is
// none.
func (e *element) siblings() (left, right *element) {
	if e.parent == nil {
		return nil, nil
	}
	all := e.parent.kids
	for i, k := range all {
		if k != e {
			continue
		}
		if i > 0 {
			left = all[i-1]
		}
		if i+1 < len(all) {
			right = all[i+1]
		}
	}
	return left, right
}

// root gives the element that has no parent.
func (e *element) root() *element {
	for e.parent != nil {
		e = e.parent
	}
	return e
}

// describe shows an element in an error message as the server does.
func (e *element) describe() string {
	return e.key + ": " + show(e.value())
}

func show(v bson.RawValue) string { return expr.Show(v) }

// describeID shows the _id of the document that e is in.
func (e *element) describeID() string {
	if id := e.root().child("_id"); id != nil {
		return id.describe()
	}
	return "no id"
}
