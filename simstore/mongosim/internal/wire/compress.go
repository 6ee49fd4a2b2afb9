package wire

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
)

// A CompressorID names a compressor on the wire.
type CompressorID uint8

// The compressors that drivers may negotiate. CompressNoop frames without
// compressing; it also stands for "not compressed".
const (
	CompressNoop   CompressorID = 0
	CompressSnappy CompressorID = 1
	CompressZlib   CompressorID = 2
	CompressZstd   CompressorID = 3
)

// Compressors are the names to negotiate, in order of preference.
func Compressors() []string { return []string{"snappy", "zstd", "zlib"} }

// compressedHeader is the original operation, the uncompressed size and the
// compressor's id.
const compressedHeader = 9

// A Codec compresses and decompresses. Its zero value is ready; one is shared by all
// connections of a server. It is safe for concurrent use.
type Codec struct {
	once    sync.Once
	decoder *zstd.Decoder
	encoder *zstd.Encoder
	err     error
}

func (c *Codec) zstd() (*zstd.Encoder, *zstd.Decoder, error) {
	c.once.Do(func() {
		c.decoder, c.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(MaxMessageSize), zstd.WithDecodeAllCapLimit(true))
		if c.err == nil {
			c.encoder, c.err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1),
				zstd.WithEncoderLevel(zstd.SpeedFastest))
		}
	})
	return c.encoder, c.decoder, c.err
}

// decompress returns the operation and the body that an OP_COMPRESSED wraps.
func (c *Codec) decompress(body []byte) (OpCode, CompressorID, []byte, error) {
	if len(body) < compressedHeader {
		return 0, 0, nil, framingErrorf("OP_COMPRESSED of %d bytes", len(body))
	}
	op := OpCode(int32(binary.LittleEndian.Uint32(body)))
	size := int(int32(binary.LittleEndian.Uint32(body[4:])))
	id := CompressorID(body[8])
	if size < 0 || size > MaxMessageSize-HeaderSize {
		return 0, 0, nil, framingErrorf("OP_COMPRESSED claims %d bytes", size)
	}
	if op != OpMsg && op != OpQuery {
		return 0, 0, nil, framingErrorf("OP_COMPRESSED wraps operation %d", op)
	}
	out, err := c.expand(id, body[compressedHeader:], size)
	if err != nil {
		return 0, 0, nil, framingErrorf("cannot decompress: %v", err)
	}
	if len(out) != size {
		return 0, 0, nil, framingErrorf("OP_COMPRESSED claims %d bytes and holds %d", size, len(out))
	}
	return op, id, out, nil
}

func (c *Codec) expand(id CompressorID, src []byte, size int) ([]byte, error) {
	switch id {
	case CompressNoop:
		return src, nil
	case CompressSnappy:
		n, err := snappy.DecodedLen(src)
		if err != nil {
			return nil, err
		}
		// a snappy block cannot expand beyond 64 bytes for 3 (a copy), so a
		// larger claim is a lie that must not cost its size in memory
		if n != size || n > 64*len(src) {
			return nil, fmt.Errorf("snappy block of %d bytes claims %d", len(src), n)
		}
		return snappy.Decode(nil, src)
	case CompressZlib:
		r, err := zlib.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		return readLimited(r, size)
	case CompressZstd:
		_, dec, err := c.zstd()
		if err != nil {
			return nil, err
		}
		return expandZstd(dec, src, size)
	}
	return nil, fmt.Errorf("unknown compressor %d", id)
}

// readLimited reads r to its end, growing as bytes arrive, and stops when there are
// more than size.
func readLimited(r io.Reader, size int) ([]byte, error) {
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(r, int64(size)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(size) {
		return nil, fmt.Errorf("more than the %d bytes declared", size)
	}
	return buf.Bytes(), nil
}

// expandZstd stops at size bytes: the capacity of the destination is the limit.
func expandZstd(dec *zstd.Decoder, src []byte, size int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return nil, err
	}
	if h.HasFCS && h.FrameContentSize != uint64(size) {
		return nil, fmt.Errorf("zstd frame of %d bytes, %d declared", h.FrameContentSize, size)
	}
	return dec.DecodeAll(src, make([]byte, 0, size))
}

// compress returns an OP_COMPRESSED body around body, or false when id is none that
// compresses.
func (c *Codec) compress(dst []byte, id CompressorID, op OpCode, body []byte) ([]byte, bool, error) {
	if id == CompressNoop {
		return dst, false, nil
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(op))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = append(dst, byte(id))
	switch id {
	case CompressSnappy:
		return append(dst, snappy.Encode(nil, body)...), true, nil
	case CompressZlib:
		var buf bytes.Buffer
		w := zlib.NewWriter(&buf)
		if _, err := w.Write(body); err != nil {
			return nil, false, err
		}
		if err := w.Close(); err != nil {
			return nil, false, err
		}
		return append(dst, buf.Bytes()...), true, nil
	case CompressZstd:
		enc, _, err := c.zstd()
		if err != nil {
			return nil, false, err
		}
		return enc.EncodeAll(body, dst), true, nil
	}
	return nil, false, fmt.Errorf("unknown compressor %d", id)
}
