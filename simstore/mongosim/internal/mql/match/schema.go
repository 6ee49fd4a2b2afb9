package match

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// schemaPlaceholder stands for an element or property in a nested schema.
const schemaPlaceholder = "i"

func (p *parser) jsonSchema(_ string, v bson.RawValue, _ level) (node, error) {
	if p.allowed&FeatureJSONSchema == 0 {
		return nil, mongoerr.New(mongoerr.QueryFeatureNotAllowed, "$jsonSchema is not allowed in this context")
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return nil, mongoerr.New(mongoerr.TypeMismatch, "$jsonSchema must be an object")
	}
	return p.schema("", v.Value)
}

// A schema is one level of a $jsonSchema while it is parsed. Its path is empty
// at the top, where only documents are looked at.
type schema struct {
	p        *parser
	path     string
	keywords map[string]bson.RawValue
	stated   *statedType
	nodes    []node
}

// A statedType is what the keyword type or bsonType demands.
type statedType struct {
	set *typeSet
	// only is the one type demanded, int for any number; 0 if there are
	// several.
	only bson.Type
}

// schemaKeywords are the keywords the server knows.
var schemaKeywords = [...]string{
	"additionalItems", "additionalProperties", "allOf", "anyOf", "bsonType", "dependencies", "description",
	"encrypt", "encryptMetadata", "enum", "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems",
	"maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
	"not", "oneOf", "pattern", "patternProperties", "properties", "required", "title", "type", "uniqueItems",
}

func mismatch(keyword, must string) error {
	return mongoerr.New(mongoerr.TypeMismatch, "$jsonSchema keyword '%s' must be %s", keyword, must)
}

func badSchema(format string, args ...any) error {
	return mongoerr.New(mongoerr.FailedToParse, format, args...)
}

// schema parses the schema for what lies at path.
func (p *parser) schema(path string, doc bson.Raw) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	s := &schema{p: p, path: path, keywords: map[string]bson.RawValue{}}
	if err := s.collect(doc); err != nil {
		return nil, err
	}
	for _, step := range []func() error{s.metadata, s.statedTypes, s.scalars, s.arrays, s.encryption, s.objects, s.logic} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if s.stated != nil {
		if path != "" {
			s.add(newLeaf(kindSchema, path, false, s.stated.set))
		} else if !s.stated.set.has(bson.TypeEmbeddedDocument) {
			return constant(false), nil // documents are all there is
		}
	}
	return &and{s.nodes}, nil
}

func (s *schema) add(n node) { s.nodes = append(s.nodes, n) }

func (s *schema) collect(doc bson.Raw) error {
	for name, v := range value.Fields(doc) {
		switch {
		case slices.Contains(schemaKeywords[:], name):
		case name == "$ref", name == "$schema", name == "default", name == "definitions", name == "format", name == "id":
			return badSchema("$jsonSchema keyword '%s' is not currently supported", name)
		default:
			return badSchema("Unknown $jsonSchema keyword: %s", name)
		}
		if _, twice := s.keywords[name]; twice {
			return badSchema("Duplicate $jsonSchema keyword: %s", name)
		}
		s.keywords[name] = v
	}
	return nil
}

// restrict makes n apply to values of type t only: others satisfy a keyword
// that isn't about them.
func (s *schema) restrict(t bson.Type, n node) node {
	if s.stated != nil && s.stated.only != 0 {
		if s.stated.only == t {
			return n
		}
		return constant(true)
	}
	set := &typeSet{}
	if t == bson.TypeInt32 {
		set.add(numbers()...)
	} else {
		set.add(t)
	}
	return &or{[]node{&not{newLeaf(kindSchema, s.path, false, set)}, n}}
}

// inObject makes n, which is about a document, about the one at the path.
func (s *schema) inObject(n node) node {
	if s.path == "" {
		return n
	}
	return newLeaf(kindSchema, s.path, false, &objectMatch{n})
}

func (s *schema) metadata() error {
	for _, name := range []string{"description", "title"} {
		if v, ok := s.keywords[name]; ok && v.Type != bson.TypeString {
			return mismatch(name, "of type string")
		}
	}
	return nil
}

func (s *schema) statedTypes() error {
	byName, hasType := s.keywords["type"]
	byAlias, hasAlias := s.keywords["bsonType"]
	_, encrypted := s.keywords["encrypt"]
	var err error
	switch {
	case hasType && hasAlias:
		return badSchema("Cannot specify both $jsonSchema keywords 'type' and 'bsonType'")
	case hasType && encrypted, hasAlias && encrypted:
		return badSchema("$jsonSchema keyword 'encrypt' cannot be used in conjunction with 'type' or 'bsonType', 'encrypt' implies type 'bsonType::BinData'")
	case hasType:
		s.stated, err = parseStated("type", byName, schemaType)
	case hasAlias:
		s.stated, err = parseStated("bsonType", byAlias, value.TypeByName)
	case encrypted:
		s.stated = &statedType{set: &typeSet{}, only: bson.TypeBinary}
		s.stated.set.add(bson.TypeBinary)
	}
	return err
}

