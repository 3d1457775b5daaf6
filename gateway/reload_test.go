package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/gateway/api/client"
	"gatewayd/gateway/config"
)

func TestALogChangesItsLevelAndFormat(t *testing.T) {
	var out bytes.Buffer
	v := newVoice(config.Log{Level: "info", Format: "text"})
	log := v.logger(&out, "test", strings.ToUpper).With("n", 1)
	for _, row := range []struct{ level, format, want string }{
		{"info", "text", `level=INFO msg=MESSAGE process=TEST n=1 k=V`},
		{"debug", "json", `"level":"INFO","msg":"MESSAGE","process":"TEST","n":1,"k":"V"}`},
		{"error", "json", ""},
		{"warn", "text", ""},
		{"debug", "text", `level=INFO msg=MESSAGE process=TEST n=1 k=V`},
	} {
		v.set(config.Log{Level: row.level, Format: row.format})
		out.Reset()
		log.Info("message", "k", "v")
		if said := strings.TrimSpace(out.String()); row.want == "" && said != "" || !strings.HasSuffix(said, row.want) {
			t.Errorf("%s, %s: %q, want %q", row.level, row.format, said, row.want)
		}
	}
}

func TestARefusalFitsAMessage(t *testing.T) {
	var all config.Errors
	for i := range 15 {
		all = append(all, config.Error{File: "gw.yaml", Line: i + 1, Column: 1, Key: "k", Reason: strings.Repeat("\x01\"", 1000)})
	}
	if text := refusalText(all[:1]); text != all[:1].Error() {
		t.Errorf("one is told as %q", text)
	}
	text := refusalText(all)
	if len(text) > longestRefusal+100 || !strings.HasSuffix(text, "\nand more: see gatewayd check") || !strings.HasPrefix(all.Error(), text[:strings.LastIndexByte(text, '\n')]) {
		t.Errorf("%d bytes, that end with %q", len(text), text[len(text)-100:])
	}
	a, far, err := newWire()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	b, err := openWire(far)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if err := a.send(message{Reloaded: &reloading{Refused: text}}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := b.receive(); err != nil || m.Reloaded == nil || m.Reloaded.Refused != text {
		t.Errorf("it arrives as %+v, %v", m.Reloaded, err)
	}
}

// What a program changes of its gateway is in force when Reload returns, before and
// after Run alike; who asks on the socket is told that it is the program's to do.
func TestAProgramReloadsItsGateway(t *testing.T) {
	cfg := unopened(t)
	gw, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	next := *cfg
	next.Bandwidth.Total.Down, next.Limits.Clients = 8*config.Mbit, 7
	done, err := gw.Reload(&next)
	if err != nil || !slices.Equal(done.Applied, []string{"bandwidth.total.down"}) || !slices.Equal(done.NeedsRestart, []string{"limits.clients"}) {
		t.Errorf("%+v, %v", done, err)
	}
	if got := gw.keeper.table.Header().TotalDown.Load(); got != 1_000_000 {
		t.Errorf("the total down is %d bytes a second, want 1,000,000", got)
	}

	daemon := client.New(cfg.API.Socket, 10*time.Second)
	var problem *client.Problem
	if _, err := daemon.Call(t.Context(), "POST", "/reload", nil); !errors.As(err, &problem) || problem.Status != 409 {
		t.Errorf("on the socket: %v, want 409", err)
	}
	var status struct {
		Config struct {
			File         string   `json:"file"`
			NeedsRestart []string `json:"needs_restart"`
		} `json:"config"`
	}
	if err := daemon.Ask(t.Context(), "GET", "/status", nil, &status); err != nil || fmt.Sprint(status.Config) != "{ [limits.clients]}" {
		t.Errorf("status: %+v, %v", status.Config, err)
	}

	wrong := next
	wrong.Bandwidth.Total.Down, wrong.Log.Level = 0, "all"
	if _, err := gw.Reload(&wrong); !errors.As(err, new(config.Errors)) {
		t.Errorf("a config that is not right: %v", err)
	}
	if got := gw.keeper.table.Header().TotalDown.Load(); got != 1_000_000 {
		t.Errorf("a refused config changed the total to %d", got)
	}
	gw.Close()
	if _, err := gw.Reload(&next); !errors.Is(err, ErrEnded) {
		t.Errorf("after Close: %v", err)
	}
}
