package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatewayd/sessions"
)

// An embedding program has mgr from gateway.API's SessionsMgr and clnt from its
// Http().GetClientDevice.

func ExampleSessionsMgrApi_createSession() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()

	days := uint(30)
	err := mgr.CreateSession(ctx, clnt.Id(), 2, 3600, 100, &days, 5, 3, false) // an hour or 100 MB
	fmt.Println(err)
	err = mgr.CreateSession(ctx, clnt.Id(), 1, 0, 100, nil, 0, 0, false)
	fmt.Println(errors.Is(err, sessions.ErrBadPlan), "neither a speed nor the global one")
	today := uint(0)
	fmt.Println(mgr.CreateSession(ctx, clnt.Id(), 0, 3600, 0, &today, 5, 3, false), "an hour from its start, used or not")
	err = mgr.CreateSession(ctx, clnt.Id(), 1, 0, 100, &today, 5, 3, false)
	fmt.Println(errors.Is(err, sessions.ErrBadPlan), "data has no time, and would expire as it starts")
	// Output:
	// <nil>
	// true neither a speed nor the global one
	// <nil> an hour from its start, used or not
	// true data has no time, and would expire as it starts
}

func ExampleSessionsMgrApi_connect() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()

	err := mgr.Connect(ctx, clnt, "welcome")
	fmt.Println(errors.Is(err, sessions.ErrNoSession))
	mgr.CreateSession(ctx, clnt.Id(), 0, 600, 0, nil, 5, 3, false)
	fmt.Println(mgr.Connect(ctx, clnt, "welcome"), h.Passes(0, 3000), "bytes pass")
	fmt.Println(errors.Is(mgr.Connect(ctx, clnt, ""), sessions.ErrAlreadyConnected))
	// Output:
	// true
	// <nil> 3000 bytes pass
	// true
}

func ExampleSessionsMgrApi_disconnect() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	mgr.CreateSession(ctx, clnt.Id(), 0, 600, 0, nil, 5, 3, false)
	mgr.Connect(ctx, clnt, "welcome")
	h.Passes(100*time.Second, 3000)

	fmt.Println(mgr.Disconnect(ctx, clnt, "see you"), h.Passes(100*time.Second, 3000), "bytes pass")
	s, _ := mgr.GetSession(ctx, clnt)
	fmt.Println(s.RemainingTime(), "s are left")
	// Output:
	// <nil> 0 bytes pass
	// 500 s are left
}

func ExampleSessionsMgrApi_isConnected() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	mgr.CreateSession(ctx, clnt.Id(), 0, 600, 0, nil, 5, 3, false)

	fmt.Println(mgr.IsConnected(clnt))
	mgr.Connect(ctx, clnt, "welcome")
	fmt.Println(mgr.IsConnected(clnt))
	// Output:
	// false <nil>
	// true <nil>
}

func ExampleSessionsMgrApi_currSession() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	mgr.CreateSession(ctx, clnt.Id(), 1, 0, 1.5, nil, 5, 3, false)

	_, ok := mgr.CurrSession(clnt)
	fmt.Println(ok)
	mgr.Connect(ctx, clnt, "welcome")
	h.Passes(0, 300_000)
	cs, ok := mgr.CurrSession(clnt)
	fmt.Println(ok, cs.RemainingData(), "MB are left")
	// Output:
	// false
	// true 1.2 MB are left
}

func ExampleSessionsMgrApi_getSession() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()

	_, err := mgr.GetSession(ctx, clnt)
	fmt.Println(errors.Is(err, sessions.ErrNoSession))
	mgr.CreateSession(ctx, clnt.Id(), 0, 600, 0, nil, 5, 3, false)
	s, err := mgr.GetSession(ctx, clnt) // not connected yet: the one that would be used
	fmt.Println(s.TimeSecs(), s.StartedAt(), err)
	// Output:
	// true
	// 600 <nil> <nil>
}

func ExampleSessionsMgrApi_registerSessionProvider() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()

	mgr.RegisterSessionProvider(school{&hour{data: sessions.SessionData{Provider: "school", TimeSecs: 3600, DownMbits: 5, UpMbits: 3}}})
	s, err := mgr.GetSession(ctx, clnt)
	fmt.Println(s.Provider(), s.TimeSecs(), err)
	// Output:
	// school 3600 <nil>
}