// schemaType resolves the type names of JSON Schema.
func schemaType(name string) (bson.Type, bool) {
	switch name {
	case "array":
		return bson.TypeArray, true
	case "boolean":
		return bson.TypeBoolean, true
	case "null":
		return bson.TypeNull, true
	case "object":
		return bson.TypeEmbeddedDocument, true
	case "string":
		return bson.TypeString, true
	}
	return 0, false
}

func parseStated(keyword string, v bson.RawValue, find func(string) (bson.Type, bool)) (*statedType, error) {
	var names []string
	switch v.Type {
	case bson.TypeString:
		names = []string{value.AsString(v)}
	case bson.TypeArray:
		for _, x := range value.Elements(v) {
			if x.Type != bson.TypeString {
				return nil, mongoerr.New(mongoerr.TypeMismatch, "$jsonSchema keyword '%s' array elements must be strings", keyword)
			}
			name := value.AsString(x)
			if name != "integer" && slices.Contains(names, name) {
				return nil, badSchema("$jsonSchema keyword '%s' has duplicate value: %s", keyword, name)
			}
			names = append(names, name)
		}
	default:
		return nil, mismatch(keyword, "either a string or an array of strings")
	}
	if slices.Contains(names, "integer") {
		return nil, badSchema("$jsonSchema type 'integer' is not currently supported.")
	}
	slices.Sort(names)
	stated := &statedType{set: &typeSet{}}
	for _, name := range names {
		if err := stated.set.addAlias(name, find); err != nil {
			return nil, err
		}
		if len(names) > 1 {
			continue
		}
		stated.only = bson.TypeInt32
		if t, ok := find(name); ok {
			stated.only = numberAsInt(t)
		}
		if name != "number" && stated.only == bson.TypeInt32 {
			// One numeric type is demanded: keywords about numbers apply.
			stated.only = bson.TypeInt32
		}
	}
	if stated.set.n == 0 {
		return nil, badSchema("$jsonSchema keyword '%s' must name at least one type", keyword)
	}
	return stated, nil
}

func numberAsInt(t bson.Type) bson.Type {
	switch t {
	case bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return bson.TypeInt32
	}
	return t
}

func (s *schema) scalars() error {
	if v, ok := s.keywords["pattern"]; ok {
		if v.Type != bson.TypeString {
			return mismatch("pattern", "a string")
		}
		if s.path != "" {
			n, err := regexLeaf(s.path, value.AsString(v), "")
			if err != nil {
				return err
			}
			s.add(s.restrict(bson.TypeString, n))
		}
	}
	if err := s.length("maxLength", bson.TypeString, true, func(n int64) tester { return maxLength(n) }); err != nil {
		return err
	}
	if err := s.length("minLength", bson.TypeString, true, func(n int64) tester { return minLength(n) }); err != nil {
		return err
	}
	if err := s.multipleOf(); err != nil {
		return err
	}
	if err := s.bound("maximum", "exclusiveMaximum", kindLte, kindLt); err != nil {
		return err
	}
	return s.bound("minimum", "exclusiveMinimum", kindGte, kindGt)
}

// length parses a keyword whose value is a size.
func (s *schema) length(keyword string, t bson.Type, leafArr bool, make func(int64) tester) error {
	v, ok := s.keywords[keyword]
	if !ok {
		return nil
	}
	n, err := exactNonNegative(keyword, v)
	if err != nil {
		return err
	}
	if s.path != "" {
		s.add(s.restrict(t, newLeaf(kindSchema, s.path, leafArr, make(n))))
	}
	return nil
}

func (s *schema) multipleOf() error {
	v, ok := s.keywords["multipleOf"]
	if !ok {
		return nil
	}
	if !value.IsNumber(v) {
		return mismatch("multipleOf", "a number")
	}
	d := value.ToDecimal(v)
	if d.IsZero() || d.Negative() {
		return badSchema("$jsonSchema keyword 'multipleOf' must have a positive value")
	}
	if s.path == "" {
		return nil
	}
	switch {
	case d.IsNaN():
		return mongoerr.New(mongoerr.BadValue, "divisor cannot be NaN")
	case d.IsInf():
		return mongoerr.New(mongoerr.BadValue, "divisor cannot be infinite")
	}
	s.add(s.restrict(bson.TypeInt32, newLeaf(kindSchema, s.path, true, multiple{d})))
	return nil
}

func (s *schema) bound(keyword, exclusive string, op, strict kind) error {
	x, isExclusive := s.keywords[exclusive]
	v, ok := s.keywords[keyword]
	switch {
	case !ok && isExclusive:
		return badSchema("$jsonSchema keyword '%s' must be a present if %s is present", keyword, exclusive)
	case !ok:
		return nil
	case isExclusive && x.Type != bson.TypeBoolean:
		return mismatch(exclusive, "a boolean")
	case !value.IsNumber(v):
		return mismatch(keyword, "a number")
	case s.path == "":
		return nil
	}
	if isExclusive && value.AsBool(x) {
		op = strict
	}
	n, err := comparisonLeaf(op, s.path, v)
	if err != nil {
		return err
	}
	s.add(s.restrict(bson.TypeInt32, n))
	return nil
}

