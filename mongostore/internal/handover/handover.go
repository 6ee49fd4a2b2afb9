// Package handover counts who uses a client of the driver, so that another one
// can take its place and it can be disconnected when nobody is left.
package handover

import "sync"

// A Use is the time that something is used for. The zero value is in use; it is
// safe for concurrent use and not copied.
type Use struct {
	mu      sync.Mutex
	users   int
	retired bool
	moved   chan struct{} // closed when it is retired
	drained chan struct{} // closed when nobody is left besides
}

// Enter counts a user, who calls Leave. It reports false, and counts none, after
// Retire.
func (u *Use) Enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.retired {
		return false
	}
	u.users++
	return true
}

// MustEnter counts a user also after Retire: one that is bound to it.
func (u *Use) MustEnter() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users++
}

// Leave ends what Enter or MustEnter has begun.
func (u *Use) Leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users--
	u.settle()
}

// Retire ends it for new users and returns a channel that is closed when the
// last one has left.
func (u *Use) Retire() (drained <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.make()
	if !u.retired {
		u.retired = true
		close(u.moved)
	}
	u.settle()
	return u.drained
}

// Retired reports whether Retire was called.
func (u *Use) Retired() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.retired
}

// Moved is closed when Retire is called.
func (u *Use) Moved() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.make()
	return u.moved
}

// make makes the channels. mu is held, as it is in settle.
func (u *Use) make() {
	if u.moved == nil {
		u.moved, u.drained = make(chan struct{}), make(chan struct{})
	}
}

func (u *Use) settle() {
	if !u.retired || u.users > 0 {
		return
	}
	select {
	case <-u.drained:
	default:
		close(u.drained)
	}
}

// Nothing returns a closed channel: there is nobody to wait for.
func Nothing() <-chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}
