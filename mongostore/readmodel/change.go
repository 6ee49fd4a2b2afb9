package readmodel

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Limits of one command. A server takes 16 MiB and 100,000 statements; what is
// larger is sent as several commands of the same transaction.
const (
	maxCommand    = 12 << 20
	maxStatements = 10_000
)

// A command is an insert, update or delete command on one collection, built as it is
// sent: with the driver's own bulk writes, the encoding of filters costs more than
// that of the documents.
type command struct {
	verb, coll string // "insert", "update" or "delete"
	body       []byte
	list       int32 // where the array of statements starts
	// subjects are the documents that the statements are about.
	subjects []subject
}

type subject struct {
	model, key string
	// partial says that the statement is an update, in the caller's words.
	partial bool
}

func newCommand(verb, coll string, size int) *command {
	c := &command{verb: verb, coll: coll}
	_, c.body = bsoncore.AppendDocumentStart(make([]byte, 0, size))
	c.body = bsoncore.AppendStringElement(c.body, verb, coll)
	c.body = bsoncore.AppendBooleanElement(c.body, "ordered", true)
	list := verb + "s"
	if verb == "insert" {
		list = "documents"
	}
	c.list, c.body = bsoncore.AppendArrayElementStart(c.body, list)
	return c
}

// bytes returns the finished command, which may be asked for again.
func (c *command) bytes() bson.Raw {
	return bson.Raw(closeDocument(closeDocument(c.body, c.list), 0))
}

// A plan is the commands that make a commit's changes.
type plan struct {
	commands []*command
	size     int // expected, of each
	most     int // statements in one
	// insert has documents that are said to be new inserted, at a third of what it
	// costs the server to look for them first.
	insert bool
}

// command returns the command that takes the next statement of at most size
// bytes.
func (p *plan) command(verb, coll string, size int) *command {
	for _, c := range slices.Backward(p.commands) {
		if c.verb == verb && c.coll == coll {
			if len(c.subjects) < p.most && len(c.body)+size <= maxCommand {
				return c
			}
			break
		}
	}
	c := newCommand(verb, coll, min(max(p.size, size), maxCommand)+128+len(coll))
	p.commands = append(p.commands, c)
	return c
}

// start starts a statement about s; end ends it.
func (c *command) start(s subject) int32 {
	c.body = appendIndex(c.body, bsoncore.TypeEmbeddedDocument, len(c.subjects))
	c.subjects = append(c.subjects, s)
	var at int32
	at, c.body = bsoncore.AppendDocumentStart(c.body)
	return at
}

func (c *command) end(at int32) { c.body = closeDocument(c.body, at) }

// query appends {q: {_id: key}}.
func (c *command) query(key string) {
	var q int32
	q, c.body = bsoncore.AppendDocumentElementStart(c.body, "q")
	c.body = closeDocument(bsoncore.AppendStringElement(c.body, "_id", key), q)
}

// put adds the replacement of a document by data.
func (p *plan) put(coll string, s subject, data []byte) {
	c := p.command("update", coll, len(data)+2*len(s.key)+64)
	at := c.start(s)
	c.query(s.key)
	var u int32
	u, c.body = bsoncore.AppendDocumentElementStart(c.body, "u")
	c.body = bsoncore.AppendStringElement(c.body, "_id", s.key)
	c.body = append(c.body, data[4:len(data)-1]...)
	c.body = closeDocument(c.body, u)
	c.body = bsoncore.AppendBooleanElement(c.body, "upsert", true)
	c.end(at)
}

// add adds a document that is not there.
func (p *plan) add(coll string, s subject, data []byte) {
	c := p.command("insert", coll, len(data)+len(s.key)+64)
	at := c.start(s)
	c.body = bsoncore.AppendStringElement(c.body, "_id", s.key)
	c.body = append(c.body, data[4:len(data)-1]...)
	c.end(at)
}

// update adds an update of a document, in the form of [encodeUpdate].
func (p *plan) update(coll string, s subject, u bson.RawValue) {
	c := p.command("update", coll, len(u.Value)+len(s.key)+64)
	at := c.start(s)
	c.query(s.key)
	c.body = bsoncore.AppendHeader(c.body, bsoncore.Type(u.Type), "u")
	c.body = append(c.body, u.Value...)
	c.body = bsoncore.AppendBooleanElement(c.body, "upsert", true)
	c.end(at)
}

// remove adds the removal of a document.
func (p *plan) remove(coll string, s subject) {
	c := p.command("delete", coll, len(s.key)+64)
	at := c.start(s)
	c.query(s.key)
	c.body = bsoncore.AppendInt32Element(c.body, "limit", 1)
	c.end(at)
}

// putWhole adds the replacement of a document that has its own _id.
func (p *plan) putWhole(coll string, id, doc bson.Raw) {
	c := p.command("update", coll, len(doc)+len(id)+64)
	at := c.start(subject{})
	var q int32
	q, c.body = bsoncore.AppendDocumentElementStart(c.body, "q")
	c.body = closeDocument(bsoncore.AppendDocumentElement(c.body, "_id", id), q)
	c.body = bsoncore.AppendDocumentElement(c.body, "u", doc)
	c.body = bsoncore.AppendBooleanElement(c.body, "upsert", true)
	c.end(at)
}

