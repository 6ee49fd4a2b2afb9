package storage

import (
	"math"
	"strings"
	"time"
	"unsafe"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An indexSpec is an index's definition; it does not change.
type indexSpec struct {
	name    string
	pattern bson.Raw
	given   bson.Raw // as the client sent it
	raw     bson.Raw // as listIndexes shows it
	fields  []indexField

	unique bool
	sparse bool
	hidden bool
	filter *match.Filter // of a partial index
	// partial are the filter's conditions as written, for the planner.
	partial []match.Predicate
	// widePartial is Config.WidePartialIndexes.
	widePartial bool
	ttl         bool
	expire      float64 // seconds
}

type indexField struct {
	path   string
	dotted bool
	desc   bool
	hashed bool
}

// text views bytes as a string that must not outlive them.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func newIDIndex() *index {
	pattern := value.NewObject(16)
	pattern.Add("_id", value.Int32(1))
	raw := value.NewObject(48)
	raw.Add("v", value.Int32(2))
	raw.Add("key", pattern.Value())
	raw.Add("name", value.String("_id_"))
	return newIndex(&indexSpec{
		name: "_id_", pattern: pattern.Doc(), raw: raw.Doc(), unique: true,
		fields: []indexField{{path: "_id"}},
	})
}

// isID tells whether the key pattern is that of the index of _id, or the reverse of it.
func (s *indexSpec) isID() bool {
	if len(s.fields) != 1 || s.fields[0].path != "_id" || s.fields[0].hashed {
		return false
	}
	n := value.ToDouble(value.Field(s.pattern, "_id"))
	return n == 1 || n == -1
}

// specFields are the fields that an index specification may have.
var specFields = map[string]bool{
	"v": true, "ns": true, "key": true, "name": true, "unique": true, "sparse": true, "background": true,
	"dropDups": true, "expireAfterSeconds": true, "partialFilterExpression": true, "storageEngine": true,
	"collation": true, "hidden": true, "2dsphereIndexVersion": true, "bits": true, "min": true, "max": true,
	"bucketSize": true, "coarsestIndexedLevel": true, "finestIndexedLevel": true, "weights": true,
	"default_language": true, "language_override": true, "textIndexVersion": true, "wildcardProjection": true,
}

// parseIndexSpec checks an element of createIndexes' indexes. Wide is Config.WidePartialIndexes.
func parseIndexSpec(in bson.Raw, wide bool) (*indexSpec, error) {
	s := &indexSpec{widePartial: wide}
	in = withName(in)
	s.given = in
	fail := func(err *mongoerr.Error) error {
		return err.WithPrefix("Error in specification " + shellText(in))
	}
	var haveKey bool
	for name, v := range value.Fields(in) {
		if err := s.take(name, v); err != nil {
			return nil, fail(err)
		}
		haveKey = haveKey || name == "key"
	}
	if !haveKey {
		return nil, fail(mongoerr.New(mongoerr.FailedToParse, "The 'key' field is a required property of an index specification"))
	}
	if err := s.checkIDIndex(in); err != nil {
		return nil, err
	}
	if s.name == "" {
		if value.IsMissing(value.Field(in, "name")) {
			return nil, fail(mongoerr.New(mongoerr.FailedToParse, "The 'name' field is a required property of an index specification"))
		}
		return nil, mongoerr.New(mongoerr.CannotCreateIndex, "index name cannot be empty")
	}
	if strings.ContainsRune(s.name, 0) {
		return nil, mongoerr.New(mongoerr.CannotCreateIndex, "index name cannot contain NUL bytes")
	}
	if err := s.checkKinds(in); err != nil {
		return nil, err
	}
	s.raw = s.listed(in)
	return s, nil
}

// checkIDIndex checks what asks for the index of _id, by its key pattern or by its name.
func (s *indexSpec) checkIDIndex(in bson.Raw) *mongoerr.Error {
	if !s.isID() {
		if s.name == "_id_" {
			return mongoerr.New(mongoerr.BadValue, "The index name '_id_' is reserved for the _id index, which must have key pattern {_id: 1}, found key: %s", shellText(s.pattern))
		}
		return nil
	}
	if v := value.Field(s.pattern, "_id"); value.ToDouble(v) != 1 {
		return mongoerr.New(mongoerr.BadValue, "The field 'key' for an _id index must be {_id: 1}, but got %s", shellText(s.pattern))
	}
	for name := range value.Fields(in) {
		switch name {
		case "key", "name", "ns", "v", "collation":
		default:
			return mongoerr.New(mongoerr.InvalidIndexSpecificationOption, "The field '%s' is not valid for an _id index specification. Specification: %s", name, shellText(in))
		}
	}
	return nil
}

