package mongosim_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim"
)

// TestTranscripts repeats conversations that were had with a MongoDB 4.4.6 server and compares
// replies: codes, texts, labels, counts and the shapes of events. What differs from run to run (times,
// ids of cursors and collections, resume tokens) is mapped from the recording to
// this run, or compared by its type.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/transcripts/*.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newReplay(t).play(readTranscript(t, file))
		})
	}
}

// A step is a line of a transcript.
type step struct {
	line    int
	Note    string  `bson:"note"`
	Command bson.D  `bson:"command"`
	Raw     bson.D  `bson:"raw_command"`
	Reply   bson.D  `bson:"reply"`
	Failure *string `bson:"failure"`

	ClientError *string  `bson:"client_error"`
	Labels      []string `bson:"labels"`
	ServerReply bson.D   `bson:"server_reply"`
}

func readTranscript(t *testing.T, file string) []step {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var steps []step
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		s := step{line: i + 1}
		require.NoError(t, bson.UnmarshalExtJSON(line, false, &s), "line %d", i+1)
		s.unhurry()
		steps = append(steps, s)
	}
	return steps
}

// unhurry gives a command that was in time then as much time as a busy machine may need now. To a getMore
// the limit is how long it waits.
func (s *step) unhurry() {
	for _, cmd := range []bson.D{s.Command, s.Raw} {
		for i, e := range cmd {
			if e.Key == "maxTimeMS" && cmd[0].Key != "getMore" && lookup(s.Reply, "ok") == 1.0 {
				cmd[i].Value = int64(60_000)
			}
		}
	}
}

// A replay repeats one transcript.
type replay struct {
	t       *testing.T
	s       *mongosim.Server
	clients map[string]*rawClient // by session: one that waits must not hold up the others
	cursors map[int64]int64       // recorded id -> this run's
	tokens  map[string]string     // recorded resume token -> this run's
	times   map[bson.Timestamp]bson.Timestamp
	failed  bson.D // the last reply that says ok: 0, for client_error lines
	last    bson.D // the last reply
	pending *rawClient
	waits   step
}

func newReplay(t *testing.T) *replay {
	return &replay{
		t: t, s: mongosim.Start(t), clients: map[string]*rawClient{},
		cursors: map[int64]int64{}, tokens: map[string]string{}, times: map[bson.Timestamp]bson.Timestamp{},
	}
}

func (p *replay) play(steps []step) {
	for i, s := range steps {
		cmd := s.Command
		if cmd == nil {
			cmd = s.Raw
		}
		switch {
		case cmd != nil && skipped(s):
		case cmd != nil:
			blocks := i+1 < len(steps) && strings.Contains(steps[i+1].Note, "is waiting")
			p.command(s, cmd, blocks)
		case s.ServerReply != nil && s.ClientError != nil && strings.HasPrefix(*s.ClientError, "mongo."):
			got := p.last
			if lookup(s.ServerReply, "ok") == 0.0 {
				got = p.failed
			}
			p.same(s, s.ServerReply, got)
		}
	}
	require.Nil(p.t, p.pending, "a command still waits")
}

// skipped are steps that say nothing about a server.
func skipped(s step) bool {
	if s.Failure != nil && strings.Contains(*s.Failure, "i/o timeout") {
		return true // the client gave up
	}
	// what the recorded server still had in its oplog from earlier
	return strings.Contains(fmt.Sprint(s.Command), "startAtOperationTime")
}

func (p *replay) client(cmd bson.D) *rawClient {
	key := fmt.Sprint(lookup(cmd, "lsid"))
	c := p.clients[key]
	if c == nil {
		c = dialRaw(p.t, p.s)
		p.clients[key] = c
	}
	return c
}

func (p *replay) command(s step, cmd bson.D, blocks bool) {
	c := p.client(cmd)
	require.NoError(p.t, c.send(p.translate(cmd)), "line %d", s.line)
	if blocks {
		p.pending, p.waits = c, s
		return
	}
	p.result(s, c)
	if p.pending != nil {
		c, s := p.pending, p.waits
		p.pending = nil
		p.result(s, c)
	}
}

