package storage

import (
	"context"
	"crypto/rand"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// catalog knows the collections by name.
type catalog struct {
	mu    sync.RWMutex
	dbs   map[string]map[string]*Collection
	uuids map[UUID]*Collection
}

func (k *catalog) init() {
	k.dbs = make(map[string]map[string]*Collection)
	k.uuids = make(map[UUID]*Collection)
}

// put enters a collection under its name; mu is held.
func (k *catalog) put(c *Collection) {
	ns := c.id.Namespace
	db := k.dbs[ns.DB]
	if db == nil {
		db = make(map[string]*Collection)
		k.dbs[ns.DB] = db
	}
	db[ns.Coll] = c
	k.uuids[c.uuid] = c
}

// take removes a collection; mu is held.
func (k *catalog) take(c *Collection) {
	ns := c.id.Namespace
	delete(k.dbs[ns.DB], ns.Coll)
	if len(k.dbs[ns.DB]) == 0 {
		delete(k.dbs, ns.DB)
	}
	delete(k.uuids, c.uuid)
}

func (k *catalog) get(ns Namespace) *Collection {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.dbs[ns.DB][ns.Coll]
}

// admits tells whether none of the names is taken; mu is held.
func (k *catalog) admits(created map[Namespace]*Collection) bool {
	for ns := range created {
		if k.dbs[ns.DB][ns.Coll] != nil {
			return false
		}
	}
	return true
}

func newUUID() (u UUID) {
	_, _ = rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// commitOp writes one operation that has been carried out, in a commit of its
// own.
func (e *Engine) commitOp(op Op) Timestamp {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	t := e.clock.next()
	e.oplog.append(Entry{Time: t, Op: op})
	e.clock.publish(t)
	return t
}

// Databases lists the databases by name.
func (e *Engine) Databases() []DatabaseInfo {
	e.catalog.mu.RLock()
	defer e.catalog.mu.RUnlock()
	var out []DatabaseInfo
	for name, colls := range e.catalog.dbs {
		info := DatabaseInfo{Name: name, Empty: true}
		for _, c := range colls {
			s := c.Stats()
			info.Size += s.Size + s.IndexSize
			info.Empty = info.Empty && s.Count == 0
		}
		out = append(out, info)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Collections lists a database's collections by name, those that tx has
// created included.
func (e *Engine) Collections(tx *Txn, db string) []*Collection {
	e.catalog.mu.RLock()
	defer e.catalog.mu.RUnlock()
	type named struct {
		name string
		c    *Collection
	}
	var all []named
	for name, c := range e.catalog.dbs[db] {
		all = append(all, named{name, c})
	}
	if tx != nil {
		tx.mu.Lock()
		for ns, c := range tx.created {
			if ns.DB == db {
				all = append(all, named{ns.Coll, c})
			}
		}
		tx.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name, b.name) })
	out := make([]*Collection, len(all))
	for i, n := range all {
		out[i] = n.c
	}
	return out
}

// Collection finds a collection; nil if there is none. In a transaction it
// fails when the collection cannot be used: SnapshotUnavailable (246) when it
// is younger than a point-in-time snapshot, LockTimeout (24) when it is being
// dropped or indexed.
func (e *Engine) Collection(tx *Txn, ns Namespace) (*Collection, error) {
	if tx != nil {
		if c := tx.own(ns); c != nil {
			return c, nil
		}
	}
	c := e.catalog.get(ns)
	if c == nil || tx == nil {
		return c, nil
	}
	if err := tx.use(c); err != nil {
		if c.dropped.Load() {
			return nil, nil
		}
		return nil, err
	}
	return c, nil
}

// own finds a collection that the transaction has created.
func (tx *Txn) own(ns Namespace) *Collection {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.created[ns]
}

// CollectionByUUID finds a collection under whatever name it has now; nil if
// there is none.
func (e *Engine) CollectionByUUID(id UUID) *Collection {
	e.catalog.mu.RLock()
	defer e.catalog.mu.RUnlock()
	return e.catalog.uuids[id]
}

// Create makes a collection; NamespaceExists (48) if there is one. Created in
// a transaction, it is visible to that alone until the commit.
func (e *Engine) Create(_ context.Context, tx *Txn, ns Namespace, opts CollectionOptions) (*Collection, error) {
	if len(ns.DB)+1+len(ns.Coll) > maxNamespace {
		return nil, mongoerr.New(4862100, "Fully qualified namespace is too long. Namespace: %s Max: %d", ns, maxNamespace)
	}
	if opts.Capped {
		opts.Size = (opts.Size + 255) / 256 * 256
	}
	c, err := newCollection(e, CollectionID{Namespace: ns, UUID: newUUID()}, opts)
	if err != nil {
		return nil, err
	}
	exists := mongoerr.New(mongoerr.NamespaceExists, "Collection already exists. NS: %s", ns)
	if tx != nil {
		if e.catalog.get(ns) != nil || tx.own(ns) != nil {
			return nil, exists
		}
		return c, tx.create(c)
	}
	e.catalog.mu.Lock()
	defer e.catalog.mu.Unlock()
	if e.catalog.dbs[ns.DB][ns.Coll] != nil {
		return nil, exists
	}
	if err := e.catalog.differsInCase(ns.DB); err != nil {
		return nil, err
	}
	e.catalog.put(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = e.commitOp(Op{Kind: OpCreate, Coll: c.id})
	return c, nil
}

// maxNamespace is how long a database's and a collection's name may be together, with the dot.
const maxNamespace = 255

// differsInCase refuses a database whose name differs from that of another one in upper and lower case only.
func (k *catalog) differsInCase(db string) error {
	if k.dbs[db] != nil {
		return nil
	}
	for other := range k.dbs {
		if strings.EqualFold(other, db) {
			return mongoerr.New(mongoerr.DatabaseDifferCase, "db already exists with different case already have: [%s] trying to create [%s]", other, db)
		}
	}
	return nil
}

// create keeps a new collection within the transaction.
func (tx *Txn) create(c *Collection) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state != txnOpen {
		return errAborted()
	}
	if tx.created == nil {
		tx.created = make(map[Namespace]*Collection)
	}
	if tx.used == nil {
		tx.used = make(map[*Collection]struct{})
	}
	c.creator = tx
	c.users = map[*Txn]struct{}{tx: {}}
	tx.used[c] = struct{}{}
	tx.created[c.id.Namespace] = c
	tx.ops = append(tx.ops, Op{Kind: OpCreate, Coll: c.id})
	return nil
}

// Ensure finds a collection or makes one without options.
func (e *Engine) Ensure(ctx context.Context, tx *Txn, ns Namespace) (c *Collection, created bool, err error) {
	for {
		c, err = e.Collection(tx, ns)
		if c != nil || err != nil {
			return c, false, err
		}
		c, err = e.Create(ctx, tx, ns, CollectionOptions{})
		if mongoerr.CodeOf(err) != mongoerr.NamespaceExists {
			return c, err == nil, err
		}
	}
}

// Drop removes a collection once no open transaction uses it, and returns how
// many indexes it had. NamespaceNotFound (26) "ns not found" if there is none.
func (e *Engine) Drop(ctx context.Context, ns Namespace) (indexes int, err error) {
	gone := mongoerr.New(mongoerr.NamespaceNotFound, "ns not found")
	c := e.catalog.get(ns)
	if c == nil {
		return 0, gone
	}
	done, err := e.alone(ctx, c)
	if err != nil {
		if c.dropped.Load() {
			return 0, gone
		}
		return 0, err
	}
	defer done()
	if c.id.Namespace != ns {
		return 0, gone // renamed meanwhile
	}
	return e.drop(c), nil
}

// drop empties and removes c; the catalog's and c's locks are held.
func (e *Engine) drop(c *Collection) (indexes int) {
	e.catalog.take(c)
	e.commitOp(Op{Kind: OpDrop, Coll: c.id})
	indexes = len(c.indexes)
	c.dropped.Store(true)
	c.rows, c.stale, c.count, c.size = records{}, nil, 0, 0
	c.indexes = []*index{newIDIndex()}
	return indexes
}

// alone locks the catalog and then c, once no open transaction uses c.
func (e *Engine) alone(ctx context.Context, c *Collection) (unlock func(), err error) {
	c.mu.Lock()
	c.pending++
	c.mu.Unlock()
	defer func() {
		if err != nil {
			c.mu.Lock()
			c.pending--
			c.mu.Unlock()
		}
	}()
	for {
		release, err := c.exclusive(ctx, nil)
		if err != nil {
			return nil, err
		}
		release()
		// The catalog's lock comes before the collection's. In between nobody
		// can start to use the collection, as pending is raised.
		e.catalog.mu.Lock()
		c.mu.Lock()
		if c.dropped.Load() {
			c.mu.Unlock()
			e.catalog.mu.Unlock()
			continue // exclusive says so
		}
		return func() {
			c.pending--
			c.mu.Unlock()
			e.catalog.mu.Unlock()
		}, nil
	}
}

// DropDatabase drops all collections of a database and then the database.
// Dropping what does not exist is no error and leaves no trace.
func (e *Engine) DropDatabase(ctx context.Context, db string) (existed bool, err error) {
	for {
		colls := e.Collections(nil, db)
		if len(colls) == 0 {
			break
		}
		existed = true
		for _, c := range colls {
			if _, err := e.Drop(ctx, c.Namespace()); err != nil && mongoerr.CodeOf(err) != mongoerr.NamespaceNotFound {
				return existed, err
			}
		}
	}
	if existed {
		e.commitOp(Op{Kind: OpDropDatabase, Coll: &CollectionID{Namespace: Namespace{DB: db}}})
	}
	return existed, nil
}

// Rename gives a collection another name, once no open transaction uses it.
// NamespaceNotFound (26) if there is none, NamespaceExists (48) if the target
// exists and is not to be dropped.
func (e *Engine) Rename(ctx context.Context, from, to Namespace, dropTarget bool) error {
	missing := mongoerr.New(mongoerr.NamespaceNotFound, "Source collection %s does not exist", from)
	for {
		c, target := e.catalog.get(from), e.catalog.get(to)
		switch {
		case c == nil:
			return missing
		case from == to:
			return mongoerr.New(mongoerr.IllegalOperation, "Can't rename a collection to itself")
		case target != nil && !dropTarget:
			return mongoerr.New(mongoerr.NamespaceExists, "target namespace exists")
		}
		if target != nil {
			// Nobody may use the target either. New users are not kept out while
			// the source is waited for, hence the check below.
			release, err := target.exclusive(ctx, nil)
			switch {
			case err == nil:
				release()
			case !target.dropped.Load():
				return err
			}
		}
		done, err := e.alone(ctx, c)
		if err != nil {
			if c.dropped.Load() {
				return missing
			}
			return err
		}
		if e.catalog.dbs[to.DB][to.Coll] != target || c.id.Namespace != from {
			done()
			continue
		}
		if target != nil {
			target.mu.Lock()
			if len(target.users) > 0 {
				target.mu.Unlock()
				done()
				continue
			}
		}
		e.rename(c, target, to)
		if target != nil {
			target.mu.Unlock()
		}
		done()
		return nil
	}
}

// rename does it; the catalog's and both collections' locks are held.
func (e *Engine) rename(c, target *Collection, to Namespace) {
	op := Op{Kind: OpRename, Coll: c.id, To: &CollectionID{Namespace: to, UUID: c.uuid}}
	if target != nil {
		op.Dropped = target.id
		e.catalog.take(target)
		target.dropped.Store(true)
		target.rows, target.stale, target.count, target.size = records{}, nil, 0, 0
	}
	e.catalog.take(c)
	old := c.id
	c.id = op.To
	e.catalog.put(c)
	op.Coll = old
	c.since = e.commitOp(op)
	c.renamed = "collection renamed from '" + old.Namespace.String() + "' to '" + to.String() + "'. UUID " + c.uuid.String()
	c.renames.Add(1)
}
