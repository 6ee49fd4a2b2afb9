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
		return pack(f.subs())
	}
	one := [1]Filter{f}
	return pack(one[:])
}

// A slot is one key of one of the documents that pack fills.
type slot struct {
	key        string
	doc        int32
	conditions int32
	first      int32
	operator   bool
}

// stackSlots is how many conditions are placed without memory from the heap.
const stackSlots = 8

// pack puts conditions into as few documents as possible: a condition joins the
// first document that has no other use for its key.
func pack(conditions []Filter) (bson.D, error) {
	if operators, ok := apart(conditions); ok {
		return packApart(conditions, operators), nil
	}
	return packTogether(conditions)
}

// apart reports whether every condition has a key of its own and at most one
// operator, as nearly all filters are, and how many have one.
func apart(conditions []Filter) (operators int, ok bool) {
	if len(conditions) > stackSlots {
		return 0, false
	}
	for i := range conditions {
		c := &conditions[i]
		switch {
		case c.kind >= kindEq:
			operators++
		case c.kind != kindBare:
			return 0, false
		}
		if c.field == Element {
			return 0, false
		}
		for j := range i {
			if conditions[j].field == c.field {
				return 0, false
			}
		}
	}
	return operators, true
}

// packApart writes conditions that are apart: their keys, and behind them in the
// same piece of memory their operators.
func packApart(conditions []Filter, operatorCount int) bson.D {
	arena := make([]bson.E, len(conditions)+operatorCount)
	keys, ops := arena[:len(conditions):len(conditions)], arena[len(conditions):]
	var boxes boxer
	for i := range conditions {
		c := &conditions[i]
		keys[i].Key = c.field
		if c.kind == kindBare {
			keys[i].Value = c.value
			continue
		}
		ops[0] = bson.E{Key: operators[c.kind], Value: c.value}
		boxes.add(&keys[i], ops[:1:1])
		ops = ops[1:]
	}
	boxes.flush()
	return keys
}

// packTogether is pack for conditions that may meet in one key. The parts of a
// document come out of one allocation here too.
func packTogether(conditions []Filter) (bson.D, error) {
	var slotBuf [stackSlots]slot
	var placeBuf [stackSlots]int32
	p := packing{conditions: conditions, slots: slotBuf[:0], places: placeBuf[:0]}
	if len(conditions) > stackSlots {
		p.slots, p.places = make([]slot, 0, len(conditions)), make([]int32, 0, len(conditions))
	}
	if len(conditions) > 4*stackSlots {
		p.byKey = make(map[string][]int32, len(conditions))
	}
	docs, ops := int32(1), 0
	for i := range conditions {
		c := &conditions[i]
		switch {
		case c.field == Element:
			return nil, invalidf("filter: query.Element is a name inside ElemMatch only")
		case c.kind == kindUnchecked:
			return packAround(conditions)
		case c.kind == kindEverything:
			p.places = append(p.places, -1)
			continue
		}
		operator := c.hasOperatorDoc()
		at, doc := p.place(c, operator)
		if at < 0 {
			docs = max(docs, doc+1)
			at = int32(len(p.slots))
			p.slots = append(p.slots, slot{key: c.key(), doc: doc, first: int32(i), operator: operator})
			if p.byKey != nil {
				p.byKey[c.key()] = append(p.byKey[c.key()], at)
			}
		}
		p.slots[at].conditions++
		p.places = append(p.places, at)
		if operator {
			ops += c.operatorCount()
		}
	}
	arena := make([]bson.E, len(p.slots)+ops)
	keys := arena[:len(p.slots):len(p.slots)]
	if err := p.fill(keys, arena[len(p.slots):]); err != nil {
		return nil, err
	}
	if docs == 1 {
		return bson.D(keys), nil
	}
	return andOf(p.slots, keys, docs), nil
}

// packing is pack at work. places has the slot of each condition.
type packing struct {
	conditions []Filter
	slots      []slot
	places     []int32
	// byKey finds slots where there are too many to look at them all.
	byKey map[string][]int32
}

