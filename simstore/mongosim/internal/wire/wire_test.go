package wire

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func document(t testing.TB, d bson.D) bson.Raw {
	t.Helper()
	raw, err := bson.Marshal(d)
	require.NoError(t, err)
	return raw
}

// message frames sections as an OP_MSG.
func message(flags Flags, sections ...[]byte) []byte {
	msg := make([]byte, HeaderSize, 256)
	binary.LittleEndian.PutUint32(msg[4:], 7)
	binary.LittleEndian.PutUint32(msg[12:], uint32(OpMsg))
	msg = binary.LittleEndian.AppendUint32(msg, uint32(flags))
	for _, s := range sections {
		msg = append(msg, s...)
	}
	if flags&ChecksumPresent != 0 {
		binary.LittleEndian.PutUint32(msg, uint32(len(msg)+4))
		return binary.LittleEndian.AppendUint32(msg, checksum(nil, msg))
	}
	binary.LittleEndian.PutUint32(msg, uint32(len(msg)))
	return msg
}

func bodySection(doc bson.Raw) []byte { return append([]byte{0}, doc...) }

func sequenceSection(name string, docs ...bson.Raw) []byte {
	s := append([]byte{1, 0, 0, 0, 0}, name...)
	s = append(s, 0)
	for _, d := range docs {
		s = append(s, d...)
	}
	binary.LittleEndian.PutUint32(s[1:], uint32(len(s)-1))
	return s
}

func compressedMessage(t testing.TB, id CompressorID, msg []byte, claimed int) []byte {
	t.Helper()
	out := append([]byte{}, msg[:HeaderSize]...)
	binary.LittleEndian.PutUint32(out[12:], uint32(OpCompressed))
	out, ok, err := new(Codec).compress(out, id, OpMsg, msg[HeaderSize:])
	require.NoError(t, err)
	if !ok {
		out = binary.LittleEndian.AppendUint32(out, uint32(OpMsg))
		out = binary.LittleEndian.AppendUint32(out, 0)
		out = append(append(out, byte(id)), msg[HeaderSize:]...)
	}
	if claimed < 0 {
		claimed = len(msg) - HeaderSize
	}
	binary.LittleEndian.PutUint32(out[HeaderSize+4:], uint32(claimed))
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	return out
}

func read(input []byte) (*Request, error) {
	return NewReader(bytes.NewReader(input), &Codec{}).Read()
}

func TestReadMessage(t *testing.T) {
	t.Parallel()
	body := document(t, bson.D{{Key: "insert", Value: "c"}, {Key: "$db", Value: "d"}})
	a, b := document(t, bson.D{{Key: "_id", Value: 1}}), document(t, bson.D{{Key: "_id", Value: 2}})
	msg := message(ChecksumPresent|ExhaustAllowed, bodySection(body), sequenceSection("documents", a, b))
	req, err := read(msg)
	require.NoError(t, err)
	assert.Equal(t, int32(7), req.ID)
	assert.Equal(t, body, req.Body)
	docs, ok := req.Sequence("documents")
	assert.True(t, ok)
	assert.Equal(t, []bson.Raw{a, b}, docs)
	_, ok = req.Sequence("updates")
	assert.False(t, ok)
	// appending to a document cannot reach the next
	_ = append(docs[0], 0xff, 0xff, 0xff)
	assert.Equal(t, b, docs[1])
}

func TestReadCompressed(t *testing.T) {
	t.Parallel()
	body := document(t, bson.D{{Key: "ping", Value: 1}, {Key: "pad", Value: strings.Repeat("x", 10_000)}})
	for _, flags := range []Flags{0, ChecksumPresent} {
		msg := message(flags, bodySection(body))
		for _, id := range []CompressorID{CompressNoop, CompressSnappy, CompressZlib, CompressZstd} {
			req, err := read(compressedMessage(t, id, msg, -1))
			require.NoError(t, err, "compressor %d", id)
			assert.Equal(t, body, req.Body)
			assert.Equal(t, id, req.Compressor)
		}
	}
}

func TestReplyGoesTheWayTheRequestCame(t *testing.T) {
	t.Parallel()
	doc := document(t, bson.D{{Key: "ok", Value: 1.0}, {Key: "pad", Value: strings.Repeat("y", 1000)}})
	for _, req := range []*Request{
		{ID: 5, Op: OpMsg},
		{ID: 5, Op: OpMsg, Flags: ChecksumPresent},
		{ID: 5, Op: OpMsg, Compressor: CompressSnappy},
		{ID: 5, Op: OpMsg, Compressor: CompressZlib, Flags: ChecksumPresent},
		{ID: 5, Op: OpMsg, Compressor: CompressZstd},
	} {
		var buf bytes.Buffer
		var ids atomic.Int32
		w := NewWriter(&buf, &Codec{}, &ids)
		id, err := w.Reply(req, req.ID, doc, true)
		require.NoError(t, err)
		assert.Equal(t, int32(5), int32(binary.LittleEndian.Uint32(buf.Bytes()[8:])), "responseTo")
		got, err := read(buf.Bytes())
		require.NoError(t, err)
		assert.Equal(t, id, got.ID)
		assert.Equal(t, doc, got.Body)
		assert.Equal(t, req.Compressor, got.Compressor)
		assert.NotZero(t, got.Flags&MoreToCome)
	}
}

