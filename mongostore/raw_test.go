package mongostore

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/eventstore"
)

func text(t *rapid.T, label string) string {
	return rapid.StringN(0, 20, 60).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }).Draw(t, label)
}

func name(t *rapid.T, label string) string {
	return "n" + text(t, label)
}

// An event read is the event written, and the document is what the driver makes
// of the same fields.
func TestEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data, err := bson.Marshal(bson.D{{Key: name(t, "key"), Value: text(t, "value")}, {Key: "n", Value: rapid.Int64().Draw(t, "n")}})
		require.NoError(t, err)
		e := eventstore.EventData{
			ID: uuid.New(), Type: eventstore.EventType(name(t, "type")), Schema: rapid.IntRange(1, 9).Draw(t, "schema"), Data: data,
			Time: time.UnixMilli(rapid.Int64Range(-1<<40, 1<<42).Draw(t, "time")).UTC(),
			Metadata: eventstore.Metadata{
				CorrelationID: text(t, "correlation"), CausationID: text(t, "causation"), Tenant: text(t, "tenant"),
				TraceParent: text(t, "traceparent"), TraceState: text(t, "tracestate"),
			},
		}
		if rapid.Bool().Draw(t, "json") {
			e.Format, e.Data = eventstore.JSON, []byte(`{"text":"`+strings.Repeat("x", rapid.IntRange(0, 9000).Draw(t, "len"))+`"}`)
		}
		for range rapid.IntRange(0, 3).Draw(t, "custom") {
			if e.Metadata.Custom == nil {
				e.Metadata.Custom = map[string]string{}
			}
			e.Metadata.Custom[name(t, "custom key")] = text(t, "custom value")
		}
		stream := eventstore.StreamID(name(t, "stream"))
		id := bson.NewObjectID()
		doc, err := encodeEvent(id, stream, 1, &e)
		require.NoError(t, err)
		require.NoError(t, doc.Validate())
		setVersion(doc, stream, 77)
		require.Equal(t, id, documentID(doc))

		var d eventDecoder
		got, isEvent, err := d.decode(doc)
		require.NoError(t, err)
		require.True(t, isEvent)
		want := eventstore.Event{ID: e.ID, Stream: stream, Version: 77, Type: e.Type, Schema: e.Schema, Format: e.Format, Data: e.Data, Metadata: e.Metadata, Time: e.Time}
		require.True(t, want.Equal(got), "wrote %+v, read %+v", want, got)

		var byDriver struct {
			Stream   string `bson:"stream_id"`
			Version  int64  `bson:"version"`
			Metadata struct {
				Tenant string            `bson:"tenant"`
				Custom map[string]string `bson:"custom"`
			} `bson:"metadata"`
			At time.Time `bson:"timestamp"`
		}
		require.NoError(t, bson.Unmarshal(doc, &byDriver))
		require.Equal(t, string(stream), byDriver.Stream)
		require.Equal(t, int64(77), byDriver.Version)
		require.Equal(t, e.Metadata.Tenant, byDriver.Metadata.Tenant)
		require.Equal(t, e.Metadata.Custom, byDriver.Metadata.Custom)
		require.True(t, e.Time.Equal(byDriver.At))
	})
}

func TestLogDocRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := logDoc{
			first:     eventstore.Position(rapid.Int64Range(1, 1<<50).Draw(t, "first")),
			entries:   []logEntry{},
			recovered: rapid.Bool().Draw(t, "recovered"),
		}
		if rapid.Bool().Draw(t, "marked") {
			want.mark = bson.Timestamp{T: rapid.Uint32Min(1).Draw(t, "t"), I: rapid.Uint32().Draw(t, "i")}
			want.token = bson.Raw{5, 0, 0, 0, 0}
		}
		for range rapid.IntRange(0, 130).Draw(t, "n") {
			want.entries = append(want.entries, logEntry{
				id: bson.NewObjectID(), stream: eventstore.StreamID(name(t, "stream")),
				typ: eventstore.EventType(name(t, "type")), version: eventstore.Version(rapid.Int64Range(1, 1<<40).Draw(t, "version")),
			})
		}
		doc := want.encode(time.Now())
		require.NoError(t, doc.Validate())
		var d logDecoder
		got, err := d.decode(doc)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	want := token{since: bson.Timestamp{T: 1, I: 2}, until: bson.Timestamp{T: 3, I: 4}, ids: []bson.ObjectID{bson.NewObjectID(), bson.NewObjectID()}}
	got, err := decodeToken(want.encode())
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, bad := range []eventstore.Token{"x", "12", "AAAA", want.encode()[:20], want.encode() + "AA"} {
		_, err := decodeToken(bad)
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%q", bad)
	}
}

// Whatever bytes come from a server, decoding them ends in an error or a value.
func FuzzDecode(f *testing.F) {
	e := event(1)
	e.Schema = 2
	e.Metadata.Custom = map[string]string{"k": "v"}
	doc, err := encodeEvent(bson.NewObjectID(), "order-1", 1, &e)
	if err != nil {
		f.Fatal(err)
	}
	log := logDoc{first: 1, entries: []logEntry{{stream: "order-1", typ: "t", version: 1}}, token: bson.Raw{5, 0, 0, 0, 0}}
	all, err := bson.Marshal(bson.D{{Key: "a", Value: bson.Regex{Pattern: "x"}}, {Key: "b", Value: bson.Decimal128{}}, {Key: "c", Value: nil}, {Key: "d", Value: bson.CodeWithScope{Scope: bson.D{}}}, {Key: "e", Value: true}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{doc, log.encode(time.Unix(0, 0)), all, nil, {0}, {5, 0, 0, 0, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d eventDecoder
		_, _, eventErr := d.decode(b)
		var l logDecoder
		_, _ = l.decode(b)
		_, _ = l.entry(b)
		_, _ = decodeChange(&l, b)
		if bson.Raw(b).Validate() == nil && len(b) == int(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24) {
			it := elementsOf(b)
			n := 0
			for _, ok := it.next(); ok; _, ok = it.next() {
				n++
			}
			want, _ := bson.Raw(b).Elements()
			if it.err != nil || n != len(want) {
				t.Fatalf("a valid document of %d fields: read %d, %v", len(want), n, it.err)
			}
		}
		_ = eventErr
	})
}
