package simstore

import "sync/atomic"

const chunkLen = 256

// A vector only grows, one writer at a time, and never moves what it holds.
// Readers need no lock for elements that they know of from a lock or an atomic
// variable that the writer touched afterwards.
type vector[T any] struct {
	len    int          // the writer's
	last   *[chunkLen]T // the writer's
	chunks atomic.Pointer[[]*[chunkLen]T]
}

// push appends an element and returns its index.
func (v *vector[T]) push(x T) uint32 {
	*v.next() = x
	return uint32(v.len - 1)
}

// next returns a new last element to be filled.
func (v *vector[T]) next() *T {
	i := v.len % chunkLen
	if i == 0 {
		v.grow()
	}
	v.len++
	return &v.last[i]
}

func (v *vector[T]) grow() {
	var chunks []*[chunkLen]T
	if p := v.chunks.Load(); p != nil {
		chunks = *p
	}
	v.last = new([chunkLen]T)
	chunks = append(chunks, v.last)
	v.chunks.Store(&chunks)
}

func (v *vector[T]) at(i uint32) *T {
	return &(*v.chunks.Load())[i/chunkLen][i%chunkLen]
}