// removeWhole adds the removal of a document whose _id is a document.
func (p *plan) removeWhole(coll string, id bson.Raw) {
	c := p.command("delete", coll, len(id)+64)
	at := c.start(subject{})
	var q int32
	q, c.body = bsoncore.AppendDocumentElementStart(c.body, "q")
	c.body = closeDocument(bsoncore.AppendDocumentElement(c.body, "_id", id), q)
	c.body = bsoncore.AppendInt32Element(c.body, "limit", 1)
	c.end(at)
}

// plan encodes changes, at most most statements to a command. Removals come
// first and new documents last: what the one frees in unique indexes the other may
// take.
func (b *Backend) plan(changes []projection.Change, most int, insert bool) (*plan, error) {
	size := 0
	for _, c := range changes {
		size += len(c.Data) + 2*len(c.Key) + 64
	}
	if size > eventstore.MaxAppendSize {
		return nil, &eventstore.TooLargeError{What: "commit", Size: size, Limit: eventstore.MaxAppendSize}
	}
	p := &plan{size: size, most: most, insert: insert}
	if most == 1 {
		p.size = 0
	}
	for turn := range 3 {
		for i := range changes {
			if c := &changes[i]; p.turn(c) == turn {
				if err := b.add(p, c); err != nil {
					return nil, err
				}
			}
		}
	}
	return p, nil
}

func (p *plan) turn(c *projection.Change) int {
	switch {
	case c.IsDelete():
		return 0
	case p.inserts(c):
		return 2
	}
	return 1
}

func (p *plan) inserts(c *projection.Change) bool { return p.insert && c.New && c.Data != nil }

func (b *Backend) add(p *plan, c *projection.Change) error {
	coll, err := b.collectionOf(c.Model)
	if err != nil {
		return err
	}
	s := subject{model: c.Model, key: c.Key, partial: len(c.Updates) > 0}
	bad := func(err error) error { return &projection.DocumentError{Model: c.Model, Key: c.Key, Err: err} }
	switch {
	case !utf8.ValidString(c.Key):
		return bad(errors.New("its key is not valid UTF-8"))
	case c.IsDelete():
		p.remove(coll, s)
	case c.Data != nil:
		if err := checkData(c.Data); err != nil {
			return bad(err)
		}
		if p.inserts(c) {
			p.add(coll, s, c.Data)
		} else {
			p.put(coll, s, c.Data)
		}
	}
	for _, u := range c.Updates {
		v, err := b.encodeUpdate(c.Key, u)
		if err != nil {
			return bad(err)
		}
		p.update(coll, s, v)
	}
	return nil
}

// checkData refuses what the server would, without saying of which document.
func checkData(data []byte) error {
	if len(data) > projection.MaxDocumentSize {
		return &eventstore.TooLargeError{What: "document", Size: len(data), Limit: projection.MaxDocumentSize}
	}
	if err := bson.Raw(data).Validate(); err != nil {
		return fmt.Errorf("it is not BSON: %w", err)
	}
	if hasID(data) {
		return errors.New("it has a field _id, which is kept for the key")
	}
	return nil
}

// hasID reports whether a well-formed document has a field _id.
func hasID(doc []byte) bool {
	for rest := doc[4 : len(doc)-1]; len(rest) > 0; {
		elem, after, ok := bsoncore.ReadElement(rest)
		if !ok {
			return false
		}
		if string(elem.KeyBytes()) == "_id" {
			return true
		}
		rest = after
	}
	return false
}

// check finds what can be seen to be wrong with a commit from itself.
func check(c projection.Commit) error {
	if c.To < 0 {
		return invalid("commit's position", "is negative; 0 stands before the first event")
	}
	seen := make(map[subject]struct{}, len(c.Changes))
	for i := range c.Changes {
		change := &c.Changes[i]
		s := subject{model: change.Model, key: change.Key}
		if _, ok := seen[s]; ok {
			return invalid("commit", "has two changes of document %q of %s", s.key, s.model)
		}
		seen[s] = struct{}{}
		if change.Data != nil && len(change.Updates) > 0 {
			return invalid("commit", "has both data and updates for document %q of %s", s.key, s.model)
		}
	}
	return nil
}

// failedStatement returns the subject of the statement that made a command fail,
// with its error; false when the error is not one statement's.
func failedStatement(c *command, err error) (subject, mongo.WriteError, bool) {
	e, ok := errors.AsType[mongo.WriteException](err)
	if !ok || len(e.WriteErrors) == 0 || e.WriteErrors[0].Index >= len(c.subjects) {
		return subject{}, mongo.WriteError{}, false
	}
	return c.subjects[e.WriteErrors[0].Index], e.WriteErrors[0], true
}