func TestQueryIsForTheFirstHello(t *testing.T) {
	t.Parallel()
	query := func(ns string, doc bson.Raw) []byte {
		msg := make([]byte, HeaderSize, 128)
		binary.LittleEndian.PutUint32(msg[12:], uint32(OpQuery))
		msg = append(msg, 0, 0, 0, 0)
		msg = append(append(msg, ns...), 0)
		msg = append(msg, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)
		msg = append(msg, doc...)
		binary.LittleEndian.PutUint32(msg, uint32(len(msg)))
		return msg
	}
	hello := document(t, bson.D{{Key: "isMaster", Value: 1}})
	req, err := read(query("admin.$cmd", hello))
	require.NoError(t, err)
	assert.Equal(t, "admin", req.DB)
	assert.Equal(t, hello, req.Body)

	req, err = read(query("admin.$cmd", document(t, bson.D{{Key: "$query", Value: hello}, {Key: "$readPreference", Value: bson.D{}}})))
	require.NoError(t, err)
	assert.Equal(t, hello, req.Body)

	_, err = read(query("admin.things", hello))
	var framing *FramingError
	require.ErrorAs(t, err, &framing)

	var buf bytes.Buffer
	_, err = NewWriter(&buf, &Codec{}, new(atomic.Int32)).Reply(req, 3, hello, false)
	require.NoError(t, err)
	assert.Equal(t, uint32(OpReply), binary.LittleEndian.Uint32(buf.Bytes()[12:]))
	assert.Equal(t, []byte(hello), buf.Bytes()[HeaderSize+20:])
}

func TestMalformedRequestsGetTheServersCode(t *testing.T) {
	t.Parallel()
	body := document(t, bson.D{{Key: "ping", Value: 1}, {Key: "documents", Value: 1}})
	doc := document(t, bson.D{{Key: "_id", Value: 1}})
	broken := append(bson.Raw{}, body...)
	broken[len(broken)-1] = 1
	deep := bson.D{}
	for range MaxDepth {
		deep = bson.D{{Key: "a", Value: deep}}
	}
	cases := map[string]struct {
		msg  []byte
		code int32
	}{
		"no body":                  {message(0, sequenceSection("x", doc)), 40587},
		"no section":               {message(0), 40587},
		"two bodies":               {message(0, bodySection(body), bodySection(body)), 40430},
		"unknown section":          {message(0, []byte{9}), 40432},
		"sequence twice":           {message(0, bodySection(doc), sequenceSection("x", doc), sequenceSection("x", doc)), 40431},
		"field and sequence":       {message(0, bodySection(body), sequenceSection("documents", doc)), 40433},
		"document not terminated":  {message(0, bodySection(broken)), codeInvalidBSON},
		"sequence longer than all": {message(0, bodySection(doc), []byte{1, 200, 0, 0, 0, 'x', 0}), codeInvalidBSON},
		"sequence without name":    {message(0, bodySection(doc), []byte{1, 5, 0, 0, 0, 'x'}), codeInvalidBSON},
		"too deep":                 {message(0, bodySection(document(t, deep))), codeOverflow},
		"checksum without room":    {message(0, bodySection(doc))[:HeaderSize+4], 40587},
	}
	for name, c := range cases {
		binary.LittleEndian.PutUint32(c.msg, uint32(len(c.msg)))
		_, err := read(c.msg)
		var bad *RequestError
		require.ErrorAs(t, err, &bad, name)
		assert.Equal(t, c.code, bad.Code, name)
		assert.Equal(t, int32(7), bad.Request.ID, name)
	}
}

func TestBrokenFramesEndTheConnection(t *testing.T) {
	t.Parallel()
	doc := document(t, bson.D{{Key: "ping", Value: 1}})
	good := message(0, bodySection(doc))
	change := func(f func(m []byte) []byte) []byte { return f(append([]byte{}, good...)) }
	length := func(n int32) []byte {
		return change(func(m []byte) []byte { binary.LittleEndian.PutUint32(m, uint32(n)); return m })
	}
	wrongSum := message(ChecksumPresent, bodySection(doc))
	wrongSum[len(wrongSum)-1] ^= 1
	cases := map[string][]byte{
		"negative length":     length(-1),
		"length below header": length(15),
		"length over maximum": length(MaxMessageSize + 1),
		"unknown operation": change(func(m []byte) []byte {
			binary.LittleEndian.PutUint32(m[12:], 2010)
			return m
		}),
		"required flag":             message(1<<5, bodySection(doc)),
		"wrong checksum":            wrongSum,
		"three sequences":           message(0, bodySection(doc), sequenceSection("a"), sequenceSection("b"), sequenceSection("c")),
		"compressed inside":         nested(good),
		"compressed, size lies":     compressedMessage(t, CompressZlib, good, 5),
		"compressed, size too big":  compressedMessage(t, CompressSnappy, good, MaxMessageSize),
		"compressed, size negative": compressedMessage(t, CompressZstd, good, -5)[:20],
		"unknown compressor":        unknownCompressor(t, good),
	}
	for name, msg := range cases {
		_, err := read(msg)
		require.Error(t, err, name)
		var bad *RequestError
		assert.NotErrorAs(t, err, &bad, name)
	}
	_, err := read(good[:HeaderSize+3])
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = read(nil)
	require.ErrorIs(t, err, io.EOF)
}

