package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gatewayd/sessions"
)

// An embedding program has the Manager from gateway.Gateway's Sessions.

var (
	tenMinutes = sessions.Plan{Type: sessions.TypeTime, TimeSecs: 600, DownMbits: 5, UpMbits: 3}
	aMegabyte  = sessions.Plan{Type: sessions.TypeData, DataMB: 1, UseGlobalSpeed: true}
)

func ExampleManager_Create() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()

	s, err := h.Create(ctx, id, tenMinutes)
	fmt.Println(s.ID, s.State, s.RemainingTime, err)
	_, err = h.Create(ctx, id, sessions.Plan{Type: sessions.TypeTime, TimeSecs: 600})
	fmt.Println(errors.Is(err, sessions.ErrBadPlan))
	// Output:
	// 1 available 600 <nil>
	// true
}

func ExampleManager_CreateBatch() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()

	made, err := h.CreateBatch(ctx, id, []sessions.Plan{tenMinutes, tenMinutes})
	fmt.Println(made[0].ID, made[1].ID, err)
	_, err = h.CreateBatch(ctx, id, []sessions.Plan{tenMinutes, {}}) // all or none
	fmt.Println(errors.Is(err, sessions.ErrBadPlan))
	// Output:
	// 1 2 <nil>
	// true
}

func ExampleManager_Summary() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.CreateBatch(ctx, id, []sessions.Plan{tenMinutes, tenMinutes})

	all, err := h.Summary(ctx, id)
	fmt.Println(all.Time.TimeSecs, all.Sessions[sessions.Available], all.Left[0].ID, err)
	// Output:
	// 1200 2 1 <nil>
}

func ExampleManager_ConnectDevice() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)

	d, err := h.ConnectDevice(ctx, id, "welcome")
	fmt.Println(d.Connected, d.Session.State, err)
	fmt.Println(h.Passes(time.Minute, 3000), "bytes pass")
	// Output:
	// true running <nil>
	// 3000 bytes pass
}

func ExampleManager_DisconnectDevice() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	s, _ := h.Create(ctx, id, tenMinutes)
	h.ConnectDevice(ctx, id, "welcome")
	h.Passes(time.Minute, 3000)

	d, err := h.DisconnectDevice(ctx, id, "see you")
	fmt.Println(d.Connected, err)
	s, _ = h.Session(ctx, s.ID)
	fmt.Println(s.State, s.RemainingTime)
	// Output:
	// false <nil>
	// available 540
}

func ExampleManager_PauseDevice() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)
	h.ConnectDevice(ctx, id, "welcome")

	d, err := h.PauseDevice(ctx, id, "lunch")
	fmt.Println(d.Connected, d.Session.State, err)
	fmt.Println(h.Passes(time.Hour, 3000), "bytes pass")
	// Output:
	// true paused <nil>
	// 0 bytes pass
}

func ExampleManager_ResumeDevice() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)
	h.ConnectDevice(ctx, id, "welcome")
	h.PauseDevice(ctx, id, "lunch")
	h.Passes(time.Hour, 0)

	d, err := h.ResumeDevice(ctx, id, "back")
	fmt.Println(d.Session.State, d.Session.RemainingTime, err)
	// Output:
	// running 600 <nil>
}

func ExampleManager_Update() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	s, _ := h.Create(ctx, id, aMegabyte)
	h.ConnectDevice(ctx, id, "welcome")
	h.Passes(0, 600_000)

	more := 2.0 // megabytes in all: the next packet has the new limit
	s, err := h.Update(ctx, s.ID, sessions.Change{DataMB: &more})
	fmt.Println(s.State, s.RemainingData, err)
	// Output:
	// running 1.4 <nil>
}

func ExampleManager_Delete() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	s, _ := h.Create(ctx, id, tenMinutes)

	fmt.Println(h.Delete(ctx, s.ID))
	_, err := h.Session(ctx, s.ID)
	fmt.Println(errors.Is(err, sessions.ErrUnknownSession))
	// Output:
	// <nil>
	// true
}

func ExampleManager_Session() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	s, _ := h.Create(ctx, id, aMegabyte)
	h.ConnectDevice(ctx, id, "welcome")
	h.Passes(0, 1500)

	s, err := h.Session(ctx, s.ID)
	fmt.Println(s.State, s.DownBytes, s.DataCons, err)
	// Output:
	// running 1500 0.0015 <nil>
}

func ExampleManager_Current() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)

	s, err := h.Current(ctx, id)
	fmt.Println(s, err)
	h.ConnectDevice(ctx, id, "welcome")
	s, err = h.Current(ctx, id)
	fmt.Println(s.ID, err)
	// Output:
	// <nil> <nil>
	// 1 <nil>
}

