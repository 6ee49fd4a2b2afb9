package mongosim_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim"
	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

// A rawClient speaks to a server without a driver.
type rawClient struct {
	t  testing.TB
	nc net.Conn
	r  *wire.Reader
	id int32
}

func dialRaw(t testing.TB, s *mongosim.Server) *rawClient {
	t.Helper()
	nc, err := s.DialContext(context.Background(), "", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return newRawClient(t, nc)
}

func newRawClient(t testing.TB, nc net.Conn) *rawClient {
	return &rawClient{t: t, nc: nc, r: wire.NewReader(bufio.NewReader(nc), &wire.Codec{})}
}

// opMsg is an OP_MSG of a body and, if name is not empty, a document sequence.
func opMsg(id int32, flags uint32, body bson.Raw, name string, docs []bson.Raw) []byte {
	msg := make([]byte, wire.HeaderSize, wire.HeaderSize+64+len(body))
	binary.LittleEndian.PutUint32(msg[4:], uint32(id))
	binary.LittleEndian.PutUint32(msg[12:], uint32(wire.OpMsg))
	msg = binary.LittleEndian.AppendUint32(msg, flags)
	msg = append(msg, 0)
	msg = append(msg, body...)
	if name != "" {
		msg = append(msg, 1)
		at := len(msg)
		msg = append(msg, 0, 0, 0, 0)
		msg = append(msg, name...)
		msg = append(msg, 0)
		for _, d := range docs {
			msg = append(msg, d...)
		}
		binary.LittleEndian.PutUint32(msg[at:], uint32(len(msg)-at))
	}
	binary.LittleEndian.PutUint32(msg, uint32(len(msg)))
	return msg
}

// send writes a command without waiting for its reply. The operations of a write go
// into a document sequence, as drivers send them.
func (c *rawClient) send(cmd bson.D) error {
	name, docs := "", []bson.Raw(nil)
	rest := bson.D{}
	for _, e := range cmd {
		a, ok := e.Value.(bson.A)
		if !ok || len(a) == 0 || e.Key != "documents" && e.Key != "updates" && e.Key != "deletes" {
			rest = append(rest, e)
			continue
		}
		name = e.Key
		for _, d := range a {
			docs = append(docs, marshal(c.t, d))
		}
	}
	c.id++
	_, err := c.nc.Write(opMsg(c.id, 0, marshal(c.t, rest), name, docs))
	return err
}

func marshal(t testing.TB, v any) bson.Raw {
	t.Helper()
	raw, err := bson.Marshal(v)
	require.NoError(t, err)
	return raw
}

// receive reads the next reply.
func (c *rawClient) receive() (bson.Raw, error) {
	reply, err := c.r.Read()
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

// run sends a command and returns its reply.
func (c *rawClient) run(cmd bson.D) bson.Raw {
	c.t.Helper()
	require.NoError(c.t, c.send(cmd))
	reply, err := c.receive()
	require.NoError(c.t, err)
	return reply
}

// succeeded tells whether a reply says ok: 1.
func succeeded(reply bson.Raw) bool { return reply.Lookup("ok").Double() > 0 }
