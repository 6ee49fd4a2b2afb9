package eventstoretest

import (
	"math"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
)

func eventTests() []test {
	return []test{
		{"KeepsEverything", testKeepsEverything},
		{"FillsInWhatIsLeftOut", func(f *fixture) {
			before := time.Now().Add(-time.Hour)
			f.append("order-1", eventstore.NoStream, f.event(0))
			e := f.read("order-1", eventstore.StreamQuery{})[0]
			f.same("schema version", e.Schema, 1)
			f.same("format", e.Format, eventstore.BSON)
			f.same("metadata", e.Metadata.IsZero(), true)
			if e.Time.IsZero() || (e.Time.Year() > 2001 && e.Time.Before(before)) { // the clock may be virtual
				f.Fatalf("the time of an event without one is %s", e.Time)
			}
		}},
		{"TimeIsUTCInMilliseconds", func(f *fixture) {
			zone := time.FixedZone("somewhere", 5*3600+1800)
			for _, at := range []time.Time{
				time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, zone), time.Unix(0, 0), time.Unix(0, 1), time.Unix(0, -1),
				time.Date(1969, 7, 20, 20, 17, 40, 123_456_789, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1_000_000, time.UTC),
				time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
			} {
				stream := eventstore.NewStreamID("time", at.UTC().Format(time.RFC3339Nano))
				e := f.event(0)
				e.Time = at
				f.append(stream, eventstore.NoStream, e)
				f.same("time", f.read(stream, eventstore.StreamQuery{})[0].Time, time.UnixMilli(at.UnixMilli()).UTC())
			}
		}},
		{"MetadataComesFromTheContext", testMetadataFromContext},
		{"FormatsAndData", testFormats},
		{"SchemaVersion", func(f *fixture) {
			for _, schema := range []int{1, 2, 77, math.MaxInt32} {
				e := f.event(0)
				e.Schema = schema
				f.append("order-1", eventstore.Any, e)
			}
			for i, e := range f.read("order-1", eventstore.StreamQuery{}) {
				f.same("schema version", e.Schema, []int{1, 2, 77, math.MaxInt32}[i])
			}
		}},
	}
}

func testKeepsEverything(f *fixture) {
	full := eventstore.EventData{
		ID: eventstore.NewEventID(), Type: "order.placed", Schema: 3, Data: f.encode(payload{N: 1, Text: "x"}),
		Metadata: eventstore.Metadata{
			CorrelationID: "correlation", CausationID: "causation", Tenant: "tenant",
			TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "vendor=value",
			Custom: map[string]string{"key": "value", "dotted.key": "a.b", "spaced key": "", "ключ": "значение", "quote\"": "\x01\n", "a$": "$"},
		},
		Time: time.Date(2024, 2, 29, 12, 30, 0, 123_000_000, time.UTC),
	}
	odd := full
	odd.ID = eventstore.EventID{0xff, 15: 1} // any id may be given, not only a UUIDv7
	odd.Metadata = eventstore.Metadata{Tenant: "only a tenant"}
	for _, batch := range [][]eventstore.EventData{{full}, {odd}, {withNewID(full), withNewID(odd)}} {
		stream := eventstore.NewStreamID("order", batch[0].ID.String())
		res := f.append(stream, eventstore.NoStream, batch...)
		log := f.log(res, eventstore.LogQuery{After: f.await(res) - eventstore.Position(len(batch))})
		for source, got := range map[string][]eventstore.Event{"the stream": f.read(stream, eventstore.StreamQuery{}), "the log": log} {
			f.same("events in "+source, len(got), len(batch))
			for i, d := range batch {
				want := eventstore.Event{
					ID: d.ID, Stream: stream, Version: eventstore.Version(i + 1), Type: d.Type, Schema: d.Schema, Format: d.Format,
					Data: d.Data, Metadata: d.Metadata, Time: d.Time,
				}
				if !got[i].Equal(want) {
					f.Fatalf("an event in %s:\n\tgot  %+v\n\twant %+v", source, got[i], want)
				}
			}
		}
	}
}

