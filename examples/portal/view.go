package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"gatewayd/gateway/config"
	"gatewayd/sessions"
)

// client is what the gateway knows of a client, as far as its page shows it.
type client struct {
	device   sessions.Device
	list     []sessions.Session
	canStart bool   // it has a session that Connect would use
	browser  string // as it says itself
}

// Bounds of a page.
const (
	mostRead  = 10          // pages of a client's sessions
	mostEnded = 3           // sessions shown that are used up or expired, the newest
	shopTime  = time.Second // for the shop to say what it has, which a page waits for
)

// rank says when a session is used: what is in use is first, then the shop's.
func rank(s sessions.Session) int {
	switch {
	case s.State == sessions.Running || s.State == sessions.Paused:
		return 0
	case s.Provider == shopName:
		return 1
	}
	return 2
}

// look reads all that is shown.
func (p *portal) look(r *http.Request, clnt sessions.ClientDevice) (client, error) {
	ctx := r.Context()
	c := client{browser: r.UserAgent()}
	var err error
	if c.device, err = p.core.Device(ctx, strconv.FormatInt(clnt.Id(), 10)); err != nil {
		return c, err
	}
	if c.canStart = c.device.Connected; !c.canStart {
		_, err = p.api.SessionsMgr().GetSession(ctx, clnt)
		if c.canStart = err == nil; err != nil && !errors.Is(err, sessions.ErrNoSession) {
			return c, err
		}
	}
	var ended, known []sessions.Session // known: all of them
	for cursor, n := "", 0; n == 0 || cursor != "" && n < mostRead; n++ {
		var page []sessions.Session
		if page, cursor, err = p.core.Sessions(ctx, sessions.Filter{DeviceID: c.device.ID}, cursor, 0); err != nil {
			return c, err
		}
		known = append(known, page...)
		for _, s := range page {
			if s.State == sessions.Consumed && !s.Throttled || s.State == sessions.Expired {
				ended = append(ended[max(len(ended)-mostEnded+1, 0):], s)
				continue
			}
			c.list = append(c.list, s)
		}
	}
	c.list = append(c.list, p.more(ctx, clnt, known)...)
	slices.SortStableFunc(c.list, func(a, b sessions.Session) int { return cmp.Compare(rank(a), rank(b)) })
	c.list = append(c.list, ended...)
	return c, nil
}

// more is what the shop has for a client beside what the gateway knows, which
// asks it for the next session and not for all. A shop that does not answer soon
// is not waited for.
func (p *portal) more(ctx context.Context, clnt sessions.ClientDevice, known []sessions.Session) (all []sessions.Session) {
	if p.shop == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shopTime)
	defer cancel()
	for page, pages := 1, 1; page <= min(pages, mostRead); page++ {
		r, err := p.shop.FetchSessions(ctx, clnt, page, 20)
		if err != nil {
			p.log.Debug("what the shop has is not shown", "client", clnt.MacAddr(), "error", err)
			return all
		}
		pages = int(r.Pages)
		for _, source := range r.Sessions {
			d := source.Data()
			if !slices.ContainsFunc(known, func(s sessions.Session) bool { return s.Provider == d.Provider && s.CreatedAt.Equal(d.CreatedAt) }) {
				all = append(all, kept(d))
			}
		}
	}
	return all
}

// kept is a session that is kept elsewhere, as it is shown.
func kept(d sessions.SessionData) sessions.Session {
	s := sessions.Session{
		Provider: d.Provider, Type: sessions.Type(d.Type), State: sessions.Available,
		TimeSecs: d.TimeSecs, RemainingTime: d.TimeSecs - min(d.TimeCons, d.TimeSecs), DataMB: d.DataMb, RemainingData: max(d.DataMb-d.DataCons, 0),
		ExpDays: d.ExpDays, DownMbits: d.DownMbits, UpMbits: d.UpMbits, UseGlobalSpeed: d.UseGlobalSpeed, CreatedAt: d.CreatedAt,
	}
	if d.StartedAt != nil && d.ExpDays != nil { // by another gateway
		at := d.StartedAt.Add(time.Duration(*d.ExpDays) * 24 * time.Hour)
		if s.Type != sessions.TypeData {
			at = at.Add(time.Duration(d.TimeSecs) * time.Second)
		}
		s.ExpiresAt = &at
	}
	return s
}

// glance reads only what changes without an event: what is left of the running
// session. It takes no disk.
func (c *client) glance(ctx context.Context, core *sessions.Manager) error {
	d, err := core.Device(ctx, strconv.FormatInt(c.device.ID, 10))
	if err != nil {
		return err
	}
	c.device = d
	for i := range c.list {
		if d.Session != nil && c.list[i].ID == d.Session.ID {
			c.list[i] = *d.Session
		}
	}
	return nil
}

