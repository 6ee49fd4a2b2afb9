package expr

import (
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxNesting bounds the parser's recursion; a document can't be nested deeper.
const maxNesting = 2 * maxDepth

// A parser turns operands into nodes. Variables live in slots: those of
// Env.Scope first, then one for each enclosing $let, $map and the like.
type parser struct {
	env       *Env
	operators map[string]*operator
	names     []binding // innermost last
	slots     int       // slots in use
	most      int       // slots that evaluation needs
	depth     int
}

type binding struct {
	name string
	slot int
}

func newParser(env *Env) *parser {
	if env == nil {
		env = &Env{}
	}
	p := &parser{env: env, operators: operatorTable}
	for _, name := range env.Scope {
		p.bind(name)
	}
	return p
}

func (p *parser) finish(n node) *Expr { return &Expr{root: n, slots: p.most} }

// bind declares a variable and gives its slot.
func (p *parser) bind(name string) int {
	slot := p.slots
	p.names = append(p.names, binding{name, slot})
	p.slots++
	p.most = max(p.most, p.slots)
	return slot
}

// mark and release delimit the scope of variables. Slots aren't reused: an
// enclosing expression's variables stay what they are while inner ones change.
func (p *parser) mark() int { return len(p.names) }

func (p *parser) release(mark int) { p.names = p.names[:mark] }

func (p *parser) operand(v bson.RawValue) (node, error) {
	switch v.Type {
	case bson.TypeString:
		if s := value.AsString(v); strings.HasPrefix(s, "$") {
			return p.reference(s)
		}
	case bson.TypeEmbeddedDocument:
		return p.object(v.Value)
	case bson.TypeArray:
		return p.array(v)
	}
	return &constant{v}, nil
}

func (p *parser) operands(vs []bson.RawValue) ([]node, error) {
	out := make([]node, len(vs))
	for i, v := range vs {
		n, err := p.operand(v)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return fail(mongoerr.Overflow, "expression is nested too deeply: at most %d levels are allowed", maxNesting)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) array(v bson.RawValue) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	items, err := p.operands(value.Slice(v))
	if err != nil {
		return nil, err
	}
	return &arrayLiteral{items}, nil
}

func (p *parser) object(doc bson.Raw) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	name, arg, rest, ok := value.Next(value.Body(doc))
	if !ok {
		return &objectLiteral{}, nil
	}
	if strings.HasPrefix(name, "$") {
		if _, _, _, more := value.Next(rest); more {
			return nil, fail(15983, "An object representing an expression must have exactly one field: %s", show(value.Doc(doc)))
		}
		return p.operator(name, arg)
	}
	o := &objectLiteral{}
	for k, v := range value.Fields(doc) {
		if err := CheckFieldName(k); err != nil {
			return nil, err
		}
		if slices.Contains(o.names, k) {
			return nil, fail(16406, "duplicate field name specified in object literal: %s", show(value.Doc(doc)))
		}
		n, err := p.operand(v)
		if err != nil {
			return nil, err
		}
		o.names = append(o.names, k)
		o.values = append(o.values, n)
	}
	return o, nil
}

func (p *parser) operator(name string, arg bson.RawValue) (node, error) {
	op := p.operators[name]
	if op == nil || !p.env.Supports(op.since) {
		return nil, fail(mongoerr.InvalidPipelineOperator, "Unrecognized expression '%s'", name)
	}
	switch {
	case op.parse != nil:
		return op.parse(p, op, arg)
	case op.params != nil:
		return p.named(op, arg)
	default:
		return p.call(op, arg)
	}
}

// call parses the arguments of an operator that takes an array of them, or
// one without an array around it.
func (p *parser) call(op *operator, arg bson.RawValue) (node, error) {
	vs := []bson.RawValue{arg}
	if arg.Type == bson.TypeArray {
		vs = value.Slice(arg)
	}
	args, err := p.operands(vs)
	if err != nil {
		return nil, err
	}
	if err := op.checkArity(len(args)); err != nil {
		return nil, err
	}
	return &call{op, args}, nil
}

// reference parses "$path" or "$$variable.path".
func (p *parser) reference(s string) (node, error) {
	if len(s) < 2 {
		return nil, fail(16872, "'$' by itself is not a valid FieldPath")
	}
	if s[1] != '$' {
		from, err := p.variable("CURRENT")
		if err != nil {
			return nil, err
		}
		return newPath(from, s[1:])
	}
	whole := s[2:]
	name, tail, dotted := strings.Cut(whole, ".")
	if err := checkVariableName(name); err != nil {
		return nil, err
	}
	from, err := p.variable(name)
	if err != nil {
		return nil, err
	}
	if from.kind == fromValue {
		return p.system(name, tail, dotted)
	}
	if !dotted {
		return &fieldPath{from: from}, nil
	}
	return newPath(from, tail)
}

func (p *parser) variable(name string) (source, error) {
	for _, v := range slices.Backward(p.names) {
		if v.name == name {
			return source{fromSlot, v.slot}, nil
		}
	}
	switch name {
	case "CURRENT", "ROOT":
		return source{}, nil
	case "REMOVE":
		return source{kind: fromNothing}, nil
	case "NOW", "CLUSTER_TIME":
		return source{kind: fromValue}, nil
	}
	if value.Field(p.env.Vars, name).Type != 0 {
		return source{kind: fromValue}, nil
	}
	return source{}, fail(17276, "Use of undefined variable: %s", name)
}

// system gives the value of a variable that the environment fixes.
func (p *parser) system(name, tail string, dotted bool) (node, error) {
	var path []string
	if dotted {
		f, err := newPath(source{}, tail)
		if err != nil {
			return nil, err
		}
		path = f.path
	}
	v := value.Field(p.env.Vars, name)
	switch name {
	case "NOW":
		now := p.env.Now
		if now.IsZero() {
			now = time.Now()
		}
		v = value.Time(now)
	case "CLUSTER_TIME":
		if v = p.env.ClusterTime; v.Type == 0 {
			return &unavailable{name}, nil
		}
	}
	return &fixed{walkValue(v, path)}, nil
}

func checkVariableName(name string) error {
	if name == "" {
		return fail(16869, "empty variable names are not allowed")
	}
	if c := name[0]; ('a' > c || c > 'z') && ('A' > c || c > 'Z') && c < 0x80 {
		return fail(16870, "'%s' starts with an invalid character for a variable name", name)
	}
	if c, ok := badVariableByte(name); ok {
		return fail(16871, "'%s' contains an invalid character for a variable name: '%c'", name, c)
	}
	return nil
}

// CheckNewVariable refuses names that users may not give to variables.
func CheckNewVariable(name string) error {
	if name == "CURRENT" {
		return nil
	}
	if name == "" {
		return fail(16866, "empty variable names are not allowed")
	}
	if c := name[0]; ('a' > c || c > 'z') && c < 0x80 {
		return fail(16867, "'%s' starts with an invalid character for a user variable name", name)
	}
	if c, ok := badVariableByte(name); ok {
		return fail(16868, "'%s' contains an invalid character for a variable name: '%c'", name, c)
	}
	return nil
}

func badVariableByte(name string) (byte, bool) {
	for i := 1; i < len(name); i++ {
		c := name[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && c != '_' && c < 0x80 {
			return c, true
		}
	}
	return 0, false
}