// result reads a reply and compares it with the recorded one.
func (p *replay) result(s step, c *rawClient) {
	raw, err := c.receive()
	if s.Failure != nil && strings.HasPrefix(*s.Failure, "connection(") {
		require.Error(p.t, err, "line %d: the connection should have been closed", s.line)
		for key, other := range p.clients {
			if other == c {
				delete(p.clients, key)
			}
		}
		return
	}
	require.NoError(p.t, err, "line %d", s.line)
	var got bson.D
	require.NoError(p.t, bson.Unmarshal(raw, &got))
	p.last = got
	if lookup(got, "ok") == 0.0 {
		p.failed = got
	}
	if s.Failure != nil {
		want := normalText(*s.Failure)
		have := normalText(fmt.Sprintf("(%v) %v", lookup(got, "codeName"), lookup(got, "errmsg")))
		if want != have {
			p.t.Errorf("line %d: %v\n  want %s\n  got  %s", s.line, first(s), want, have)
		}
		return
	}
	p.same(s, s.Reply, got)
}

func first(s step) string {
	cmd := s.Command
	if cmd == nil {
		cmd = s.Raw
	}
	text := fmt.Sprint(cmd)
	return text[:min(len(text), 200)]
}

// translate makes a recorded command one for this run.
func (p *replay) translate(cmd bson.D) bson.D {
	out := bson.D{}
	for _, e := range cmd {
		if e.Key == "$clusterTime" {
			continue
		}
		out = append(out, bson.E{Key: e.Key, Value: p.translateValue(e.Key, e.Value)})
	}
	return out
}

func (p *replay) translateValue(key string, v any) any {
	switch v := v.(type) {
	case bson.D:
		return p.translate(v)
	case bson.A:
		return p.translateArray(key, v)
	case string:
		if token, ok := p.tokens[v]; ok && key == "_data" {
			return token
		}
		if strings.HasSuffix(v, "... cut") { // a document of 17 MiB
			return strings.Repeat("x", 17<<20)
		}
	case int32:
		if key == "getMore" || key == "txnNumber" || key == "cursors" {
			return p.translateValue(key, int64(v))
		}
	case int64:
		if id, ok := p.cursors[v]; ok {
			return id
		}
	case bson.Timestamp:
		if now, ok := p.times[v]; ok {
			return now
		}
	}
	return v
}

func (p *replay) translateArray(key string, a bson.A) bson.A {
	out := bson.A{}
	for _, v := range a {
		if text, ok := v.(string); ok && strings.HasSuffix(text, "more left out") {
			var n int
			_, err := fmt.Sscanf(text, "... %d more left out", &n)
			require.NoError(p.t, err)
			for range n {
				out = append(out, bson.D{{Key: "_id", Value: len(out)}})
			}
			continue
		}
		out = append(out, p.translateValue(key, v))
	}
	return out
}

// volatile fields are compared by their presence only.
var volatile = map[string]bool{
	"$clusterTime": true, "operationTime": true, "opTime": true, "electionId": true, "topologyVersion": true,
	"localTime": true, "connectionId": true, "lastWrite": true, "hosts": true, "primary": true, "me": true,
	"uuid": true, "count": true, "serverInfo": true, "clusterTime": true,
}

// aboutTheHost are commands whose replies tell about the machine and the build: what is there must
// have the recorded type.
var aboutTheHost = []string{"buildInfo", "replSetGetStatus", "listDatabases", "collStats", "startSession"}

func (p *replay) same(s step, want, got bson.D) {
	cmd := s.Command
	if cmd == nil {
		cmd = s.Raw
	}
	if len(cmd) > 0 && slices.Contains(aboutTheHost, cmd[0].Key) {
		p.sameTypes(s, want, got)
		return
	}
	if diff := p.diff("", want, got); diff != "" {
		p.t.Errorf("line %d: %s\n  %s\n  want %v\n  got  %v", s.line, first(s), diff, want, got)
	}
}

func (p *replay) sameTypes(s step, want, got bson.D) {
	for _, e := range got {
		w := lookup(want, e.Key)
		if e.Key == "$clusterTime" {
			continue
		}
		if w == nil || kind(w) != kind(e.Value) {
			p.t.Errorf("line %d: %s: field %s is %T, recorded %T", s.line, first(s), e.Key, e.Value, w)
		}
	}
}

