package process

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// A Command is what a process manager wants done.
type Command struct {
	// ID is the same whenever the command is sent again, also after a crash, a
	// reset or by a new version of the manager: it follows from the manager's
	// name, the key, what set the command off and its number among what that
	// did. As the id of an append it makes carrying the command out idempotent.
	ID eventstore.AppendID
	// Key is the correlation key of the process.
	Key string
	// Payload is the command itself.
	Payload any
	// Position is how far the log was handled when the command was set off: the
	// position of its event.
	Position eventstore.Position
}

// commandDoc is a command in the outbox, under a key that sorts by the order of
// sending.
type commandDoc struct {
	ID       string               `json:"id"`
	Key      string               `json:"key"`
	Type     eventstore.EventType `json:"type"`
	Schema   int                  `json:"schema"`
	Format   int                  `json:"format"`
	Data     []byte               `json:"data"`
	Position int64                `json:"position"`
	Cause    causeDoc             `json:"cause"`
	// Reason says why the command was rejected.
	Reason string `json:"reason,omitempty"`
}

type causeDoc struct {
	Correlation string `json:"correlation,omitempty"`
	Causation   string `json:"causation,omitempty"`
	Tenant      string `json:"tenant,omitempty"`
	TraceParent string `json:"trace_parent,omitempty"`
	TraceState  string `json:"trace_state,omitempty"`
}

// causeOf is the metadata of what follows from an event.
func causeOf(ctx context.Context, e eventstore.Event) eventstore.Metadata {
	return eventstore.MetadataFrom(eventstore.CausedBy(ctx, e))
}

// post puts a command into the outbox.
func (m *Manager[S]) post(w *projection.Work, key string, src source, index int, command any) error {
	data, err := m.Commands.Encode(command)
	if err != nil {
		return projection.Permanent(fmt.Errorf("command %d: %w", index+1, err))
	}
	d := data[0]
	return w.PutIn(outboxModel, outboxKey(src, index, key), commandDoc{
		ID:       commandID(m.Name, key, src, index).String(),
		Key:      key,
		Type:     d.Type,
		Schema:   d.Schema,
		Format:   int(d.Format),
		Data:     d.Data,
		Position: int64(src.position),
		Cause: causeDoc{
			Correlation: src.cause.CorrelationID,
			Causation:   src.cause.CausationID,
			Tenant:      src.cause.Tenant,
			TraceParent: src.cause.TraceParent,
			TraceState:  src.cause.TraceState,
		},
	})
}

// outboxKey sorts commands of one process in the order in which they were set
// off: by position, those of events first, then timers and rejections.
func outboxKey(src source, index int, key string) string {
	return fmt.Sprintf("%019d/%s/%06d/%s", src.position, src.name, index, key)
}

// commandID derives a command's id. Those of timers do not depend on how far the
// log was handled when they ran out.
func commandID(manager, key string, src source, index int) eventstore.AppendID {
	h := sha256.New()
	position := uint64(src.position)
	if src.name != "event" {
		position = 0
	}
	for _, part := range []string{manager, key, src.name} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, position))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(index)))
	id := eventstore.AppendID(h.Sum(nil)[:16])
	id[6] = id[6]&0x0f | 0x80 // version 8, RFC 9562
	id[8] = id[8]&0x3f | 0x80
	return id
}

// command decodes a command from the outbox.
func (d commandDoc) command(r *eventstore.Registry) (Command, error) {
	payload, err := r.Decode(eventstore.Event{Type: d.Type, Schema: d.Schema, Format: eventstore.Format(d.Format), Data: d.Data})
	if err != nil {
		return Command{}, err
	}
	c := Command{Key: d.Key, Payload: payload, Position: eventstore.Position(d.Position)}
	return c, c.ID.UnmarshalText([]byte(d.ID))
}

// context carries the command's cause.
func (d commandDoc) context(ctx context.Context) context.Context {
	return eventstore.WithMetadata(ctx, eventstore.Metadata{
		CorrelationID: d.Cause.Correlation,
		CausationID:   d.Cause.Causation,
		Tenant:        d.Cause.Tenant,
		TraceParent:   d.Cause.TraceParent,
		TraceState:    d.Cause.TraceState,
	})
}

// A Rejection is a command that was rejected and is kept aside.
type Rejection struct {
	Command Command
	Reason  string
}

// Rejected lists the rejected commands of a manager's current version, the oldest
// first, at most limit of them (all when zero).
func Rejected[S any](ctx context.Context, m Manager[S], docs projection.DocumentStore, resolver *projection.Resolver, limit int) ([]Rejection, error) {
	model, _, err := resolver.Model(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	found, err := docs.ScanDocuments(ctx, model+rejectedModel, "", "", limit)
	if err != nil {
		return nil, fmt.Errorf("list rejected commands of %s: %w", m.Name, err)
	}
	rejections := make([]Rejection, len(found))
	for i, f := range found {
		var d commandDoc
		err := m.codec().Unmarshal(f.Data, &d)
		if err == nil {
			rejections[i].Command, err = d.command(m.Commands)
		}
		if err != nil {
			return nil, fmt.Errorf("rejected command %q of %s: %w", f.Key, m.Name, err)
		}
		rejections[i].Reason = d.Reason
	}
	return rejections, nil
}

func (m *Manager[S]) codec() eventstore.Codec { return cmp.Or(m.Codec, eventstore.NewBSONCodec()) }