func ExampleManager_Sessions() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	for range 5 {
		h.Create(ctx, id, tenMinutes)
	}

	for cursor, more := "", true; more; more = cursor != "" {
		var page []sessions.Session
		page, cursor, _ = h.Sessions(ctx, sessions.Filter{DeviceID: id, State: sessions.Available}, cursor, 2)
		for _, s := range page {
			fmt.Print(s.ID, " ")
		}
	}
	// Output:
	// 1 2 3 4 5
}

func ExampleManager_Counts() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)
	h.Create(ctx, id, tenMinutes)
	h.ConnectDevice(ctx, id, "welcome")

	counts := h.Counts()
	fmt.Println(counts[sessions.Running], "runs,", counts[sessions.Available], "can be used")
	// Output:
	// 1 runs, 1 can be used
}

func ExampleManager_Ledger() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	s, _ := h.Create(ctx, id, tenMinutes)
	h.ConnectDevice(ctx, id, "")
	h.Passes(4*time.Minute, 1_000_000)
	h.DisconnectDevice(ctx, id, "lunch")
	h.Passes(time.Hour, 0)
	h.ConnectDevice(ctx, id, "")
	h.Passes(10*time.Minute, 0)

	lines, next, err := h.Ledger(ctx, s.ID, "", 0)
	for _, l := range lines {
		fmt.Printf("%s %-6s used %3d s, left %3d s: %s\n", l.At.Format(time.TimeOnly), l.Kind, l.Used.TimeMS/1000, *l.RemainingMS/1000, l.Why)
	}
	fmt.Println(next == "", err)
	// Output:
	// 12:01:00 create used   0 s, left 600 s: for device 1, 02:00:00:00:00:0a
	// 12:01:00 start  used   0 s, left 600 s: connected
	// 12:05:00 pause  used 240 s, left 360 s: disconnected: lunch
	// 13:05:00 resume used   0 s, left 360 s: connected
	// 13:11:00 end    used 360 s, left   0 s: the time is used up
	// true <nil>
}

func ExampleManager_Events() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)

	events := h.Events(sessions.FromNow, sessions.EventFilter{})
	h.ConnectDevice(ctx, id, "welcome")
	e, err := events.Next(ctx)
	fmt.Println(e.Name, e.DeviceID, string(e.Data), err)
	// Output:
	// session:connected 1 {"message":"welcome","session_id":1} <nil>
}

func ExampleManager_AddDevice() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx := context.Background()

	d, created, err := h.AddDevice(ctx, "02:00:00:00:00:0c", "10.10.0.9", "till")
	fmt.Println(d.ID, d.IP, d.Hostname, created, err)
	_, created, err = h.AddDevice(ctx, "02:00:00:00:00:0c", "10.10.0.9", "") // the same again
	fmt.Println(created, err)
	_, _, err = h.AddDevice(ctx, "ff:ff:ff:ff:ff:ff", "", "")
	fmt.Println(errors.Is(err, sessions.ErrBadDevice))
	// Output:
	// 2 10.10.0.9 till true <nil>
	// false <nil>
	// true
}

func ExampleManager_Device() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx := context.Background()

	for _, key := range []string{"1", "02:00:00:00:00:0a", "10.10.0.2", "10.10.0.3"} {
		d, err := h.Device(ctx, key)
		fmt.Println(d.ID, errors.Is(err, sessions.ErrNoDevice))
	}
	// Output:
	// 1 false
	// 1 false
	// 1 false
	// 0 true
}

func ExampleManager_DeviceAt() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx := context.Background()

	clnt, err := h.DeviceAt(ctx, netip.MustParseAddr("10.10.0.2"))
	fmt.Println(clnt.Id(), err)
	clnt, err = h.DeviceAt(ctx, netip.MustParseAddr("10.10.0.3"))
	fmt.Println(clnt.Id(), errors.Is(err, sessions.ErrNoBinding)) // never nil
	// Output:
	// 1 <nil>
	// 0 true
}

func ExampleManager_ClientDevice() {
	h := sessions.NewHotspot()
	defer h.Close()

	d, _ := h.Device(context.Background(), "10.10.0.2")
	clnt := h.ClientDevice(d) // what the calls of SessionsMgrApi take
	fmt.Println(h.API().IsConnected(clnt))
	// Output:
	// false <nil>
}

func ExampleManager_API() {
	h := sessions.NewHotspot()
	defer h.Close()

	var mgr sessions.SessionsMgrApi = h.API()
	fmt.Println(mgr.IsConnected(h.Client()))
	// Output:
	// false <nil>
}

