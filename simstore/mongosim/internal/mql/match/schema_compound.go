package match

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// arrays parses the keywords about arrays.
func (s *schema) arrays() error {
	if err := s.length("minItems", bson.TypeArray, false, func(n int64) tester { return minItems(n) }); err != nil {
		return err
	}
	if err := s.length("maxItems", bson.TypeArray, false, func(n int64) tester { return maxItems(n) }); err != nil {
		return err
	}
	if v, ok := s.keywords["uniqueItems"]; ok {
		if v.Type != bson.TypeBoolean {
			return mismatch("uniqueItems", "a boolean")
		}
		if s.path != "" && value.AsBool(v) {
			s.add(s.restrict(bson.TypeArray, newLeaf(kindSchema, s.path, false, uniqueItems{})))
		}
	}
	from, err := s.items()
	if err != nil {
		return err
	}
	return s.additionalItems(from)
}

// items parses the keyword items. from is the position at which
// additionalItems takes over, -1 for never.
func (s *schema) items() (from int, err error) {
	v, ok := s.keywords["items"]
	if !ok {
		return -1, nil
	}
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		n, err := s.nested(v)
		if err != nil {
			return -1, err
		}
		s.addItems(&itemsFrom{n: n})
		return -1, nil
	case bson.TypeArray:
		var nodes []node
		for i, x := range value.Elements(v) {
			if x.Type != bson.TypeEmbeddedDocument {
				return -1, mongoerr.New(mongoerr.TypeMismatch,
					"$jsonSchema keyword 'items' requires that each element of the array is an object, but found a %s", value.TypeName(x.Type))
			}
			n, err := s.nested(x)
			if err != nil {
				return -1, err
			}
			if s.path != "" {
				nodes = append(nodes, newLeaf(kindSchema, s.path, false, &itemAt{index: i, n: n}))
			}
			from++
		}
		if s.path != "" {
			s.add(s.restrict(bson.TypeArray, &and{nodes}))
		}
		return from, nil
	}
	return -1, mismatch("items", "an array or an object, not "+value.TypeName(v.Type))
}

func (s *schema) addItems(t *itemsFrom) {
	if s.path != "" {
		s.add(s.restrict(bson.TypeArray, newLeaf(kindSchema, s.path, false, t)))
	}
}

func (s *schema) additionalItems(from int) error {
	v, ok := s.keywords["additionalItems"]
	if !ok {
		return nil
	}
	var n node
	switch v.Type {
	case bson.TypeBoolean:
		n = constant(value.AsBool(v))
	case bson.TypeEmbeddedDocument:
		var err error
		if n, err = s.nested(v); err != nil {
			return err
		}
	default:
		return mismatch("additionalItems", "either an object or a boolean, but got a "+value.TypeName(v.Type))
	}
	if from >= 0 {
		s.addItems(&itemsFrom{from: from, n: n})
	}
	return nil
}

// objects parses the keywords about documents.
func (s *schema) objects() error {
	required, err := s.requiredNames()
	if err != nil {
		return err
	}
	if err := s.properties(required); err != nil {
		return err
	}
	if err := s.allowedProperties(); err != nil {
		return err
	}
	if len(required) > 0 {
		all := &and{}
		for _, name := range required {
			all.nodes = append(all.nodes, newLeaf(kindExists, name, true, existence{}))
		}
		s.addObject(all)
	}
	if err := s.numProperties("minProperties", func(has, want int64) bool { return has >= want }); err != nil {
		return err
	}
	if err := s.numProperties("maxProperties", func(has, want int64) bool { return has <= want }); err != nil {
		return err
	}
	return s.dependencies()
}

// addObject adds what must hold of the document at the path, if there is one.
func (s *schema) addObject(n node) {
	if s.path == "" {
		s.add(n)
		return
	}
	s.add(s.restrict(bson.TypeEmbeddedDocument, s.inObject(n)))
}

func (s *schema) properties(required []string) error {
	v, ok := s.keywords["properties"]
	if !ok {
		return nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return mismatch("properties", "an object")
	}
	all := &and{}
	for name, x := range value.Fields(v.Value) {
		if x.Type != bson.TypeEmbeddedDocument {
			return mongoerr.New(mongoerr.TypeMismatch, "Nested schema for $jsonSchema property '%s' must be an object", name)
		}
		n, err := s.p.schema(name, x.Value)
		if err != nil {
			return err
		}
		if !slices.Contains(required, name) {
			n = &or{[]node{&not{newLeaf(kindExists, name, true, existence{})}, n}}
		}
		all.nodes = append(all.nodes, n)
	}
	s.addObject(all)
	return nil
}

