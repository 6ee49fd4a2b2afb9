package query

import (
	"reflect"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Build returns the filter as a document, the same that a careful person would
// write by hand: conditions on one field share its document, and only what
// can't share one goes into $and. It returns all mistakes at once, joined; each
// matches ErrInvalid. The document may share values with the Filter: read it,
// don't change it.
func (f Filter) Build() (bson.D, error) {
	if f.broken {
		return nil, f.Err()
	}
	return f.document()
}

func (f Filter) document() (bson.D, error) {
	if f.kind == kindAnd {
		return pack(f.subs)
	}
	one := [1]Filter{f}
	return pack(one[:])
}

// A slot is one key of one of the documents that pack fills.
type slot struct {
	doc        int32
	conditions int32
	first      int32
	operator   bool
}

// stackSlots is how many conditions are placed without memory from the heap.
const stackSlots = 8

// pack puts conditions into as few documents as possible: a condition joins the
// first document that has no other use for its key. The parts of a document
// come out of one allocation, however many they are.
func pack(conditions []Filter) (bson.D, error) {
	for i := range conditions {
		if conditions[i].kind == kindUnchecked {
			return packAround(conditions)
		}
	}
	var slotBuf [stackSlots]slot
	var placeBuf [stackSlots]int32
	slots, places := slotBuf[:0], placeBuf[:0]
	if len(conditions) > stackSlots {
		slots, places = make([]slot, 0, len(conditions)), make([]int32, 0, len(conditions))
	}
	docs, ops := int32(1), 0
	var byKey map[string][]int32
	if len(conditions) > 32 {
		byKey = make(map[string][]int32, len(conditions))
	}
	for i := range conditions {
		c := &conditions[i]
		if c.field == Element {
			return nil, invalidf("filter: query.Element is a name inside ElemMatch only")
		}
		if c.kind == kindEverything {
			places = append(places, -1)
			continue
		}
		at := place(conditions, slots, places, byKey, i)
		if at < 0 {
			doc := firstFree(conditions, slots, byKey, c)
			docs = max(docs, doc+1)
			at = int32(len(slots))
			slots = append(slots, slot{doc: doc, first: int32(i), operator: c.hasOperatorDoc()})
			if byKey != nil {
				k := c.key()
				byKey[k] = append(byKey[k], at)
			}
		}
		slots[at].conditions++
		places = append(places, at)
		if c.hasOperatorDoc() {
			ops += c.operatorCount()
		}
	}
	arena := make([]bson.E, len(slots)+ops)
	keys, ops_ := arena[:len(slots):len(slots)], arena[len(slots):]
	if err := fill(conditions, slots, places, keys, ops_); err != nil {
		return nil, err
	}
	if docs == 1 {
		return bson.D(keys), nil
	}
	return andOf(slots, keys, docs), nil
}

// andOf splits the filled keys over their documents.
func andOf(slots []slot, keys []bson.E, docs int32) bson.D {
	parts := make(bson.A, 0, docs)
	for doc := range docs {
		var d bson.D
		for j := range slots {
			if slots[j].doc == doc {
				d = append(d, keys[j])
			}
		}
		parts = append(parts, d)
	}
	return bson.D{{Key: "$and", Value: parts}}
}

// place finds the slot whose operators condition i can join, or -1.
func place(conditions []Filter, slots []slot, places []int32, byKey map[string][]int32, i int) int32 {
	c := &conditions[i]
	if !c.hasOperatorDoc() {
		return -1
	}
	joins := func(at int32) bool {
		s := &slots[at]
		if !s.operator || conditions[s.first].field != c.field {
			return false
		}
		if s.conditions == 1 {
			return !sharesOperator(&conditions[s.first], c)
		}
		for k, p := range places {
			if p == at && sharesOperator(&conditions[k], c) {
				return false
			}
		}
		return true
	}
	if byKey != nil {
		for _, at := range byKey[c.key()] {
			if joins(at) {
				return at
			}
		}
		return -1
	}
	for at := range slots {
		if joins(int32(at)) {
			return int32(at)
		}
	}
	return -1
}

// firstFree finds the first document without the condition's key.
func firstFree(conditions []Filter, slots []slot, byKey map[string][]int32, c *Filter) int32 {
	if byKey != nil {
		used := byKey[c.key()]
		if len(used) == 0 {
			return 0
		}
		return slots[used[len(used)-1]].doc + 1
	}
	doc := int32(0)
	for j := range slots {
		s := &slots[j]
		if conditions[s.first].key() == c.key() {
			doc = max(doc, s.doc+1)
		}
	}
	return doc
}

// packAround keeps unchecked documents whole: their keys are the caller's
// business, so each stands by itself under $and.
func packAround(conditions []Filter) (bson.D, error) {
	var known []Filter
	var parts bson.A
	for _, c := range conditions {
		if c.kind == kindUnchecked {
			parts = append(parts, c.value)
		} else {
			known = append(known, c)
		}
	}
	if len(known) == 0 && len(parts) == 1 {
		return parts[0].(bson.D), nil
	}
	if len(known) > 0 {
		d, err := pack(known)
		if err != nil {
			return nil, err
		}
		parts = append(bson.A{d}, parts...)
	}
	return bson.D{{Key: "$and", Value: parts}}, nil
}

// key is what the condition is called in its document.
func (f *Filter) key() string {
	switch f.kind {
	case kindOr:
		return "$or"
	case kindNor:
		return "$nor"
	case kindNothing:
		return "_id"
	}
	return f.field
}

// hasOperatorDoc reports whether the condition is written {field: {$op: …}}.
func (f *Filter) hasOperatorDoc() bool {
	return f.kind >= kindEq || f.kind == kindNot || f.kind == kindElem || f.kind == kindDoc
}

func (f *Filter) operatorCount() int {
	if f.kind == kindDoc {
		return len(f.value.(bson.D))
	}
	return 1
}

// sharesOperator reports whether two conditions on one field need the same key
// in its document. Operators with options ($regex, $near) always keep apart.
func sharesOperator(a, b *Filter) bool {
	if a.kind == kindDoc || b.kind == kindDoc {
		return true
	}
	return a.kind == b.kind
}

// fill writes the keys and, behind them, the operators of each.
func fill(conditions []Filter, slots []slot, places []int32, keys, ops []bson.E) error {
	var boxes [stackSlots]bson.D
	var owners [stackSlots]int32
	boxed := 0
	flush := func() {
		box(keys, owners[:boxed], boxes[:boxed])
		boxed = 0
	}
	for j := range slots {
		s := &slots[j]
		c := &conditions[s.first]
		keys[j].Key = c.key()
		if !s.operator {
			if err := c.plain(&keys[j]); err != nil {
				return err
			}
			continue
		}
		n := 0
		for i, at := range places {
			if at != int32(j) {
				continue
			}
			k, err := conditions[i].operatorsInto(ops[n:])
			if err != nil {
				return err
			}
			n += k
			if s.conditions == 1 {
				break
			}
		}
		boxes[boxed], owners[boxed] = ops[:n:n], int32(j)
		ops = ops[n:]
		if boxed++; boxed == stackSlots {
			flush()
		}
	}
	flush()
	return nil
}

// box turns documents into interface values. Each conversion by itself costs an
// allocation; taking them out of a boxed array costs one for all: reflect hands
// out the elements of an array that can't be changed any more without copying.
func box(keys []bson.E, owners []int32, docs []bson.D) {
	switch {
	case len(docs) == 0:
	case len(docs) == 1:
		keys[owners[0]].Value = docs[0]
	case len(docs) <= 4:
		rv := reflect.ValueOf([4]bson.D(padded[[4]bson.D](docs)))
		for i, o := range owners {
			keys[o].Value = rv.Index(i).Interface()
		}
	default:
		rv := reflect.ValueOf([stackSlots]bson.D(padded[[stackSlots]bson.D](docs)))
		for i, o := range owners {
			keys[o].Value = rv.Index(i).Interface()
		}
	}
}

func padded[A [4]bson.D | [stackSlots]bson.D](docs []bson.D) (a A) {
	for i := range docs {
		a[i] = docs[i]
	}
	return a
}

// plain fills the value of a key that has no operators of its own.
func (f *Filter) plain(e *bson.E) error {
	switch f.kind {
	case kindBare, kindTop:
		e.Value = f.value
	case kindNothing:
		e.Value = bson.D{{Key: "$in", Value: bson.A{}}}
	case kindOr, kindNor:
		parts := make(bson.A, len(f.subs))
		for i := range f.subs {
			d, err := f.subs[i].document()
			if err != nil {
				return err
			}
			parts[i] = d
		}
		e.Value = parts
	}
	return nil
}

// operatorsInto writes the condition's operators and returns how many.
func (f *Filter) operatorsInto(to []bson.E) (int, error) {
	switch f.kind {
	case kindDoc:
		return copy(to, f.value.(bson.D)), nil
	case kindNot:
		var inner [2]bson.E
		n, err := f.subs[0].operatorsInto(inner[:])
		if err != nil {
			return 0, err
		}
		to[0] = bson.E{Key: "$not", Value: bson.D(append([]bson.E(nil), inner[:n]...))}
	case kindElem:
		d, err := f.elements()
		if err != nil {
			return 0, err
		}
		to[0] = bson.E{Key: "$elemMatch", Value: d}
	default:
		to[0] = bson.E{Key: operators[f.kind], Value: f.value}
	}
	return 1, nil
}

// elements builds what stands under $elemMatch: a filter on the fields of an
// element, or operators on the element itself.
func (f *Filter) elements() (bson.D, error) {
	all := And(f.subs...)
	if all.kind == kindEverything {
		return bson.D{}, nil
	}
	subs := []Filter{all}
	if all.kind == kindAnd {
		subs = all.subs
	}
	self := 0
	for i := range subs {
		if subs[i].usesElement() {
			self++
		}
	}
	if self == 0 {
		return all.document()
	}
	if self != len(subs) {
		return nil, invalidf("filter on %q: ElemMatch mixes conditions on query.Element with conditions on fields of the elements", f.field)
	}
	out := bson.D{}
	for i := range subs {
		s := &subs[i]
		if s.kind == kindBare {
			s = &Filter{kind: kindEq, field: s.field, value: s.value}
		}
		if !s.hasOperatorDoc() {
			return nil, invalidf("filter on %q: conditions on query.Element combine with And only", f.field)
		}
		ops := make([]bson.E, s.operatorCount())
		n, err := s.operatorsInto(ops)
		if err != nil {
			return nil, err
		}
		for _, op := range ops[:n] {
			for _, have := range out {
				if have.Key == op.Key {
					return nil, invalidf("filter on %q: ElemMatch has %s on query.Element twice", f.field, op.Key)
				}
			}
			out = append(out, op)
		}
	}
	return out, nil
}

func (f *Filter) usesElement() bool {
	if f.field == Element {
		return true
	}
	if f.kind == kindOr || f.kind == kindNor {
		for i := range f.subs {
			if f.subs[i].usesElement() {
				return true
			}
		}
	}
	return false
}
