package urlfilter

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/annals-es/annals/query"
)

// The codes of problems, for programs.
const (
	CodeSyntax   = "syntax"
	CodeField    = "unknown_field"
	CodeOperator = "operator_not_allowed"
	CodeValue    = "bad_value"
	CodeRepeated = "repeated"
	CodeConflict = "conflict"
	CodeLimit    = "too_much"
)

// A Problem is one mistake of a request.
type Problem struct {
	// Parameter is the parameter as it came, shortened if it is long, without control characters.
	Parameter string `json:"parameter,omitempty"`
	// Code is one of the Code constants.
	Code string `json:"code"`
	// Detail says what is wrong and what would be right, for people.
	Detail string `json:"detail"`
}

// An Error lists everything that is wrong with a request (up to 20 problems). It
// matches query.ErrInvalid, and marshals to problem details (RFC 9457).
type Error struct {
	Problems []Problem
}

func (e *Error) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.Detail
		if p.Parameter != "" {
			parts[i] = fmt.Sprintf("%s: %s", p.Parameter, p.Detail)
		}
	}
	return "invalid query string: " + strings.Join(parts, "; ")
}

// Is reports whether the target is query.ErrInvalid.
func (e *Error) Is(target error) bool { return target == query.ErrInvalid }

type problemDetails struct {
	Type   string    `json:"type"`
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Errors []Problem `json:"errors"`
}

// MarshalJSON makes problem details with the list under "errors".
func (e *Error) MarshalJSON() ([]byte, error) {
	detail := "One parameter is wrong."
	if n := len(e.Problems); n != 1 {
		detail = fmt.Sprintf("%d parameters are wrong.", n)
	}
	return json.Marshal(problemDetails{
		Type: "about:blank", Title: "Invalid query string", Status: http.StatusBadRequest, Detail: detail, Errors: e.Problems,
	})
}

// ServeHTTP answers a request with the error, as application/problem+json with status 400.
func (e *Error) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(e)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(body) // the client may be gone
}

// shortened keeps what came from outside short enough for an answer and a log.
func shortened(s string) string {
	const longest = 64
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s[:min(len(s), 8*longest)])
	if len(s) <= longest {
		return s
	}
	cut := longest
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
