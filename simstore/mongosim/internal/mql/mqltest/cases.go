// Package mqltest reads the recorded cases that the packages of the query
// language are tested with: questions to a MongoDB 4.4.6 server, each with its
// answer.
package mqltest

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Case is one question and the server's answer.
type Case struct {
	ID      string `bson:"id"`
	Kind    string `bson:"kind"`
	Dataset string `bson:"dataset"`

	Filter     bson.Raw `bson:"filter"`
	Sort       bson.Raw `bson:"sort"`
	Projection bson.Raw `bson:"projection"`
	Skip       int64    `bson:"skip"`
	Limit      int64    `bson:"limit"`

	Pipeline  []bson.Raw `bson:"pipeline"`
	Unordered bool       `bson:"unordered"`

	Doc          bson.Raw      `bson:"doc"`
	Update       bson.RawValue `bson:"update"`
	ArrayFilters []bson.Raw    `bson:"arrayFilters"`
	Upsert       bool          `bson:"upsert"`

	Want  []bson.RawValue `bson:"want"`
	N     int32           `bson:"n"`
	NMod  int32           `bson:"nMod"`
	Error *Failed         `bson:"error"`
}

// Failed is how the server refused.
type Failed struct {
	Code int32  `bson:"code"`
	Name string `bson:"name"`
}

// Dir is the folder of the recorded cases.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "testdata", "cases")
}

// Cases reads all cases of one group: filter, find, update, pipeline, expr.
func Cases(t testing.TB, group string) []Case {
	t.Helper()
	return readLines[Case](t, group+".cases.jsonl")
}

// Datasets reads the contents of the collections that cases ask about.
func Datasets(t testing.TB) map[string][]bson.Raw {
	t.Helper()
	type dataset struct {
		Name string     `bson:"name"`
		Docs []bson.Raw `bson:"docs"`
	}
	sets := map[string][]bson.Raw{}
	for _, s := range readLines[dataset](t, "datasets.jsonl") {
		sets[s.Name] = s.Docs
	}
	return sets
}

func readLines[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(), name))
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(make([]byte, 1<<20), 64<<20)
	for sc.Scan() {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		var v T
		if err := bson.UnmarshalExtJSON(sc.Bytes(), true, &v); err != nil {
			t.Fatalf("%s: %v: %s", name, err, sc.Bytes())
		}
		out = append(out, v)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Canonical renders a value so that two answers can be compared as text.
func Canonical(v bson.RawValue) string {
	doc := make(bson.Raw, 4, len(v.Value)+8)
	doc = append(doc, byte(v.Type), 'v', 0)
	doc = append(doc, v.Value...)
	doc = append(doc, 0)
	n := len(doc)
	doc[0], doc[1], doc[2], doc[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	text, err := bson.MarshalExtJSON(doc, true, false)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Doc parses Extended JSON into a document.
func Doc(t testing.TB, text string) bson.Raw {
	t.Helper()
	var d bson.D
	if err := bson.UnmarshalExtJSON([]byte(text), false, &d); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	b, err := bson.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Value parses Extended JSON into a value.
func Value(t testing.TB, text string) bson.RawValue {
	t.Helper()
	return Doc(t, `{"v":`+text+`}`).Lookup("v")
}

// Short is Doc for shorthand in which names need no quotes and /x/i is a
// regular expression. Text must not contain escaped quotes or slashes.
func Short(t testing.TB, text string) bson.Raw {
	t.Helper()
	return Doc(t, unfold(text))
}

// ShortValue is Value for the shorthand of Short.
func ShortValue(t testing.TB, text string) bson.RawValue {
	t.Helper()
	return Value(t, unfold(text))
}

// unfold turns the shorthand of tests into Extended JSON.
func unfold(s string) string {
	var o strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			end := i + 1 + strings.IndexByte(s[i+1:], '"')
			o.WriteString(s[i : end+1])
			i = end
		case c == '/':
			end := i + 1 + strings.IndexByte(s[i+1:], '/')
			options := end + 1
			for options < len(s) && s[options] >= 'a' && s[options] <= 'z' {
				options++
			}
			o.WriteString(`{"$regularExpression":{"pattern":"` + s[i+1:end] + `","options":"` + s[end+1:options] + `"}}`)
			i = options - 1
		case c == '$' || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			end := i
			for end < len(s) && (s[end] == '$' || s[end] == '_' || s[end] >= 'a' && s[end] <= 'z' || s[end] >= 'A' && s[end] <= 'Z' || s[end] >= '0' && s[end] <= '9') {
				end++
			}
			word := s[i:end]
			if word == "null" || word == "true" || word == "false" {
				o.WriteString(word)
			} else {
				o.WriteString(`"` + word + `"`)
			}
			i = end - 1
		default:
			o.WriteByte(c)
		}
	}
	return o.String()
}
