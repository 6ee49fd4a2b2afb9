package eventstoretest

import (
	"fmt"

	"github.com/annals-es/annals/eventstore"
)

func limitTests() []test {
	return []test{
		{"EventOfTheGreatestSize", func(f *fixture) {
			e := f.eventOfSize(eventstore.MaxEventSize)
			res := f.append("order-1", eventstore.NoStream, e)
			got := f.read("order-1", eventstore.StreamQuery{})
			if len(got) != 1 || string(got[0].Data) != string(e.Data) {
				f.Fatalf("an event of %d bytes came back as %d events", len(e.Data), len(got))
			}
			log := f.log(res, eventstore.LogQuery{})
			if len(log) != 1 || string(log[0].Data) != string(e.Data) {
				f.Fatalf("an event of %d bytes came back from the log as %d events", len(e.Data), len(log))
			}
		}},
		{"EventOverTheGreatestSize", func(f *fixture) {
			e := f.eventOfSize(eventstore.MaxEventSize + 1)
			_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.NoStream, e)
			f.refused("append of too large an event", err, eventstore.ErrTooLarge)
			small := f.event(0)
			small.Metadata.Custom = map[string]string{"key": string(make([]byte, eventstore.MaxEventSize))}
			_, err = eventstore.Append(f.ctx(), f, "order-1", eventstore.NoStream, f.event(0), small)
			f.refused("append of an event with too large metadata", err, eventstore.ErrTooLarge)
			f.same("events", len(f.read("order-1", eventstore.StreamQuery{})), 0)
			f.logCount(0)
		}},
		{"AppendOverTheGreatestSize", func(f *fixture) {
			big := f.eventOfSize(eventstore.MaxAppendSize/4 + 1)
			_, err := f.Append(f.ctx(), request(part("order-1", eventstore.NoStream, big, big), part("order-2", eventstore.NoStream, big, big)))
			f.refused("append that is too large as a whole", err, eventstore.ErrTooLarge)
			f.same("events", len(f.read("order-1", eventstore.StreamQuery{})), 0)
			f.logCount(0)
		}},
		{"MostEventsOfAnAppend", func(f *fixture) {
			const n = eventstore.MaxAppendEvents
			events := f.events(n + 1)
			_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.NoStream, events...)
			f.refused(fmt.Sprintf("append of %d events", n+1), err, eventstore.ErrTooLarge)
			res := f.append("order-1", eventstore.NoStream, events[:n]...)
			f.same("result", res.Streams, []eventstore.StreamResult{{Stream: "order-1", First: 1, Last: n}})
			f.same("position", f.await(res), eventstore.Position(n))
			f.holds("order-1", n-1, events[n-2:n]...)
			f.logCount(n)
		}},
		{"TooManyStreams", func(f *fixture) {
			var parts []eventstore.StreamAppend
			for i := range eventstore.MaxAppendStreams + 1 {
				parts = append(parts, part(eventstore.NewStreamID("order", fmt.Sprint(i)), eventstore.Any, f.event(i)))
			}
			_, err := f.Append(f.ctx(), request(parts...))
			f.refused("append to too many streams", err, eventstore.ErrTooLarge)
			f.logCount(0)
		}},
	}
}

// eventOfSize returns an event of a size in bytes, names included.
func (f *fixture) eventOfSize(size int) eventstore.EventData {
	const typ = "test.large"
	empty := len(f.encode(payload{}))
	return eventstore.EventData{Type: typ, Data: f.encode(payload{Text: string(make([]byte, size-empty-len(typ)))})}
}
