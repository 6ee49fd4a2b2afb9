package eventstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
)

type (
	placedV1 struct {
		Customer string `json:"customer"`
		Total    int    `json:"total"`
	}
	placedV2 struct {
		Customer string `json:"customer"`
		Cents    int    `json:"cents"`
	}
	placed struct {
		Customer string `json:"customer"`
		Cents    int    `json:"cents"`
		Currency string `json:"currency"`
	}
	shipped struct {
		At time.Time `json:"at"`
	}
	tags map[string]string
)

func upcastV1(v placedV1) (placedV2, error) {
	return placedV2{Customer: v.Customer, Cents: v.Total * 100}, nil
}

func upcastV2(v placedV2) (placed, error) {
	if v.Customer == "bad" {
		return placed{}, errors.New("cannot be upcast")
	}
	return placed{Customer: v.Customer, Cents: v.Cents, Currency: "EUR"}, nil
}

func placedType(opts ...eventstore.TypeOption) eventstore.TypeDef {
	return eventstore.Type[placed]("order.placed", append([]eventstore.TypeOption{
		eventstore.Schema(3), eventstore.Upcast(1, upcastV1), eventstore.Upcast(2, upcastV2), eventstore.Alias("order.created", "order.made"),
	}, opts...)...)
}

func stored(t testing.TB, typ eventstore.EventType, schema int, v any) eventstore.Event {
	t.Helper()
	data, err := eventstore.NewBSONCodec().Marshal(v)
	require.NoError(t, err)
	return eventstore.Event{ID: eventstore.NewEventID(), Stream: "order-1", Version: 7, Position: 9, Type: typ, Schema: schema, Data: data}
}

