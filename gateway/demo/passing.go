package demo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// blocked tries to get out without a session.
func blocked(ctx context.Context, s *stage, v *verdict) error {
	near, far := s.network.clientEnd.begin(), s.network.internetEnd.begin()
	if err := s.wait(ctx, "nobody is connected yet; time to look in", time.Second); err != nil {
		return err
	}
	s.report.note("the client tries to reach the internet by TCP, UDP and ping")
	got, err := s.client.knock(ctx, 2500*time.Millisecond)
	if err != nil {
		return err
	}
	tried, leaked := s.network.clientEnd.end(near), s.network.internetEnd.end(far)
	sent := [...]uint64{tried.out[tcp].packets, tried.out[udp].packets, tried.out[icmp].packets}
	v.saw(min(sent[0], sent[1], sent[2]) > 0, "the client sent %d TCP, %d UDP and %d ICMP packets", sent[0], sent[1], sent[2])
	v.saw(leaked.arrived().packets == 0, "at the internet's end arrived %d packets, want 0", leaked.arrived().packets)
	v.saw(tried.arrived().packets == 0 && got == answered{}, "back at the client came %d packets, want 0", tried.arrived().packets)
	return nil
}

// webPage connects the client and fetches a page.
func webPage(ctx context.Context, s *stage, v *verdict) error {
	id, err := s.sell(ctx, plan{Type: "time_or_data", TimeSecs: 600, DataMB: 50, DownMbits: 50, UpMbits: 50})
	if err != nil {
		return err
	}
	m := s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	body, err := s.client.get(ctx, "/page")
	if err != nil {
		return fmt.Errorf("fetch the page: %w", err)
	}
	page, err := io.ReadAll(body)
	body.Close()
	if err != nil {
		return fmt.Errorf("fetch the page: %w", err)
	}
	got, want := sha256.Sum256(page), sha256.Sum256(s.internet.page)
	v.saw(got == want, "the client got %s bytes with the checksum %x, the server had %s with %x",
		thousands(uint64(len(page))), got[:4], thousands(uint64(len(s.internet.page))), want[:4])
	visitors := s.internet.visited()
	v.saw(len(visitors) == 1 && visitors[0] == netip.MustParseAddr(wanIP), "the server was asked by %v, want [%s]", visitors, wanIP)
	reached, err := s.client.knock(ctx, 2*time.Second)
	if err != nil {
		return err
	}
	v.saw(reached == answered{true, true, true}, "answered are TCP %v, UDP %v, ping %v, want all", reached.tcp, reached.udp, reached.icmp)
	if err := m.quiet(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	up, _ := m.read()
	delete(up.from, netip.MustParseAddr(wanIP))
	v.saw(len(up.from) == 0 && up.arrived().packets > 0,
		"at the internet's end arrived %d packets, %d of their addresses other than %s, want 0", up.arrived().packets, len(up.from), wanIP)
	if err := s.api.disconnect(ctx); err != nil {
		return err
	}
	_, err = s.account(ctx, "a web page", m, id)
	return err
}