func withNewID(e eventstore.EventData) eventstore.EventData {
	e.ID = eventstore.NewEventID()
	return e
}

func testMetadataFromContext(f *fixture) {
	cause := eventstore.Event{ID: eventstore.NewEventID(), Metadata: eventstore.Metadata{Tenant: "tenant", TraceParent: "parent", TraceState: "state"}}
	ctx := eventstore.CausedBy(f.ctx(), cause)
	ctx = eventstore.WithMetadata(ctx, eventstore.Metadata{Custom: map[string]string{"user": "u1", "role": "r1"}})
	plain, own := f.event(0), f.event(1)
	own.Metadata = eventstore.Metadata{CorrelationID: "own", TraceParent: "own parent", Custom: map[string]string{"user": "own"}}
	_, err := eventstore.Append(ctx, f, "order-1", eventstore.NoStream, plain, own)
	f.ok("append", err)
	got := f.read("order-1", eventstore.StreamQuery{})
	id := cause.ID.String()
	f.same("metadata of an event without any", got[0].Metadata, eventstore.Metadata{
		CorrelationID: id, CausationID: id, Tenant: "tenant", TraceParent: "parent", TraceState: "state",
		Custom: map[string]string{"user": "u1", "role": "r1"},
	})
	f.same("metadata of an event with its own", got[1].Metadata, eventstore.Metadata{
		CorrelationID: "own", CausationID: id, Tenant: "tenant", TraceParent: "own parent",
		Custom: map[string]string{"user": "own", "role": "r1"},
	})
	if own.Metadata.Tenant != "" || len(own.Metadata.Custom) != 1 {
		f.Fatalf("Append changed what the caller passed: %+v", own.Metadata)
	}
}

// testFormats checks that data comes back byte by byte.
func testFormats(f *fixture) {
	type deep struct {
		Deep *deep             `json:"deep,omitempty"`
		List []any             `json:"list"`
		Map  map[string]string `json:"map"`
		N    int64             `json:"n"`
		F    float64           `json:"f"`
		At   time.Time         `json:"at"`
		Blob []byte            `json:"blob"`
		ID   string            `json:"_id"`
		Odd  string            `json:"a.b"`
	}
	value := deep{
		Deep: &deep{N: math.MinInt64, F: math.Inf(-1)}, List: []any{nil, true, "x", 1.5, map[string]any{"_id": "inner"}, []any{}},
		Map: map[string]string{"": "empty", "$dollar": "x", "key.with.dots": "y", "ü": "z"}, N: math.MaxInt64, F: math.Copysign(0, -1),
		At: time.Unix(1, 0), Blob: []byte{0, 1, 0xff}, ID: "not the document's", Odd: "x",
	}
	events := []eventstore.EventData{
		{Data: f.encode(value)},
		{Data: []byte{5, 0, 0, 0, 0}},
		{Data: f.encode(payload{Text: strings.Repeat("long ", 20_000)})},
		{Format: eventstore.JSON, Data: []byte(`{"b":1,"a":[1.0,1e400,"\u0000 ü"],"a":"twice"}`)},
		{Format: eventstore.JSON, Data: []byte(" {\n} ")},
	}
	for i := range events {
		events[i].Type = "test.data"
		f.append("order-1", eventstore.Any, events[i])
	}
	f.append("order-2", eventstore.Any, events...)
	for _, stream := range []eventstore.StreamID{"order-1", "order-2"} {
		for i, e := range f.read(stream, eventstore.StreamQuery{}) {
			f.same("format", e.Format, events[i].Format)
			if string(e.Data) != string(events[i].Data) {
				f.Fatalf("data of event %d:\n\tgot  %q\n\twant %q", i, e.Data, events[i].Data)
			}
		}
	}
}