func TestRegistryEncodesAndDecodes(t *testing.T) {
	t.Parallel()
	for _, codec := range []eventstore.Codec{nil, eventstore.NewBSONCodec(), eventstore.NewJSONCodec()} {
		r, err := eventstore.NewRegistry(codec, placedType(), eventstore.Type[shipped]("order.shipped"), eventstore.Type[tags]("order.tagged"))
		require.NoError(t, err)
		at := time.Date(2024, 2, 29, 12, 0, 0, 123_000_000, time.UTC)
		values := []any{placed{"c", 100, "EUR"}, &shipped{at}, tags{"a": "b"}}
		events, err := r.Encode(values...)
		require.NoError(t, err)
		for i, want := range []any{placed{"c", 100, "EUR"}, shipped{at}, tags{"a": "b"}} {
			e := events[i]
			got, err := r.Decode(eventstore.Event{Type: e.Type, Schema: e.Schema, Format: e.Format, Data: e.Data})
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		require.Equal(t, eventstore.EventType("order.placed"), events[0].Type)
		require.Equal(t, []int{3, 1, 1}, []int{events[0].Schema, events[1].Schema, events[2].Schema})
	}
}

func TestRegistryDecodesOldSchemasAndNames(t *testing.T) {
	t.Parallel()
	r := eventstore.MustRegistry(placedType())
	for schema, v := range map[int]any{0: placedV1{"c", 5}, 1: placedV1{"c", 5}, 2: placedV2{"c", 500}, 3: placed{"c", 500, "EUR"}} {
		for _, name := range []eventstore.EventType{"order.placed", "order.created", "order.made"} {
			got, err := r.Decode(stored(t, name, schema, v))
			require.NoError(t, err)
			require.Equal(t, placed{"c", 500, "EUR"}, got)
		}
	}
	jsonEvent := stored(t, "order.placed", 1, placedV1{})
	jsonEvent.Format, jsonEvent.Data = eventstore.JSON, []byte(`{"customer":"c","total":5}`)
	got, err := r.Decode(jsonEvent)
	require.NoError(t, err)
	require.Equal(t, placed{"c", 500, "EUR"}, got)
}

// Steps of a chain need not have the type of the step before.
func TestRegistryRecodesBetweenSteps(t *testing.T) {
	t.Parallel()
	r := eventstore.MustRegistry(eventstore.Type[placed]("order.placed", eventstore.Schema(3),
		eventstore.Upcast(1, func(m map[string]any) (map[string]any, error) {
			return map[string]any{"customer": m["customer"], "cents": m["total"].(int32) * 100}, nil
		}),
		eventstore.Upcast(2, upcastV2),
	))
	got, err := r.Decode(stored(t, "order.placed", 1, placedV1{"c", 5}))
	require.NoError(t, err)
	require.Equal(t, placed{"c", 500, "EUR"}, got)
}

func TestRegistryRefusesToDecode(t *testing.T) {
	t.Parallel()
	r := eventstore.MustRegistry(placedType(eventstore.Oldest(1)), eventstore.Type[shipped]("order.shipped", eventstore.Schema(3), eventstore.Oldest(3)),
		eventstore.Type[tags]("order.tagged", eventstore.Schema(3),
			eventstore.Upcast(1, func(map[string]any) (chan int, error) { return nil, nil }),
			eventstore.Upcast(2, func(m map[string]any) (tags, error) { return nil, nil })))
	broken := stored(t, "order.placed", 3, placed{})
	broken.Data = []byte{1}
	unknownFormat := stored(t, "order.placed", 3, placed{})
	unknownFormat.Format = 9
	for text, e := range map[string]eventstore.Event{
		`event type "unknown" is not registered`:         stored(t, "unknown", 1, placed{}),
		"schema version 4 is newer than 3":               stored(t, "order.placed", 4, placed{}),
		"schema version 2 is older than 3":               stored(t, "order.shipped", 2, shipped{}),
		"upcast from schema version 2: cannot be upcast": stored(t, "order.placed", 1, placedV1{Customer: "bad"}),
		"not a BSON document":                            broken,
		"no codec for format Format(9)":                  unknownFormat,
		"decode order.tagged (schema 1)":                 stored(t, "order.tagged", 1, tags{}),
		"cannot decode":                                  stored(t, "order.placed", 3, map[string]any{"customer": 5}),
	} {
		v, err := r.Decode(e)
		require.Nil(t, v)
		require.ErrorContains(t, err, text)
		require.ErrorIs(t, err, eventstore.ErrUndecodable)
		var decodeError *eventstore.DecodeError
		require.ErrorAs(t, err, &decodeError)
		require.Equal(t, eventstore.EventRef{ID: e.ID, Stream: "order-1", Version: 7, Position: 9, Type: e.Type, Schema: e.Schema}, decodeError.Event)
		require.Equal(t, e.Type == "unknown", errors.Is(err, eventstore.ErrUnregistered))
	}
}

func TestRegistryRefusesToEncode(t *testing.T) {
	t.Parallel()
	type unencodable struct{ N uint64 }
	r := eventstore.MustRegistry(placedType(), eventstore.Type[unencodable]("order.broken"))
	for _, v := range []any{nil, 5, shipped{}, &shipped{}, (*placed)(nil), new(*placed)} {
		_, err := r.Encode(placed{}, v)
		require.ErrorIs(t, err, eventstore.ErrUnregistered, "%T", v)
		require.ErrorContains(t, err, "event 2 of 2")
	}
	_, err := r.Encode(unencodable{math.MaxUint64})
	require.ErrorContains(t, err, "order.broken as bson")
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	_, err = eventstore.NewJSONCodec().Marshal([]int{1})
	require.ErrorContains(t, err, "not an object")
	_, err = eventstore.NewJSONCodec().Marshal(make(chan int))
	var unsupported *json.UnsupportedTypeError
	require.ErrorAs(t, err, &unsupported)
}

func TestRegistryNamesMistakesAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := eventstore.NewRegistry(nil,
		placedType(),
		eventstore.Type[placedV1]("order.placed"),
		eventstore.Type[placed]("order.again"),
		eventstore.Type[placedV2]("$order"),
		eventstore.Type[int]("order.number"),
		eventstore.Type[map[int]string]("order.numbers"),
		eventstore.Type[struct{ A int }]("order.gap", eventstore.Schema(3), eventstore.Upcast(1, upcastV1)),
		eventstore.Type[struct{ B int }]("order.outside", eventstore.Upcast(1, upcastV1)),
		eventstore.Type[struct{ C int }]("order.end", eventstore.Schema(2), eventstore.Upcast(1, upcastV1)),
		eventstore.Type[struct{ D int }]("order.twice", eventstore.Schema(2), eventstore.Upcast(1, upcastV1), eventstore.Upcast(1, upcastV1)),
		eventstore.Type[struct{ E int }]("order.schema", eventstore.Schema(0)),
		eventstore.Type[struct{ F int }]("order.oldest", eventstore.Oldest(2)),
	)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	for _, text := range []string{
		"event type order.placed is declared for eventstore_test.placed and for eventstore_test.placedV1",
		"eventstore_test.placed is declared for order.placed and for order.again",
		`"$order" starts with $`,
		"int (event type order.number) does not encode as a document",
		"map[int]string (event type order.numbers)",
		"event type order.gap has schema version 3 and no upcaster from version 2 to 3",
		"event type order.outside has an upcaster from schema version 1",
		"event type order.end has a last upcaster that ends in eventstore_test.placedV2",
		"event type order.twice has two upcasters from schema version 1",
		"event type order.schema has schema version 0",
		"event type order.oldest has schema version 1 and oldest version 2",
	} {
		require.ErrorContains(t, err, text)
	}
	require.Panics(t, func() { eventstore.MustRegistry(eventstore.Type[int]("x")) })
}