// withName adds the name that drivers usually make: field_1_other_-1.
func withName(in bson.Raw) bson.Raw {
	key := value.Field(in, "key")
	if key.Type != bson.TypeEmbeddedDocument || !value.IsMissing(value.Field(in, "name")) {
		return in
	}
	var parts []string
	for f, v := range value.Fields(bson.Raw(key.Value)) {
		parts = append(parts, f, strings.Trim(shellValue(v), `"`))
	}
	return value.With(in, "name", value.String(strings.Join(parts, "_")))
}

// take checks one field of a specification.
func (s *indexSpec) take(name string, v bson.RawValue) *mongoerr.Error {
	wrongType := func(want string) *mongoerr.Error {
		return mongoerr.New(mongoerr.TypeMismatch, "The field '%s' must be %s, but got %s", name, want, value.TypeName(v.Type))
	}
	switch name {
	case "key":
		if v.Type != bson.TypeEmbeddedDocument {
			return wrongType("an object")
		}
		return s.takeKey(bson.Raw(v.Value))
	case "name":
		if v.Type != bson.TypeString {
			return wrongType("a string")
		}
		if s.name = value.AsString(v); s.name == "*" {
			return mongoerr.New(mongoerr.BadValue, "The index name '*' is not valid.")
		}
	case "unique":
		s.unique = value.Truthy(v)
	case "sparse":
		s.sparse = value.Truthy(v)
	case "storageEngine":
		if v.Type == bson.TypeEmbeddedDocument && value.IsEmpty(bson.Raw(v.Value)) {
			return mongoerr.New(mongoerr.CannotCreateIndex, "Empty \"storageEngine\" options are invalid. Please remove the field or include valid options.")
		}
	case "hidden":
		if v.Type != bson.TypeBoolean {
			return wrongType("a bool")
		}
		s.hidden = value.AsBool(v)
	case "v":
		if !value.IsNumber(v) {
			return wrongType("a number")
		}
		if n := value.ToDouble(v); n != 1 && n != 2 {
			return mongoerr.New(mongoerr.CannotCreateIndex, "Invalid index specification %s; cannot create an index with v=%s", shellText(s.given), shellValue(v))
		}
	case "expireAfterSeconds":
		return s.takeExpire(v)
	case "partialFilterExpression":
		if v.Type != bson.TypeEmbeddedDocument {
			return wrongType("an object")
		}
		f, err := match.ParseWith(bson.Raw(v.Value), &expr.Env{}, match.NoFeatures)
		if err != nil {
			return mongoerr.From(err)
		}
		if err := checkPartial(bson.Raw(v.Value), s.widePartial, 0); err != nil {
			return err
		}
		s.filter = f
		s.partial = f.Conjuncts()
	case "collation":
		if v.Type != bson.TypeEmbeddedDocument {
			return wrongType("an object")
		}
		if value.IsEmpty(bson.Raw(v.Value)) {
			return mongoerr.New(mongoerr.BadValue, "The field 'collation' cannot be an empty object.")
		}
		if loc := value.Field(bson.Raw(v.Value), "locale"); loc.Type != bson.TypeString || value.AsString(loc) != "simple" {
			return mongoerr.New(mongoerr.CommandNotSupported, "mongosim does not support collations; use the simple one")
		}
	case "wildcardProjection":
		return mongoerr.New(mongoerr.BadValue, "The field '%s' is only allowed in an 'wildcard' index", name)
	default:
		if !specFields[name] {
			return mongoerr.New(mongoerr.InvalidIndexSpecificationOption, "The field '%s' is not valid for an index specification. Specification: %s", name, shellText(s.given))
		}
	}
	return nil
}

func (s *indexSpec) takeExpire(v bson.RawValue) *mongoerr.Error {
	if !value.IsNumber(v) {
		return mongoerr.New(mongoerr.CannotCreateIndex, "TTL index 'expireAfterSeconds' option must be numeric, but received a type of '%s'.", value.TypeName(v.Type))
	}
	s.ttl, s.expire = true, value.ToDouble(v)
	return nil
}