func ExampleClientSession() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	days := uint(2)
	mgr.CreateSession(ctx, clnt.Id(), 2, 600, 10, &days, 5, 3, false)
	mgr.Connect(ctx, clnt, "welcome")
	h.Passes(90*time.Second, 2_500_500)

	s, _ := mgr.CurrSession(clnt) // getters read live values
	fmt.Println(s.Provider(), s.Type(), s.TimeSecs(), "s,", s.DataMb(), "MB")
	fmt.Println("used", s.TimeConsumption(), "s,", s.DataConsumption(), "MB")
	fmt.Println("left", s.RemainingTime(), "s,", s.RemainingData(), "MB")
	fmt.Println(s.DownMbits(), "Mbit down,", s.UpMbits(), "up, global:", s.UseGlobalSpeed())
	fmt.Println("runs out", *s.ExpDays(), "days after its time:", s.ExpiresAt().Sub(*s.StartedAt()), "after its start")
	fmt.Println("created", s.CreatedAt().Format(time.DateTime))
	// Output:
	// local 2 600 s, 10 MB
	// used 90 s, 2.5005 MB
	// left 510 s, 7.4995 MB
	// 5 Mbit down, 3 up, global: false
	// runs out 2 days after its time: 48h10m0s after its start
	// created 2026-03-01 12:01:00
}

func ExampleClientSession_save() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	mgr.CreateSession(ctx, clnt.Id(), 2, 600, 10, nil, 5, 3, false)
	mgr.Connect(ctx, clnt, "welcome")
	h.Passes(90*time.Second, 0)

	s, _ := mgr.CurrSession(clnt)
	s.SetTimeSecs(1200)
	s.SetDataMb(20)
	s.IncTimeCons(10)
	s.IncDataCons(0.5)
	other, _ := mgr.CurrSession(clnt)
	fmt.Println(s.RemainingTime(), "s; for others still", other.RemainingTime())
	err := s.Save(ctx) // the running grant changes with it
	fmt.Println(err, other.RemainingTime(), "s,", other.RemainingData(), "MB")
	// Output:
	// 1100 s; for others still 510
	// <nil> 1100 s, 19.5 MB
}

func ExampleClientSession_set() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	mgr.CreateSession(ctx, clnt.Id(), 2, 600, 10, nil, 5, 3, false)

	s, _ := mgr.GetSession(ctx, clnt)
	days, started := uint(7), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.SetTimeCons(60)
	s.SetDataCons(1)
	s.SetStartedAt(&started)
	s.SetExpDays(&days)
	s.SetDownMbits(8)
	s.SetUpMbits(4)
	fmt.Println(s.Save(ctx), s.ExpiresAt().Format(time.DateTime), s.RemainingTime(), s.RemainingData(), s.DownMbits(), s.UpMbits())
	s.SetUseGlobalSpeed(true)
	fmt.Println(s.Save(ctx), s.UseGlobalSpeed())
	// Output:
	// <nil> 2026-03-08 12:10:00 540 9 8 4
	// <nil> true
}

func ExampleClientSession_reload() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	mgr.CreateSession(ctx, clnt.Id(), 0, 600, 0, nil, 5, 3, false)

	s, _ := mgr.GetSession(ctx, clnt)
	s.SetTimeSecs(1)
	fmt.Println(s.Reload(ctx), s.TimeSecs()) // what was set is dropped
	// Output:
	// <nil> 600
}

func ExampleClientDevice() {
	h := sessions.NewHotspot()
	defer h.Close()
	clnt, ctx := h.Client(), context.Background()

	fmt.Println(clnt.Id(), clnt.MacAddr(), clnt.IpAddr(), clnt.Hostname())
	err := clnt.Update(ctx, "", "10.10.0.7", "tablet") // the MAC stays
	fmt.Println(err, clnt.MacAddr(), clnt.IpAddr(), clnt.Hostname())
	// Output:
	// 1 02:00:00:00:00:0a 10.10.0.2 phone
	// <nil> 02:00:00:00:00:0a 10.10.0.7 tablet
}

func ExampleClientDevice_subscribe() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	mgr.CreateSession(ctx, clnt.Id(), 0, 600, 0, nil, 5, 3, false)

	connected := clnt.Subscribe("session:connected")
	mgr.Connect(ctx, clnt, "welcome")
	fmt.Printf("%s\n", <-connected)
	clnt.Unsubscribe("session:connected", connected)
	_, more := <-connected
	fmt.Println(more)

	mine := clnt.Subscribe("coin:inserted") // a program's own events
	clnt.Emit("coin:inserted", map[string]int{"pesos": 5})
	fmt.Printf("%s\n", <-mine)
	// Output:
	// {"message":"welcome","session_id":1}
	// false
	// {"pesos":5}
}
