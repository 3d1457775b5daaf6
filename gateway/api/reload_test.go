package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"gatewayd/gateway/api"
)

func TestReloadIsAnsweredWithWhatCameOfIt(t *testing.T) {
	const caret = "gw.yaml:3:7: mode: \"x\" is not known\n    3 | mode: x\n      |       ^"
	for _, row := range []struct {
		name   string
		done   api.Reloaded
		err    error
		status int
		want   string // JSON, compared as values
	}{
		{"all of it", api.Reloaded{File: "gw.yaml", Applied: []string{"log.level"}, NeedsRestart: []string{"workers"}, Warnings: []string{"w"}}, nil, 200,
			`{"file":"gw.yaml","applied":["log.level"],"needs_restart":["workers"],"warnings":["w"]}`},
		{"nothing is no list of nothing", api.Reloaded{File: "gw.yaml"}, nil, 200, `{"file":"gw.yaml","applied":[],"needs_restart":[],"warnings":[]}`},
		{"a file that is not right, as check says it", api.Reloaded{}, fmt.Errorf("%w%s", api.ErrBadConfig, "\n"+caret), 422,
			`{"title":"Unprocessable Entity","status":422,"detail":"the config is refused\n` + strings.NewReplacer("\n", `\n`, `"`, `\"`).Replace(caret) +
				`\nthe config that runs stays in force; correct the file and reload again"}`},
		{"a program's own config", api.Reloaded{}, api.ErrNoConfig, 409,
			`{"title":"Conflict","status":409,"detail":"this gateway's config is its program's own, which reads no file; change it where that program has its config"}`},
		{"a keeper that does not answer", api.Reloaded{}, fmt.Errorf("reload: %w", context.DeadlineExceeded), 503,
			`{"title":"Service Unavailable","status":503,"detail":"reload: context deadline exceeded; whether it was done is open: look before asking again, see gatewayd status"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			handler := api.New(newFake(), nil, nil, nil, func(ctx context.Context) (api.Reloaded, error) {
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("the call has no deadline")
				}
				return row.done, row.err
			}, nil)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest("POST", api.Base+"/reload", nil))
			body, _ := io.ReadAll(w.Result().Body)
			if w.Code != row.status {
				t.Errorf("%d %s, want %d", w.Code, body, row.status)
			}
			sameJSON(t, string(body), row.want)
		})
	}
}