// checkTTL checks what a TTL index may be.
func (s *indexSpec) checkTTL(in bson.Raw) error {
	refuse := func(what string) error {
		return mongoerr.New(mongoerr.CannotCreateIndex, "TTL index%s. Index spec: %s", what, shellText(in))
	}
	now := float64(time.Now().Unix())
	switch {
	case !s.ttl:
		return nil
	case s.expire < 0:
		return refuse(" 'expireAfterSeconds' option cannot be less than 0")
	case !(s.expire <= now): // NaN too
		return refuse(" 'expireAfterSeconds' option must be within an acceptable range, try a lower number")
	case len(s.fields) != 1:
		return refuse("es are single-field indexes, compound indexes do not support TTL")
	}
	return nil
}

// takeKey checks the key pattern.
func (s *indexSpec) takeKey(key bson.Raw) *mongoerr.Error {
	refuse := func(format string, args ...any) *mongoerr.Error {
		return mongoerr.New(mongoerr.CannotCreateIndex, format, args...)
	}
	switch {
	case len(key) > 2048:
		return refuse("Index key pattern too large.")
	case value.IsEmpty(key):
		return refuse("Index keys cannot be empty.")
	}
	plugin := pluginOf(key)
	if plugin != "" && !knownPlugin(plugin) {
		return refuse("Unknown index plugin '%s'", plugin)
	}
	seen := map[string]bool{}
	for path, v := range value.Fields(key) {
		f := indexField{path: path, dotted: strings.ContainsRune(path, '.')}
		switch {
		case value.IsNumber(v):
			n := value.ToDouble(v)
			if math.IsNaN(n) {
				return refuse("Values in the index key pattern cannot be NaN.")
			}
			if n == 0 {
				return refuse("Values in the index key pattern cannot be 0.")
			}
			if n < 0 && plugin == "wildcard" {
				return refuse("A numeric value in a $** index key pattern must be positive.")
			}
			f.desc = n < 0
		case v.Type != bson.TypeString:
			return refuse("Values in v:2 index key pattern cannot be of type %s. Only numbers > 0, numbers < 0, and strings are allowed.", value.TypeName(v.Type))
		case value.AsString(v) == "":
			return refuse("Values in the index key pattern cannot be empty strings")
		case value.AsString(v) != plugin:
			return refuse("Can't use more than one index plugin for a single index.")
		case plugin == "wildcard":
			return refuse("The key pattern value for an 'wildcard' index must be a non-zero number, not a string.")
		default:
			f.hashed = plugin == "hashed"
		}
		if err := checkKeyPath(path, plugin); err != nil {
			return err
		}
		if seen[path] {
			return mongoerr.New(mongoerr.BadValue, "The field '%s' appears multiple times in the index key pattern %s", path, shellText(key))
		}
		seen[path] = true
		s.fields = append(s.fields, f)
	}
	s.pattern = append(bson.Raw(nil), key...)
	return nil
}

// pluginOf names the special kind of index that a key pattern asks for.
func pluginOf(key bson.Raw) string {
	for path, v := range value.Fields(key) {
		if v.Type == bson.TypeString {
			return value.AsString(v)
		}
		if path == "$**" || strings.HasSuffix(path, ".$**") {
			return "wildcard"
		}
	}
	return ""
}

func knownPlugin(name string) bool {
	switch name {
	case "2d", "2dsphere", "geoHaystack", "hashed", "text", "wildcard":
		return true
	}
	return false
}

func checkKeyPath(path, plugin string) *mongoerr.Error {
	refuse := func(m string) *mongoerr.Error { return mongoerr.New(mongoerr.CannotCreateIndex, "%s", m) }
	if path == "" {
		return refuse("Index keys cannot be an empty field.")
	}
	if path == "$**" && plugin != "" {
		return nil
	}
	if path == "_fts" && plugin != "text" {
		return refuse("Index key contains an illegal field name: '_fts'")
	}
	parts := strings.Split(path, ".")
	for i, p := range parts {
		if p == "" {
			return refuse("Index keys cannot contain an empty field.")
		}
		ref := i > 0 && (p == "$db" || p == "$id" || p == "$ref")
		wild := p == "$**" && i == len(parts)-1 && plugin == "wildcard"
		if p[0] == '$' && !ref && !wild {
			return refuse("Index key contains an illegal field name: field name starts with '$'.")
		}
	}
	return nil
}