// encryption refuses what only an encrypting client may ask for.
func (s *schema) encryption() error {
	encrypt, isEncrypt := s.keywords["encrypt"]
	meta, isMeta := s.keywords["encryptMetadata"]
	switch {
	case isEncrypt && isMeta:
		return badSchema("Cannot specify both $jsonSchema keywords 'encrypt' and 'encryptMetadata'")
	case isMeta && meta.Type != bson.TypeEmbeddedDocument:
		return mismatch("encryptMetadata", "an object ")
	case isMeta && value.IsEmpty(meta.Value):
		return badSchema("$jsonSchema keyword 'encryptMetadata' cannot be an empty object ")
	case isEncrypt && encrypt.Type != bson.TypeEmbeddedDocument:
		return mismatch("encrypt", "an object ")
	case isEncrypt && s.path != "":
		s.add(newLeaf(kindSchema, s.path, true, encryptedData{}))
	}
	return nil
}

func (s *schema) logic() error {
	combine := []struct {
		keyword string
		make    func([]node) node
	}{
		{"allOf", func(ns []node) node { return &and{ns} }},
		{"anyOf", func(ns []node) node { return &or{ns} }},
		{"oneOf", func(ns []node) node { return &xor{ns} }},
	}
	for _, c := range combine {
		v, ok := s.keywords[c.keyword]
		if !ok {
			continue
		}
		if v.Type != bson.TypeArray {
			return mismatch(c.keyword, "an array")
		}
		if value.IsEmpty(v.Value) {
			return mongoerr.New(mongoerr.BadValue, "$jsonSchema keyword '%s' must be a non-empty array", c.keyword)
		}
		var nodes []node
		for _, x := range value.Elements(v) {
			if x.Type != bson.TypeEmbeddedDocument {
				return mismatch(c.keyword, "an array of objects, but found an element of type "+value.TypeName(x.Type))
			}
			n, err := s.p.schema(s.path, x.Value)
			if err != nil {
				return err
			}
			nodes = append(nodes, n)
		}
		s.add(c.make(nodes))
	}
	if v, ok := s.keywords["not"]; ok {
		if v.Type != bson.TypeEmbeddedDocument {
			return mismatch("not", "an object, but found an element of type "+value.TypeName(v.Type))
		}
		n, err := s.p.schema(s.path, v.Value)
		if err != nil {
			return err
		}
		s.add(&not{n})
	}
	return s.enum()
}

func (s *schema) enum() error {
	v, ok := s.keywords["enum"]
	if !ok {
		return nil
	}
	if v.Type != bson.TypeArray {
		return mismatch("enum", "an array, but found an element of type "+value.TypeName(v.Type))
	}
	if value.IsEmpty(v.Value) {
		return badSchema("$jsonSchema keyword 'enum' cannot be an empty array")
	}
	choices := value.Slice(v)
	var nodes []node
	for i, x := range choices {
		if slices.ContainsFunc(choices[:i], func(y bson.RawValue) bool { return equalUnordered(x, y) }) {
			return badSchema("$jsonSchema keyword 'enum' array cannot contain duplicate values.")
		}
		switch {
		case s.path != "":
			nodes = append(nodes, newLeaf(kindSchema, s.path, false, equalTo{x}))
		case x.Type == bson.TypeEmbeddedDocument:
			nodes = append(nodes, &documentTest{func(doc bson.Raw, _ *state) bool {
				return equalUnordered(value.Doc(doc), x)
			}})
		}
	}
	if len(nodes) == 0 {
		s.add(constant(false))
		return nil
	}
	s.add(&or{nodes})
	return nil
}

// nested parses the schema of an element or property.
func (s *schema) nested(v bson.RawValue) (node, error) {
	return s.p.schema(schemaPlaceholder, v.Value)
}

// exists demands a field in the document at the path.
func (s *schema) exists(name string) node {
	return s.inObject(newLeaf(kindExists, name, true, existence{}))
}

// requiredNames reads the keyword required.
func (s *schema) requiredNames() ([]string, error) {
	v, ok := s.keywords["required"]
	if !ok {
		return nil, nil
	}
	if v.Type != bson.TypeArray {
		return nil, mismatch("required", "an array, but found an element of type "+value.TypeName(v.Type))
	}
	var names []string
	for _, x := range value.Elements(v) {
		if x.Type != bson.TypeString {
			return nil, mismatch("required", "an array of strings, but found an element of type: "+value.TypeName(x.Type))
		}
		name := strings.Clone(value.AsString(x))
		if slices.Contains(names, name) {
			return nil, badSchema("$jsonSchema keyword 'required' array cannot contain duplicate values")
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, badSchema("$jsonSchema keyword 'required' cannot be an empty array")
	}
	slices.Sort(names)
	return names, nil
}
