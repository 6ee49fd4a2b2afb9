package simstore

import "github.com/annals-es/annals/eventstore"

// A streamTable finds streams by their names and the hashes of these. It is what
// an append waits for longest, as its streams are rarely in the processor's
// caches: a map of the language's takes twice as many steps, and hashes the name
// once more.
type streamTable struct {
	entries []streamEntry // a power of two, at least a quarter of them free
	len     int
}

type streamEntry struct {
	hash   uint64
	stream *stream // nil in a free entry
}

// find returns the stream of a name, or nil.
func (t *streamTable) find(hash uint64, name eventstore.StreamID) *stream {
	if t.len == 0 {
		return nil
	}
	for i := t.home(hash); ; i = t.after(i) {
		e := &t.entries[i]
		if e.stream == nil || e.hash == hash && e.stream.name == name {
			return e.stream
		}
	}
}

// add adds a stream that is not there.
func (t *streamTable) add(hash uint64, st *stream) {
	if 4*(t.len+1) > 3*len(t.entries) {
		t.grow()
	}
	t.len++
	t.put(streamEntry{hash: hash, stream: st})
}

func (t *streamTable) put(e streamEntry) {
	i := t.home(e.hash)
	for t.entries[i].stream != nil {
		i = t.after(i)
	}
	t.entries[i] = e
}

func (t *streamTable) grow() {
	old := t.entries
	t.entries = make([]streamEntry, max(2*len(old), 4))
	for _, e := range old {
		if e.stream != nil {
			t.put(e)
		}
	}
}

// home is where the search for a hash begins. The lowest bits chose the shard and
// are the same for all that is in it.
func (t *streamTable) home(hash uint64) uint64 {
	return hash / shardCount & uint64(len(t.entries)-1)
}

func (t *streamTable) after(i uint64) uint64 { return (i + 1) & uint64(len(t.entries)-1) }
