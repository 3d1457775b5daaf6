package main

import (
	"fmt"
	"io"
	"time"
)

// showSessions prints a row a session.
func showSessions(w io.Writer, sessions []session) {
	if len(sessions) == 0 {
		fmt.Fprintln(w, "no such sessions; create one: gatewayd sessions create --help")
		return
	}
	t := table(w)
	defer t.Flush()
	fmt.Fprintln(t, "ID\tDEVICE\tTYPE\tSTATE\tTOTAL\tLEFT\tSPEED\tEXPIRES")
	for _, s := range sessions {
		fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.DeviceID, s.Type, s.shortState(), s.total(), s.left(), s.speed(), s.expires())
	}
}

// showSession prints one session, a line a property.
func showSession(w io.Writer, s session) {
	t := table(w)
	defer t.Flush()
	fmt.Fprintf(t, "session\t%d of device %d, from %s\n", s.ID, s.DeviceID, s.Provider)
	fmt.Fprintf(t, "state\t%s\n", s.state())
	fmt.Fprintf(t, "type\t%s\n", s.Type)
	fmt.Fprintf(t, "total\t%s\n", s.total())
	fmt.Fprintf(t, "left\t%s\n", s.left())
	fmt.Fprintf(t, "used\t%s, %s up, %s down\n", humanTime(s.TimeCons), humanBytes(s.UpBytes), humanBytes(s.DownBytes))
	fmt.Fprintf(t, "speed\t%s\n", s.speed())
	fmt.Fprintf(t, "used up\t%s\n", s.throttle())
	fmt.Fprintf(t, "weight\t%d\n", s.Weight)
	fmt.Fprintf(t, "created\t%s\n", moment(&s.CreatedAt))
	fmt.Fprintf(t, "started\t%s\n", moment(s.StartedAt))
	fmt.Fprintf(t, "expires\t%s\n", s.expires())
}

// shortState is the session's state, and whether it is throttled.
func (s session) shortState() string {
	if s.Throttled {
		return s.State + ", throttled"
	}
	return s.State
}

// state is the session's state, with why it is paused or what being throttled means.
func (s session) state() string {
	switch {
	case s.Throttled && s.State == "consumed":
		return s.State + "; it may be connected again at its throttle until it expires"
	case s.Throttled:
		return fmt.Sprintf("%s, throttled: it is used up and goes on at %s", s.State, s.throttle())
	case s.PauseReason != "":
		return fmt.Sprintf("%s (%s)", s.State, s.PauseReason)
	}
	return s.State
}

// throttle is what becomes of the session when it is used up.
func (s session) throttle() string {
	if s.ThrottleDown == 0 {
		return "cut off"
	}
	return fmt.Sprintf("%s down, %s up", humanRate(s.ThrottleDown), humanRate(s.ThrottleUp))
}

func (s session) total() string { return s.amount(s.TimeSecs, s.DataMB) }
func (s session) left() string  { return s.amount(s.RemainingTime, s.RemainingData) }

// amount writes what the session's type counts.
func (s session) amount(secs uint64, megabytes float64) string {
	switch s.Type {
	case "time":
		return humanTime(secs)
	case "data":
		return humanData(megabytes)
	default:
		return humanTime(secs) + " or " + humanData(megabytes)
	}
}

func (s session) speed() string {
	if s.Throttled {
		return humanRate(s.ThrottleDown) + "/" + humanRate(s.ThrottleUp)
	}
	if s.UseGlobalSpeed {
		return "global speed"
	}
	return fmt.Sprintf("%d/%d Mbit", s.DownMbits, s.UpMbits)
}

func (s session) expires() string {
	switch {
	case s.ExpDays == nil:
		return "never"
	case s.ExpiresAt == nil:
		return fmt.Sprintf("%d days after its start and its time", *s.ExpDays)
	default:
		return moment(s.ExpiresAt)
	}
}

// moment writes a time in the local zone.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "not yet"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