// checkPartial allows in a partial index's filter what the server does: ANDs
// of equality, comparisons, $exists: true and $type. Wide allows $in and $or
// as well, and every depth.
func checkPartial(filter bson.Raw, wide bool, depth int) *mongoerr.Error {
	unsupported := func(what string) *mongoerr.Error {
		return mongoerr.New(mongoerr.CannotCreateIndex, "unsupported expression in partial index: %s", what)
	}
	for name, v := range value.Fields(filter) {
		switch {
		case name == "$and" || wide && name == "$or":
			if depth > 0 && !wide {
				return mongoerr.New(mongoerr.CannotCreateIndex, "$and only supported in partialFilterExpression at top level")
			}
			for _, e := range value.Elements(v) {
				if err := checkPartial(bson.Raw(e.Value), wide, depth+1); err != nil {
					return err
				}
			}
		case strings.HasPrefix(name, "$") && name != "$comment":
			return unsupported(name)
		case v.Type == bson.TypeRegex:
			return unsupported(name + " regex")
		case v.Type == bson.TypeEmbeddedDocument:
			for op, arg := range value.Fields(bson.Raw(v.Value)) {
				if !strings.HasPrefix(op, "$") {
					break
				}
				switch op {
				case "$eq", "$gt", "$gte", "$lt", "$lte", "$type":
				case "$exists":
					if !value.Truthy(arg) {
						return unsupported("$not\n    " + name + " $exists")
					}
				case "$in":
					if !wide || hasRegex(arg) {
						return unsupported(name + " " + op)
					}
				default:
					return unsupported(name + " " + op)
				}
			}
		}
	}
	return nil
}

func hasRegex(list bson.RawValue) bool {
	for _, v := range value.Elements(list) {
		if v.Type == bson.TypeRegex {
			return true
		}
	}
	return false
}

// checkKinds checks what depends on several fields of a specification.
func (s *indexSpec) checkKinds(in bson.Raw) error {
	refuse := func(format string, args ...any) error {
		return mongoerr.New(mongoerr.CannotCreateIndex, format, args...)
	}
	plugin := pluginOf(s.pattern)
	switch plugin {
	case "", "hashed":
	case "wildcard":
		return mongoerr.New(mongoerr.CommandNotSupported, "mongosim does not support wildcard indexes; index the fields that are queried")
	default:
		return mongoerr.New(mongoerr.CommandNotSupported, "mongosim does not support indexes of type '%s'", plugin)
	}
	if s.filter != nil && s.sparse {
		return refuse(`cannot mix "partialFilterExpression" and "sparse" options`)
	}
	if err := s.checkTTL(in); err != nil {
		return err
	}
	return nil
}

// maxIndexFields is how many fields an index may have.
const maxIndexFields = 32

// buildable refuses what the server finds out only when it begins to build the index.
func (s *indexSpec) buildable() error {
	hashed := 0
	for _, f := range s.fields {
		if f.hashed {
			hashed++
		}
	}
	switch {
	case hashed > 1:
		return mongoerr.New(31303, "A maximum of one index field is allowed to be hashed but found %d for 'key' %s", hashed, shellText(s.pattern))
	case hashed > 0 && s.unique:
		return mongoerr.New(16764, "Currently hashed indexes cannot guarantee uniqueness. Use a regular index.")
	case len(s.fields) > maxIndexFields:
		return mongoerr.New(13103, "too many compound keys")
	}
	return nil
}

// listed is the specification as listIndexes shows it: v first, then unique,
// hidden, key and name, then the other options in the order they were given.
func (s *indexSpec) listed(in bson.Raw) bson.Raw {
	o := value.NewObject(len(in) + 16)
	v := value.Field(in, "v")
	if value.IsMissing(v) {
		v = value.Int32(2)
	}
	o.Add("v", v)
	if s.unique {
		o.Add("unique", value.Bool(true))
	}
	if s.hidden {
		o.Add("hidden", value.Bool(true))
	}
	o.Add("key", value.Doc(s.pattern))
	o.Add("name", value.String(s.name))
	for name, x := range value.Fields(in) {
		switch name {
		case "v", "unique", "hidden", "key", "name", "ns", "dropDups", "collation":
		default:
			o.Add(name, x)
		}
	}
	return o.Doc()
}

// same tells whether two specifications of the same key pattern ask for the
// same index.
func (s *indexSpec) same(t *indexSpec) bool {
	if s.isID() && t.isID() {
		return true
	}
	f, g := value.Field(s.raw, "partialFilterExpression"), value.Field(t.raw, "partialFilterExpression")
	return s.unique == t.unique && s.sparse == t.sparse && s.ttl == t.ttl && s.expire == t.expire &&
		f.Type == g.Type && (f.Type == 0 || value.Equal(f, g))
}
