package aggregate

// A Root is embedded in a struct to make it an aggregate whose methods record
// events of type E:
//
//	type Order struct {
//		aggregate.Root[Event]
//		paid bool
//	}
//
//	func (o *Order) Apply(e Event) { ... }
//
//	func (o *Order) Pay() error {
//		if o.paid {
//			return ErrPaid
//		}
//		o.Record(Paid{})
//		return nil
//	}
//
// Only Apply changes the state; the other methods check and record. With
// snapshots the fields have to be exported, see [Config].StateCodec. A root is not
// safe for concurrent use.
type Root[E any] struct {
	apply    func(E)
	recorded []E
}

// Record applies events and keeps them to be appended. It panics on a root that
// was made by neither a [Repository] nor [NewRoot].
func (r *Root[E]) Record(events ...E) {
	if r.apply == nil {
		panic("aggregate: Record on a root that is not set up; make it with aggregate.NewRoot")
	}
	for _, e := range events {
		r.apply(e)
		r.recorded = append(r.recorded, e)
	}
}

// Recorded returns the events recorded and not yet appended.
func (r *Root[E]) Recorded() []E { return r.recorded }

func (r *Root[E]) root() *Root[E] { return r } //nolint:unused // called through Rooted

// A Rooted is a pointer to a struct that embeds [Root].
type Rooted[E any] interface {
	// Apply changes the state by an event. It must not fail.
	Apply(event E)
	root() *Root[E]
}

// NewRoot sets up a root for use without a repository, in a test say.
func NewRoot[R Rooted[E], E any](r R) R {
	*r.root() = Root[E]{apply: r.Apply}
	return r
}

// FromRoot makes a decider of a root: its state is the root and its commands are
// functions that call the root's methods. New returns an empty root.
func FromRoot[R Rooted[E], E any](newRoot func() R) Decider[R, func(R) error, E] {
	return Decider[R, func(R) error, E]{
		Initial: func() R { return NewRoot[R, E](newRoot()) },
		Decide: func(r R, command func(R) error) ([]E, error) {
			NewRoot[R, E](r)
			if err := command(r); err != nil {
				return nil, err
			}
			return r.root().recorded, nil
		},
		Evolve: func(r R, e E) R {
			r.Apply(e)
			return r
		},
		decideApplies: true,
		renew:         func(r R) { NewRoot[R, E](r) }, // a copy still records into its original
	}
}