// allowedProperties parses patternProperties and additionalProperties.
func (s *schema) allowedProperties() error {
	patterns, hasPatterns := s.keywords["patternProperties"]
	others, hasOthers := s.keywords["additionalProperties"]
	if !hasPatterns && !hasOthers {
		return nil
	}
	a := &allowedProperties{named: map[string]bool{}, otherwise: constant(true)}
	if v, ok := s.keywords["properties"]; ok {
		for name := range value.Fields(v.Value) {
			a.named[name] = true
		}
	}
	if hasPatterns {
		if err := s.patternProperties(a, patterns); err != nil {
			return err
		}
	}
	switch {
	case !hasOthers:
	case others.Type == bson.TypeBoolean:
		a.otherwise = constant(value.AsBool(others))
	case others.Type == bson.TypeEmbeddedDocument:
		n, err := s.nested(others)
		if err != nil {
			return err
		}
		a.otherwise = n
	default:
		return mismatch("additionalProperties", "an object or a boolean")
	}
	s.addObject(&documentTest{a.matches})
	return nil
}

func (s *schema) patternProperties(a *allowedProperties, patterns bson.RawValue) error {
	if patterns.Type != bson.TypeEmbeddedDocument {
		return mismatch("patternProperties", "an object")
	}
	for pattern, x := range value.Fields(patterns.Value) {
		if x.Type != bson.TypeEmbeddedDocument {
			return mongoerr.New(mongoerr.TypeMismatch,
				"$jsonSchema keyword 'patternProperties' has property '%s' which is not an object", pattern)
		}
		n, err := s.nested(x)
		if err != nil {
			return err
		}
		re, err := newRegex(pattern, "")
		if err != nil {
			return mongoerr.New(mongoerr.BadValue, "Invalid regular expression: %s", pattern)
		}
		a.patterns = append(a.patterns, patternProperty{re, n})
	}
	return nil
}

func (s *schema) numProperties(keyword string, ok func(has, want int64) bool) error {
	v, present := s.keywords[keyword]
	if !present {
		return nil
	}
	want, err := exactNonNegative(keyword, v)
	if err != nil {
		return err
	}
	s.addObject(&documentTest{func(doc bson.Raw, _ *state) bool {
		return ok(int64(value.Len(value.Doc(doc))), want)
	}})
	return nil
}

func (s *schema) dependencies() error {
	v, ok := s.keywords["dependencies"]
	if !ok {
		return nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return mismatch("dependencies", "an object")
	}
	all := &and{}
	for name, x := range value.Fields(v.Value) {
		var then node
		var err error
		switch x.Type {
		case bson.TypeEmbeddedDocument:
			then, err = s.p.schema(s.path, x.Value)
		case bson.TypeArray:
			then, err = s.propertyDependency(name, x)
		default:
			err = mongoerr.New(mongoerr.TypeMismatch,
				"property '%s' in $jsonSchema keyword 'dependencies' must be either an object or an array", name)
		}
		if err != nil {
			return err
		}
		all.nodes = append(all.nodes, &or{[]node{&not{s.exists(name)}, then}})
	}
	s.add(all)
	return nil
}

func (s *schema) propertyDependency(name string, list bson.RawValue) (node, error) {
	if value.IsEmpty(list.Value) {
		return nil, badSchema("property '%s' in $jsonSchema keyword 'dependencies' cannot be an empty array", name)
	}
	all := &and{}
	var seen []string
	for _, x := range value.Elements(list) {
		if x.Type != bson.TypeString {
			return nil, mongoerr.New(mongoerr.TypeMismatch,
				"array '%s' in $jsonSchema keyword 'dependencies' can only contain strings, but found element of type: %s", name, value.TypeName(x.Type))
		}
		needed := value.AsString(x)
		if slices.Contains(seen, needed) {
			return nil, badSchema("array '%s' in $jsonSchema keyword 'dependencies' contains duplicate element: %s", name, needed)
		}
		seen = append(seen, needed)
		all.nodes = append(all.nodes, s.exists(needed))
	}
	return all, nil
}