func TestRegistryTellsNames(t *testing.T) {
	t.Parallel()
	r := eventstore.MustRegistry(placedType(), eventstore.Type[shipped]("order.shipped"), eventstore.Type[tags]("a"))
	require.Equal(t, []eventstore.EventType{"a", "order.placed", "order.shipped"}, r.Types())
	require.Equal(t, []eventstore.EventType{"order.placed", "order.created", "order.made"}, eventstore.Names[placed](r))
	require.Empty(t, eventstore.Names[int](r))
	name, ok := r.TypeOf(&placed{})
	require.True(t, ok)
	require.Equal(t, eventstore.EventType("order.placed"), name)
	_, ok = r.TypeOf(5)
	require.False(t, ok)
}

// FuzzRegistryDecode feeds the registry with whatever may be stored.
func FuzzRegistryDecode(f *testing.F) {
	r := eventstore.MustRegistry(placedType(), eventstore.Type[shipped]("order.shipped"), eventstore.Type[tags]("order.tagged"))
	f.Add("order.placed", 1, uint8(0), stored(f, "", 0, placedV1{"c", 5}).Data)
	f.Add("order.shipped", 1, uint8(0), stored(f, "", 0, shipped{time.Unix(1, 0)}).Data)
	f.Add("order.tagged", 1, uint8(1), []byte(`{"a":"b"}`))
	f.Fuzz(func(t *testing.T, typ string, schema int, format uint8, data []byte) {
		e := eventstore.Event{Type: eventstore.EventType(typ), Schema: schema, Format: eventstore.Format(format), Data: data}
		v, err := r.Decode(e)
		if err != nil {
			if !errors.Is(err, eventstore.ErrUndecodable) || v != nil {
				t.Fatalf("got %v and error %v", v, err)
			}
			return
		}
		// What was decoded can be stored again, and is the same then.
		again, err := r.Encode(v)
		if err != nil {
			t.Fatalf("encode %#v: %v", v, err)
		}
		w, err := r.Decode(eventstore.Event{Type: again[0].Type, Schema: again[0].Schema, Data: again[0].Data})
		if err != nil || fmt.Sprint(w) != fmt.Sprint(v) {
			t.Fatalf("%#v is %#v after a round trip, error %v", v, w, err)
		}
	})
}

func BenchmarkRegistry(b *testing.B) {
	r := eventstore.MustRegistry(placedType(), eventstore.Type[shipped]("order.shipped"))
	b.Run("Encode", func(b *testing.B) {
		b.ReportAllocs()
		var v any = placed{Customer: "customer-118", Cents: 12_900, Currency: "EUR"}
		for b.Loop() {
			if _, err := r.Encode(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, e := range map[string]eventstore.Event{
		"Decode":        stored(b, "order.placed", 3, placed{"customer-118", 12_900, "EUR"}),
		"DecodeUpcast2": stored(b, "order.placed", 1, placedV1{"customer-118", 129}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Decode(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
