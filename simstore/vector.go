package simstore

import "sync/atomic"

const chunkLen = 256

// A vector only grows, one writer at a time, and never moves what it holds.
// Readers need no lock for elements that they know of from a lock or an atomic
// variable that the writer touched afterwards.
type vector[T any] struct {
	len    int // the writer's
	chunks atomic.Pointer[[]*[chunkLen]T]
}

// push appends an element and returns its index.
func (v *vector[T]) push(x T) uint32 {
	i := v.len
	if i%chunkLen == 0 {
		var chunks []*[chunkLen]T
		if p := v.chunks.Load(); p != nil {
			chunks = *p
		}
		chunks = append(chunks, new([chunkLen]T))
		v.chunks.Store(&chunks)
	}
	v.len++
	*v.at(uint32(i)) = x
	return uint32(i)
}

func (v *vector[T]) at(i uint32) *T {
	return &(*v.chunks.Load())[i/chunkLen][i%chunkLen]
}