// diff tells where two values differ, and learns what the recording's ids are in this run.
func (p *replay) diff(path string, want, got any) string {
	switch w := want.(type) {
	case bson.D:
		g, ok := got.(bson.D)
		if !ok {
			return fmt.Sprintf("%s: want a document, got %v", path, got)
		}
		return p.diffDocs(path, w, g)
	case bson.A:
		g, ok := got.(bson.A)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s: want %d elements, got %v", path, len(w), got)
		}
		for i := range w {
			if d := p.diff(fmt.Sprintf("%s.%d", path, i), w[i], g[i]); d != "" {
				return d
			}
		}
		return ""
	case bson.Timestamp:
		g, ok := got.(bson.Timestamp)
		if !ok || w.IsZero() != g.IsZero() {
			return fmt.Sprintf("%s: want %v, got %v", path, want, got)
		}
		p.times[w] = g
		return ""
	case string:
		if g, ok := got.(string); ok && normalText(w) == normalText(g) {
			return ""
		}
	case float64:
		if g, ok := got.(float64); ok && g == w {
			return ""
		}
	}
	if kind(want) != kind(got) || fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Sprintf("%s: want %T %v, got %T %v", path, want, want, got, got)
	}
	return ""
}

// kind is a value's type. The recordings do not tell a small long from an int.
func kind(v any) string {
	if _, ok := v.(int64); ok {
		return "int32"
	}
	return fmt.Sprintf("%T", v)
}

func (p *replay) diffDocs(path string, want, got bson.D) string {
	if w, g := keys(want), keys(got); w != g {
		return fmt.Sprintf("%s: want the fields %s, got %s", path, w, g)
	}
	for i, e := range want {
		at := path + "." + e.Key
		g := got[i].Value
		switch {
		case volatile[e.Key]:
			if w, ok := e.Value.(bson.Timestamp); ok {
				p.times[w], _ = g.(bson.Timestamp)
			}
			if kind(e.Value) != kind(g) {
				return fmt.Sprintf("%s: want %T, got %T", at, e.Value, g)
			}
		case e.Key == "_data":
			w, _ := e.Value.(string)
			h, _ := g.(string)
			if len(w) != len(h) || tokenKind(w) != tokenKind(h) {
				return fmt.Sprintf("%s: want a token like %s, got %s", at, w, h)
			}
			p.tokens[w] = h
		case e.Key == "id" && strings.HasSuffix(path, ".cursor"):
			w, h := asID(e.Value), asID(g)
			if (w == 0) != (h == 0) {
				return fmt.Sprintf("%s: want cursor %d, got %d", at, w, h)
			}
			p.cursors[w] = h
		case e.Key == "cursorsKilled" || e.Key == "cursorsNotFound":
			if fmt.Sprint(p.translateArray("cursors", e.Value.(bson.A))) != fmt.Sprint(g) {
				return fmt.Sprintf("%s: want %v, got %v", at, e.Value, g)
			}
		case e.Key == "_id" && fmt.Sprintf("%T", e.Value) == "bson.ObjectID":
		default:
			if d := p.diff(at, e.Value, g); d != "" {
				return d
			}
		}
	}
	return ""
}

// tokenKind is the part of a resume token that does not depend on time or collection.
func tokenKind(token string) string {
	const timestamp = 18 // type byte and eight bytes
	rest := token[min(timestamp, len(token)):]
	if at := strings.Index(rest, "5A1004"); at >= 0 {
		rest = rest[:at] + rest[min(at+6+32, len(rest)):]
	}
	return rest
}

func asID(v any) int64 {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case int64:
		return v
	}
	return -1
}

func keys(d bson.D) string {
	names := make([]string, len(d))
	for i, e := range d {
		names[i] = e.Key
	}
	return strings.Join(names, ",")
}

func lookup(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

var changing = []*regexp.Regexp{
	regexp.MustCompile(`, \$clusterTime: \{ clusterTime: Timestamp\(\d+, \d+\), signature: \{ [^}]* \} \}`),
	regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
	regexp.MustCompile(`Timestamp\(\d+, \d+\)`),
	regexp.MustCompile(`"82[0-9A-F]+"`),
	regexp.MustCompile(`size: \d+ \(0x[0-9A-F]+\)`),
}

// normalText is a message without what differs from run to run.
func normalText(s string) string {
	for i, re := range changing {
		by := "…"
		if i == 0 {
			by = ""
		}
		s = re.ReplaceAllString(s, by)
	}
	return s
}