// place finds the slot whose operators the condition can join, or else -1 and
// the first document that doesn't have its key.
func (p *packing) place(c *Filter, operator bool) (at, doc int32) {
	key := c.key()
	if p.byKey != nil {
		for _, at := range p.byKey[key] {
			if p.joins(at, c, operator) {
				return at, 0
			}
			doc = p.slots[at].doc + 1
		}
		return -1, doc
	}
	for at := range p.slots {
		s := &p.slots[at]
		if s.key != key {
			continue
		}
		if p.joins(int32(at), c, operator) {
			return int32(at), 0
		}
		doc = s.doc + 1
	}
	return -1, doc
}

// joins reports whether the condition can share the operators' document of a slot with its key.
func (p *packing) joins(at int32, c *Filter, operator bool) bool {
	s := &p.slots[at]
	if !operator || !s.operator {
		return false
	}
	if s.conditions == 1 {
		return !sharesOperator(&p.conditions[s.first], c)
	}
	for k, place := range p.places {
		if place == at && sharesOperator(&p.conditions[k], c) {
			return false
		}
	}
	return true
}

// andOf splits the filled keys over their documents.
func andOf(slots []slot, keys []bson.E, docs int32) bson.D {
	parts := make([]bson.D, docs)
	for j := range slots {
		parts[slots[j].doc] = append(parts[slots[j].doc], keys[j])
	}
	list := make(bson.A, docs)
	for i, d := range parts {
		list[i] = d
	}
	return bson.D{{Key: "$and", Value: list}}
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
func (p *packing) fill(keys, ops []bson.E) error {
	var boxes boxer
	for j := range p.slots {
		s := &p.slots[j]
		keys[j].Key = s.key
		if !s.operator {
			if err := p.conditions[s.first].plain(&keys[j]); err != nil {
				return err
			}
			continue
		}
		n, err := p.operators(s, int32(j), ops)
		if err != nil {
			return err
		}
		boxes.add(&keys[j], ops[:n:n])
		ops = ops[n:]
	}
	boxes.flush()
	return nil
}

// operators writes the operators of all conditions in a slot.
func (p *packing) operators(s *slot, at int32, to []bson.E) (int, error) {
	n, err := p.conditions[s.first].operatorsInto(to)
	if err != nil || s.conditions == 1 {
		return n, err
	}
	for i := int(s.first) + 1; i < len(p.places); i++ {
		if p.places[i] != at {
			continue
		}
		k, err := p.conditions[i].operatorsInto(to[n:])
		if err != nil {
			return 0, err
		}
		n += k
	}
	return n, nil
}

// A boxer makes documents the values of keys. Each conversion of a slice to an
// interface by itself costs an allocation; taken out of a boxed array four cost
// one: reflect hands out the elements of an array that can't be changed any
// more without copying.
type boxer struct {
	n    int
	keys [4]*bson.E
	docs [4]bson.D
}

func (b *boxer) add(key *bson.E, doc bson.D) {
	if b.n == len(b.docs) {
		b.flush()
	}
	b.keys[b.n], b.docs[b.n] = key, doc
	b.n++
}

func (b *boxer) flush() {
	switch {
	case b.n == 1:
		b.keys[0].Value = b.docs[0]
	case b.n > 1:
		boxed := reflect.ValueOf(b.docs)
		for i := range b.n {
			b.keys[i].Value = boxed.Index(i).Interface()
		}
	}
	b.n = 0
}

// plain fills the value of a key that has no operators of its own.
func (f *Filter) plain(e *bson.E) error {
	switch f.kind {
	case kindBare, kindTop:
		e.Value = f.value
	case kindNothing:
		e.Value = bson.D{{Key: "$in", Value: bson.A{}}}
	case kindOr, kindNor:
		parts := make(bson.A, len(f.subs()))
		for i, sub := range f.subs() {
			d, err := sub.document()
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
		n, err := f.subs()[0].operatorsInto(inner[:])
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
	all := And(f.subs()...)
	if all.kind == kindEverything {
		return bson.D{}, nil
	}
	subs := []Filter{all}
	if all.kind == kindAnd {
		subs = all.subs()
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
		for _, sub := range f.subs() {
			if sub.usesElement() {
				return true
			}
		}
	}
	return false
}