func nested(msg []byte) []byte {
	out := append([]byte{}, msg[:HeaderSize]...)
	binary.LittleEndian.PutUint32(out[12:], uint32(OpCompressed))
	out = binary.LittleEndian.AppendUint32(out, uint32(OpCompressed))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(msg)-HeaderSize))
	out = append(out, byte(CompressNoop))
	out = append(out, msg[HeaderSize:]...)
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	return out
}

func unknownCompressor(t testing.TB, msg []byte) []byte {
	out := compressedMessage(t, CompressNoop, msg, -1)
	out[HeaderSize+8] = 77
	return out
}

// endless claims a large message and then sends nothing: what a reader takes for
// it must stay small.
type endless struct{ header *bytes.Reader }

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.header.Read(p); err == nil {
		return n, nil
	}
	return 0, io.ErrUnexpectedEOF
}

// Not in parallel: what other tests allocate would count too.
func TestLengthAloneTakesNoMemory(t *testing.T) {
	header := make([]byte, HeaderSize)
	binary.LittleEndian.PutUint32(header, MaxMessageSize)
	binary.LittleEndian.PutUint32(header[12:], uint32(OpMsg))
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := NewReader(&endless{bytes.NewReader(header)}, &Codec{}).Read()
			if err == nil {
				b.Fatal("read a message that never came")
			}
		}
	})
	assert.Less(t, r.AllocedBytesPerOp(), int64(2*firstChunk))
}

func TestDecompressionStopsAtTheDeclaredSize(t *testing.T) {
	t.Parallel()
	bomb := make([]byte, 32<<20)
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, err := w.Write(bomb)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	codec := &Codec{}
	_, err = codec.expand(CompressZlib, z.Bytes(), 1000)
	require.Error(t, err)
	_, err = codec.expand(CompressSnappy, snappy.Encode(nil, bomb), 1000)
	require.Error(t, err)
	enc, _, err := codec.zstd()
	require.NoError(t, err)
	_, err = codec.expand(CompressZstd, enc.EncodeAll(bomb, nil), 1000)
	require.Error(t, err)
	// a snappy block that claims what it cannot hold
	_, err = codec.expand(CompressSnappy, binary.AppendUvarint(nil, 40<<20), 40<<20)
	require.Error(t, err)
}

func TestValidateEveryType(t *testing.T) {
	t.Parallel()
	doc := document(t, bson.D{
		{Key: "double", Value: 1.5},
		{Key: "string", Value: "s\x00t"},
		{Key: "doc", Value: bson.D{{Key: "a", Value: bson.A{1, "x"}}}},
		{Key: "binary", Value: bson.Binary{Subtype: 2, Data: []byte{1}}},
		{Key: "undefined", Value: bson.Undefined{}},
		{Key: "id", Value: bson.NewObjectID()},
		{Key: "bool", Value: true},
		{Key: "date", Value: bson.DateTime(1)},
		{Key: "null", Value: nil},
		{Key: "regex", Value: bson.Regex{Pattern: "a", Options: "i"}},
		{Key: "pointer", Value: bson.DBPointer{DB: "d", Pointer: bson.NewObjectID()}},
		{Key: "code", Value: bson.JavaScript("x")},
		{Key: "symbol", Value: bson.Symbol("x")},
		{Key: "scope", Value: bson.CodeWithScope{Code: "x", Scope: bson.D{{Key: "y", Value: 1}}}},
		{Key: "int", Value: int32(1)},
		{Key: "timestamp", Value: bson.Timestamp{T: 1, I: 2}},
		{Key: "long", Value: int64(1)},
		{Key: "decimal", Value: bson.NewDecimal128(1, 2)},
		{Key: "min", Value: bson.MinKey{}},
		{Key: "max", Value: bson.MaxKey{}},
	})
	require.NoError(t, ValidateDocument(doc))
	// no single byte may be cut off, and a document cut short anywhere is refused
	for n := range doc {
		require.Error(t, ValidateDocument(doc[:n]), "%d bytes", n)
	}
	require.Error(t, ValidateDocument(append(append(bson.Raw{}, doc...), 0)))
}
