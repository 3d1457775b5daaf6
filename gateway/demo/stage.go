package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	apiclient "gatewayd/gateway/api/client"
)

// stage is all that the claims are tried with.
type stage struct {
	report   *report
	network  *network
	gateway  *gatewayd
	api      *api
	internet *internet
	client   *client

	unused map[int64]bool // sessions sold for the claim at hand
	sold   map[int64]bool // all sessions sold
	bills  []bill
}

// open sets the stage up. It is to be closed, also after an error.
func (s *stage) open(ctx context.Context) (err error) {
	s.report.verdict("gatewayd demo: real packets through a real gateway, in network namespaces of its own; under a minute")
	sweepNames()
	if s.network, err = newNetwork(); err != nil {
		return err
	}
	if s.gateway, err = newGatewayd(s.network.gateway); err != nil {
		return err
	}
	mac, err := s.network.clientMAC()
	if err != nil {
		return err
	}
	n := s.network
	s.report.line("  namespace %s: the client, %s, %s", n.client.name, clientIP, mac)
	s.report.line("  namespace %s: the gateway, %s towards the client, %s towards the internet", n.gateway.name, lanIP, wanIP)
	s.report.line("  namespace %s: the internet, a router %s and a web server %s", n.internet.name, routerIP, serverIP)
	s.report.line("  look in:  ip netns exec %s ip address", n.client.name)
	s.report.line("  ask it:   gatewayd --socket %s status", s.gateway.socket())
	if s.internet, err = newInternet(n.internet); err != nil {
		return err
	}
	s.client = &client{n.client, net.JoinHostPort(serverIP, strconv.Itoa(webPort))}
	s.sold = map[int64]bool{}
	began := time.Now()
	if err := s.gateway.start(ctx); err != nil {
		return err
	}
	s.api = &api{apiclient.New(s.gateway.socket(), patience)}
	now, err := s.api.status(ctx)
	if err != nil {
		return err
	}
	s.report.line("  ready after %.2f s, as %d processes", time.Since(began).Seconds(), len(now.Processes))
	return nil
}

// close takes everything down, in reverse.
func (s *stage) close() error {
	var err error
	if s.gateway != nil {
		err = s.gateway.close()
	}
	if s.internet != nil {
		s.internet.close()
	}
	if s.network != nil {
		s.network.close()
	}
	return err
}

// try tries one claim and says whether it holds.
func (s *stage) try(ctx context.Context, number int, c claim) bool {
	s.report.line("")
	s.report.verdict("%d/%d  %s: %s", number, len(claims), c.title, c.says)
	s.unused = map[int64]bool{}
	v := &verdict{report: s.report}
	limited, cancel := context.WithTimeout(ctx, c.limit)
	err := c.try(limited, s, v)
	cancel()
	if errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil {
		err = fmt.Errorf("not shown within %v", c.limit)
		if ctx.Err() != nil {
			err = errors.New("no time is left")
		}
	}
	err = errors.Join(err, s.clear(ctx), s.network.clientEnd.sound(), s.network.internetEnd.sound())
	return v.holds(err)
}

// clear ends what a claim left running.
func (s *stage) clear(ctx context.Context) error {
	s.internet.hangUp()
	d, err := s.api.device(ctx)
	if err != nil {
		return err
	}
	if d.Connected {
		if err := s.api.disconnect(ctx); err != nil {
			return err
		}
	}
	for id := range s.unused {
		if err := s.api.delete(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// sell sells the client a plan.
func (s *stage) sell(ctx context.Context, p plan) (int64, error) {
	sold, err := s.api.sell(ctx, p)
	if err != nil {
		return 0, err
	}
	s.unused[sold.ID], s.sold[sold.ID] = true, true
	s.report.note("sold the client " + p.String())
	return sold.ID, nil
}

func (p plan) String() string {
	var amount string
	switch p.Type {
	case "time":
		amount = fmt.Sprintf("%d s", p.TimeSecs)
	case "data":
		amount = fmt.Sprintf("%g MB", p.DataMB)
	default:
		amount = fmt.Sprintf("%d s or %g MB", p.TimeSecs, p.DataMB)
	}
	return fmt.Sprintf("a plan of type %s: %s, %d Mbit down, %d Mbit up", p.Type, amount, p.DownMbits, p.UpMbits)
}

// wait lets time pass, visibly.
func (s *stage) wait(ctx context.Context, what string, d time.Duration) error {
	bar := s.report.progress(what, int64(d))
	defer bar.done()
	for began := time.Now(); ; {
		left := d - time.Since(began)
		if left <= 0 {
			return nil
		}
		if err := sleep(ctx, min(left, 100*time.Millisecond)); err != nil {
			return err
		}
		bar.reach(int64(time.Since(began)))
	}
}

// showLog prints the end of the gateway's log.
func (s *stage) showLog() {
	s.report.line("")
	s.report.line("The end of the gateway's log:\n%s", s.gateway.lastWords())
}
