package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// strictJSON is JSON whose objects have each name once: of two, the one that a
// reader drops may be the one that was meant.
var strictJSON = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(data []byte, v any) error {
		if err := namedOnce(data); err != nil {
			return err
		}
		return huma.DefaultJSONFormat.Unmarshal(data, v)
	},
}

// namedOnce says which name an object of a JSON text has twice. It leaves what
// is no JSON to whoever decodes it.
func namedOnce(text []byte) error {
	type level struct {
		names map[string]bool // nil: an array
		value bool            // a name was read, its value is next
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(text))
	for d.UseNumber(); ; {
		token, err := d.Token()
		if err != nil { // its end, too
			return nil
		}
		top := len(open) - 1
		if name, ok := token.(string); ok && top >= 0 && open[top].names != nil && !open[top].value {
			if open[top].names[name] {
				return fmt.Errorf("%q stands there twice, want it once", name)
			}
			open[top].names[name], open[top].value = true, true
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}})
			continue
		case json.Delim('['):
			open = append(open, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
		if top = len(open) - 1; top >= 0 {
			open[top].value = false
		}
	}
}

// askedOnce refuses a call that gives a parameter twice: which one is meant is
// not known.
func askedOnce(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		asked := ctx.URL()
		query := asked.Query()
		var wrong []error
		for _, name := range slices.Sorted(maps.Keys(query)) {
			if n := len(query[name]); n > 1 {
				wrong = append(wrong, &huma.ErrorDetail{Location: "query." + name, Message: fmt.Sprintf("%d times, want it once", n)})
			}
		}
		if len(wrong) > 0 {
			_ = huma.WriteErr(api, ctx, http.StatusUnprocessableEntity, "validation failed", wrong...)
			return
		}
		next(ctx)
	}
}