// view is what a client is shown, in words.
type view struct {
	Title, Notice            string
	State, Headline, Advice  string // State: online, paused, offline
	Device                   sessions.Device
	Browser                  string
	Lines                    []line
	MayConnect, MayHaveADemo bool
}

// line is a session.
type line struct {
	Kind, State, Says         string // State: as in the gateway's own API
	Time, Data                *gauge
	Speed, Provider           string
	Expires, ExpiresAt, Since string
}

// gauge is what is left of an amount.
type gauge struct {
	Left, Of string
	Percent  int
}

// words says what a client is shown.
func (p *portal) words(c client) view {
	v := view{Title: p.title, Device: c.device, Browser: c.browser, State: "offline", Headline: "You are offline"}
	switch {
	case c.device.Session != nil && c.device.Session.State == sessions.Paused:
		v.State, v.Headline = "paused", "You are paused"
		v.Advice = "Nothing passes, and your session is not used meanwhile."
	case c.device.Connected:
		v.State, v.Headline = "online", "You are online"
		v.Advice = "Pause or disconnect when you are done: what is left is kept for you."
	case c.canStart:
		v.MayConnect = true
		v.Advice = "You have a session. It is used only while you are connected."
	default:
		v.MayHaveADemo = p.demo
		v.Advice = "You have no session with anything left."
	}
	for _, s := range c.list {
		v.Lines = append(v.Lines, p.line(s))
	}
	return v
}

var kinds = map[sessions.Type]string{
	sessions.TypeTime: "Time", sessions.TypeData: "Data", sessions.TypeTimeOrData: "Time or data, whichever ends first",
}

var states = map[sessions.State]string{
	sessions.Running: "in use", sessions.Paused: "paused", sessions.Available: "ready", sessions.Consumed: "used up", sessions.Expired: "expired",
}

func (p *portal) line(s sessions.Session) line {
	l := line{Kind: kinds[s.Type], State: string(s.State), Says: states[s.State], Provider: s.Provider}
	if s.Type != sessions.TypeData {
		l.Time = &gauge{timeText(s.RemainingTime), timeText(s.TimeSecs), percent(float64(s.RemainingTime), float64(s.TimeSecs))}
	}
	if s.Type != sessions.TypeTime {
		l.Data = &gauge{dataText(s.RemainingData), dataText(s.DataMB), percent(s.RemainingData, s.DataMB)}
	}
	down, up := fmt.Sprintf("%d Mbit/s", s.DownMbits), fmt.Sprintf("%d Mbit/s", s.UpMbits)
	if s.UseGlobalSpeed {
		down, up = rateText(p.global.Down), rateText(p.global.Up)
	}
	if s.Throttled { // it is used up, and slower until it expires or another one is bought
		l.Says = "used up, slower from here"
		down, up = rateText(config.Rate(s.ThrottleDown)), rateText(config.Rate(s.ThrottleUp))
	}
	l.Speed = down + " down, " + up + " up"
	switch {
	case s.ExpiresAt != nil:
		l.Expires, l.ExpiresAt = s.ExpiresAt.Local().Format("2 January 2006, 15:04"), s.ExpiresAt.Format(time.RFC3339)
	case s.ExpDays != nil:
		l.Expires = fmt.Sprintf("%d days after its first use", *s.ExpDays)
	default:
		l.Expires = "never"
	}
	return l
}

// percent of a whole, rounded up: what is not empty does not look so.
func percent(part, whole float64) int {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return min(100, int(math.Ceil(part/whole*100)))
}

// rateText says a rate of the gateway's config.
func rateText(r config.Rate) string {
	if r == 0 {
		return "unlimited"
	}
	return r.String() + "/s"
}

// timeText says seconds as a person would.
func timeText(secs uint) string {
	switch d, h, m, s := secs/86400, secs/3600%24, secs/60%60, secs%60; {
	case d > 0:
		return fmt.Sprintf("%d d %d h", d, h)
	case h > 0:
		return fmt.Sprintf("%d h %02d min", h, m)
	case m > 0:
		return fmt.Sprintf("%d min %02d s", m, s)
	default:
		return fmt.Sprintf("%d s", s)
	}
}

// dataText says megabytes of 1,000,000 bytes, rounded down.
func dataText(mb float64) string {
	switch {
	case mb >= 1000:
		return fmt.Sprintf("%.2f GB", float64(int64(mb/10))/100)
	case mb >= 1:
		return fmt.Sprintf("%.1f MB", float64(int64(mb*10))/10)
	default:
		return fmt.Sprintf("%d kB", int64(mb*1000))
	}
}