func ExampleManager_Devices() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx := context.Background()
	h.AddDevice(ctx, "02:00:00:00:00:0c", "", "till")

	page, next, err := h.Devices(ctx, "", 0)
	for _, d := range page {
		fmt.Println(d.ID, d.MAC, d.Hostname)
	}
	fmt.Println(next == "", err)
	// Output:
	// 1 02:00:00:00:00:0a phone
	// 2 02:00:00:00:00:0c till
	// true <nil>
}

func ExampleManager_Standing() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)

	v, err := h.Standing(ctx, "10.10.0.2") // what decides about its packets
	fmt.Println(v.Passing, v.Next.ID, err)
	h.ConnectDevice(ctx, id, "welcome")
	v, err = h.Standing(ctx, "10.10.0.2")
	fmt.Println(v.Passing.Session.ID, v.Passing.Down, "bytes a second down", err)
	// Output:
	// <nil> 1 <nil>
	// 1 625000 bytes a second down <nil>
}

func ExampleManager_Degraded() {
	h := sessions.NewHotspot()
	defer h.Close()

	fmt.Println(len(h.Degraded()), "reasons why a change may be refused")
	// Output:
	// 0 reasons why a change may be refused
}

func ExampleManager_Adopt() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, aMegabyte)
	h.ConnectDevice(ctx, id, "")

	err := h.Adopt(sessions.Options{GlobalDown: 1_250_000, GlobalUp: 1_250_000, ResumeOnRestart: true}) // 10 Mbit/s
	now, _ := h.Current(ctx, id)
	fmt.Println(now.State, err)
	// Output:
	// running <nil>
}

func ExampleManager_Backup() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)

	var kept bytes.Buffer
	err := h.Backup(ctx, &kept)
	fmt.Println(kept.Len() > 0, err) // good only without an error
	// Output:
	// true <nil>
}

func ExampleManager_Restore() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	s, _ := h.Create(ctx, id, tenMinutes)
	var kept bytes.Buffer
	h.Backup(ctx, &kept)
	h.Delete(ctx, s.ID)

	fmt.Println(errors.Is(h.Restore(ctx, bytes.NewReader(kept.Bytes()[:10])), sessions.ErrBadBackup))
	fmt.Println(h.Restore(ctx, &kept))
	s, err := h.Session(ctx, s.ID)
	fmt.Println(s.State, err)
	// Output:
	// true
	// <nil>
	// available <nil>
}

func ExamplePlan_Check() {
	fmt.Println(tenMinutes.Check())
	fmt.Println(sessions.Plan{Type: sessions.TypeTime, TimeSecs: 600}.Check())
	// Output:
	// <nil>
	// bad plan: speed is 0 Mbit down, 0 Mbit up: want at least 1 each, or the global speed
}

func ExampleParseType() {
	t, err := sessions.ParseType("time_or_data")
	fmt.Println(uint8(t), t, err)
	_, err = sessions.ParseType("minutes")
	fmt.Println(errors.Is(err, sessions.ErrBadPlan))
	// Output:
	// 2 time_or_data <nil>
	// true
}

func ExampleEventNames() {
	for _, name := range sessions.EventNames() {
		fmt.Println(name)
	}
	// Output:
	// session:connected
	// session:disconnected
	// session:throttled
	// session:consumed
	// session:expired
	// session:changed
	// session:skipped
	// client:created
	// client:changed
	// provider:failed
	// provider:answered
}

// A reader that comes back goes on where it was.
func ExampleEventReader() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()

	events := h.Events(sessions.FromNow, sessions.EventFilter{DeviceID: id, Names: []string{sessions.SessionConnected, sessions.SessionDisconnected}})
	h.Create(ctx, id, tenMinutes)
	h.ConnectDevice(ctx, id, "welcome")
	e, err := events.Next(ctx)
	fmt.Println(e.Name, err)
	last := events.After()
	h.DisconnectDevice(ctx, id, "see you")
	e, err = h.Events(last, sessions.EventFilter{DeviceID: id}).Next(ctx)
	fmt.Println(e.Name, err)
	// Output:
	// session:connected <nil>
	// session:disconnected <nil>
}

func ExampleManager_Traffic() {
	h := sessions.NewHotspot()
	defer h.Close()
	ctx, id := context.Background(), h.Client().Id()
	h.Create(ctx, id, tenMinutes)
	h.ConnectDevice(ctx, id, "welcome")

	all, err := h.Traffic(ctx, sessions.ByDown, 10) // the ten who receive most
	first := all.Items[0]
	fmt.Println(all.Clients.Connected, first.IP, first.Down.LimitBitsPerSecond, first.Session.State, err)
	// Output:
	// 1 10.10.0.2 5000000 running <nil>
}
