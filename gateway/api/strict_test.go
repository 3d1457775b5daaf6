package api

import (
	"encoding/json"
	"testing"
)

func TestNamedOnce(t *testing.T) {
	for text, twice := range map[string]bool{
		``: false, `{`: false, `null`: false, `"a"`: false, `{"a":1,"b":1}`: false, `{"a":"a","b":"a"}`: false, `["a","a"]`: false,
		`[{"a":1},{"a":2}]`: false, `{"a":{"a":{"a":[]}}}`: false, `{"a":["b","b",{"b":1}],"b":{}}`: false, `{"a":1}{"a":2}`: false,
		`{"a":1,"a":1}`: true, `{"a":{},"a":null}`: true, `{"a":[],"b":"a","a":"b"}`: true, `{"b":[0,{"a":1,"c":[],"a":2}]}`: true,
		`{"a":1,"\u0061":2}`: true, `{"":1,"":2}`: true,
	} {
		if err := namedOnce([]byte(text)); (err != nil) != twice {
			t.Errorf("%s: %v, want twice %v", text, err, twice)
		}
	}
}

// FuzzNamedOnce: it ends without a panic for any text, and refuses nothing that
// encoding/json wrote of a value.
func FuzzNamedOnce(f *testing.F) {
	for _, text := range []string{`{"a":{"b":[1,2,{"c":null}]}}`, `]`, `{"a"`, `{"a":1,"a":2}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = namedOnce(text)
		var v any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := namedOnce(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}
