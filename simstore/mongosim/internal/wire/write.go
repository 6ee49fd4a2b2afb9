package wire

import (
	"encoding/binary"
	"io"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Writer writes replies to a connection. It is not safe for concurrent use.
type Writer struct {
	dst   io.Writer
	codec *Codec
	ids   *atomic.Int32
	buf   []byte
}

// keepBuffer is the largest buffer that a connection keeps between replies.
const keepBuffer = 64 << 10

// NewWriter writes to dst, a message in a single Write, numbering messages from ids.
func NewWriter(dst io.Writer, codec *Codec, ids *atomic.Int32) *Writer {
	return &Writer{dst: dst, codec: codec, ids: ids}
}

// Reply answers req with doc. moreToCome announces a further reply to
// the same request, which then must be sent with the returned id as responseTo (an
// exhaust stream's replies each answer the one before).
func (w *Writer) Reply(req *Request, responseTo int32, doc bson.Raw, moreToCome bool) (id int32, err error) {
	id = w.ids.Add(1)
	op := OpMsg
	if req.Op == OpQuery {
		op = OpReply
	}
	msg := appendHeader(w.buf[:0], id, responseTo, op)
	if op == OpReply {
		msg = appendReply(msg, doc)
	} else {
		msg = appendMsg(msg, req, doc, moreToCome)
	}
	if req.Compressor != CompressNoop {
		if msg, err = w.compressed(msg, req.Compressor); err != nil {
			return 0, err
		}
	}
	if cap(msg) <= keepBuffer {
		w.buf = msg
	}
	_, err = w.dst.Write(msg)
	return id, err
}

func appendHeader(dst []byte, id, responseTo int32, op OpCode) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, 0) // filled in by setLength
	dst = binary.LittleEndian.AppendUint32(dst, uint32(id))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(responseTo))
	return binary.LittleEndian.AppendUint32(dst, uint32(op))
}

func setLength(msg []byte) { binary.LittleEndian.PutUint32(msg, uint32(len(msg))) }

func appendMsg(msg []byte, req *Request, doc bson.Raw, moreToCome bool) []byte {
	// a client that sends checksums gets them; inside a compressed message they would be pointless
	sum := req.Flags&ChecksumPresent != 0 && req.Compressor == CompressNoop
	var flags Flags
	if moreToCome {
		flags |= MoreToCome
	}
	if sum {
		flags |= ChecksumPresent
	}
	msg = binary.LittleEndian.AppendUint32(msg, uint32(flags))
	msg = append(msg, sectionBody)
	msg = append(msg, doc...)
	if !sum {
		setLength(msg)
		return msg
	}
	binary.LittleEndian.PutUint32(msg, uint32(len(msg)+checksumSize))
	return binary.LittleEndian.AppendUint32(msg, checksum(nil, msg))
}

// replyAwaitCapable is the flag that every server sets in an OP_REPLY.
const replyAwaitCapable = 8

func appendReply(msg []byte, doc bson.Raw) []byte {
	msg = binary.LittleEndian.AppendUint32(msg, replyAwaitCapable)
	msg = binary.LittleEndian.AppendUint64(msg, 0) // no cursor
	msg = binary.LittleEndian.AppendUint32(msg, 0) // from the start
	msg = binary.LittleEndian.AppendUint32(msg, 1) // one document
	msg = append(msg, doc...)
	setLength(msg)
	return msg
}

func (w *Writer) compressed(msg []byte, id CompressorID) ([]byte, error) {
	op := OpCode(int32(binary.LittleEndian.Uint32(msg[12:])))
	out := make([]byte, 0, HeaderSize+compressedHeader+len(msg)/2)
	out = append(out, msg[:HeaderSize]...)
	binary.LittleEndian.PutUint32(out[12:], uint32(OpCompressed))
	out, ok, err := w.codec.compress(out, id, op, msg[HeaderSize:])
	if err != nil || !ok {
		return msg, err
	}
	setLength(out)
	return out, nil
}
