package eventstore

import (
	"context"
	"maps"
)

// Metadata is what is kept with an event besides its data. Every field is
// optional.
type Metadata struct {
	// CorrelationID is shared by everything that one request or process set
	// off.
	CorrelationID string
	// CausationID is the id of the event or command that this event follows
	// from directly.
	CausationID string
	// Tenant is the customer or unit that the event belongs to.
	Tenant string
	// TraceParent and TraceState are the W3C trace context of the append
	// (https://www.w3.org/TR/trace-context/), as in the headers of these names.
	TraceParent string
	TraceState  string
	// Custom holds free fields. Keys are not empty, hold no NUL and do not
	// start with "$".
	Custom map[string]string
}

// IsZero reports whether no field is set.
func (m Metadata) IsZero() bool {
	return m.CorrelationID == "" && m.CausationID == "" && m.Tenant == "" &&
		m.TraceParent == "" && m.TraceState == "" && len(m.Custom) == 0
}

// Equal reports whether two sets of metadata are the same. A nil and an empty
// Custom are.
func (m Metadata) Equal(o Metadata) bool {
	return m.CorrelationID == o.CorrelationID && m.CausationID == o.CausationID &&
		m.Tenant == o.Tenant && m.TraceParent == o.TraceParent && m.TraceState == o.TraceState &&
		maps.Equal(m.Custom, o.Custom)
}

// Or returns m with its empty fields filled from fallback. Custom fields are
// united, those of m winning. The result shares no map with m or fallback.
func (m Metadata) Or(fallback Metadata) Metadata {
	m.CorrelationID = or(m.CorrelationID, fallback.CorrelationID)
	m.CausationID = or(m.CausationID, fallback.CausationID)
	m.Tenant = or(m.Tenant, fallback.Tenant)
	if m.TraceParent == "" {
		// The two trace fields are one value and are taken together.
		m.TraceParent, m.TraceState = fallback.TraceParent, fallback.TraceState
	}
	if len(m.Custom)+len(fallback.Custom) == 0 {
		m.Custom = nil
		return m
	}
	custom := make(map[string]string, len(m.Custom)+len(fallback.Custom))
	maps.Copy(custom, fallback.Custom)
	maps.Copy(custom, m.Custom)
	m.Custom = custom
	return m
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (m Metadata) validate() error {
	for key := range m.Custom {
		if err := validateName("metadata key", key); err != nil {
			return err
		}
	}
	return nil
}

type metadataKey struct{}

// WithMetadata returns a context whose appends carry m, in the fields that an
// event leaves empty. Fields that m leaves empty keep the value that ctx had.
func WithMetadata(ctx context.Context, m Metadata) context.Context {
	m = m.Or(MetadataFrom(ctx))
	return context.WithValue(ctx, metadataKey{}, &m)
}

// MetadataFrom returns what [WithMetadata] and [CausedBy] put into ctx. The
// result's Custom must not be changed.
func MetadataFrom(ctx context.Context) Metadata {
	if m := metadataFrom(ctx); m != nil {
		return *m
	}
	return Metadata{}
}

// metadataFrom returns what is in ctx, or nil. It must not be changed.
func metadataFrom(ctx context.Context) *Metadata {
	m, _ := ctx.Value(metadataKey{}).(*Metadata)
	return m
}

// CausedBy returns a context for handling e: what is appended with it has e as
// its cause, belongs to e's correlation (e's own id when e has none) and tenant,
// and continues e's trace. Custom fields are not handed on.
func CausedBy(ctx context.Context, e Event) context.Context {
	m := Metadata{
		CorrelationID: or(e.Metadata.CorrelationID, e.ID.String()),
		CausationID:   e.ID.String(),
		Tenant:        e.Metadata.Tenant,
		TraceParent:   e.Metadata.TraceParent,
		TraceState:    e.Metadata.TraceState,
	}
	return WithMetadata(ctx, m)
}
