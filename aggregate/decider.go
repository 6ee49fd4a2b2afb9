package aggregate

// A Decider is an aggregate as three functions. S is the state, C the commands
// and E the events, the latter two usually interfaces that the concrete types
// implement.
type Decider[S, C, E any] struct {
	// Initial returns the state of a stream without events. Nil stands for the
	// zero value.
	Initial func() S
	// Decide returns the events that a command leads to, none when there is
	// nothing to do, or an error that says why the command is rejected. It must
	// not change the state and is run again when somebody else was faster: no
	// side effects.
	Decide func(state S, command C) ([]E, error)
	// Evolve returns the state after an event. It must not fail: what has
	// happened has happened. It may change state in place and return it.
	Evolve func(state S, event E) S

	// decideApplies: Decide leaves the events applied to the state, as roots do.
	decideApplies bool
	// renew makes a copy of a state independent of what it was copied from, where
	// Config.Clone cannot; nil where it can.
	renew func(S)
}

// Fold returns the state after events.
func (d Decider[S, C, E]) Fold(state S, events ...E) S {
	for _, e := range events {
		state = d.Evolve(state, e)
	}
	return state
}

func (d Decider[S, C, E]) initial() S {
	if d.Initial == nil {
		var zero S
		return zero
	}
	return d.Initial()
}

// Start returns the initial state folded with events.
func (d Decider[S, C, E]) Start(events ...E) S { return d.Fold(d.initial(), events...) }
