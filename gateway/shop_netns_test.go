//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// shop sells to one device, changes what it sold, takes some back, and keeps what
// was acknowledged. It stops at the first answer that acknowledges nothing.
type shop struct {
	mac    string
	random *rand.Rand

	sold   map[int64]uint // seconds, by session
	added  []device       // the newest devices
	doubt  *change        // what was answered by an error: it may be done or not
	acked  int
	failed error
}

// change is one of a session.
type change struct {
	verb string // sell, edit or delete
	id   int64
	secs uint
}

// soldSession is a session as far as a shop knows it.
type soldSession struct {
	ID       int64 `json:"id"`
	TimeSecs uint  `json:"time_secs"`
}

const (
	shelf   = 200 // as many sessions a shop keeps
	noticed = 50  // as many of the newest devices
)

// long is as long as a host name may be, so that a snapshot is soon due.
var long = strings.Repeat("h", 255)

func newShop(d *daemon, i int, random *rand.Rand) *shop {
	d.t.Helper()
	s := &shop{mac: fmt.Sprintf("02:00:00:00:01:%02x", i), sold: map[int64]uint{},
		random: rand.New(rand.NewPCG(random.Uint64(), uint64(i)))}
	d.must("POST", "/devices", `{"mac":"`+s.mac+`"}`, nil)
	return s
}

// next draws what is done next.
func (s *shop) next() change {
	secs := uint(1000 + s.random.IntN(9000))
	ids := make([]int64, 0, len(s.sold))
	for id := range s.sold {
		if ids = append(ids, id); len(ids) == 8 {
			break
		}
	}
	n := s.random.IntN(10)
	switch {
	case len(ids) < 8 || n < 6 && len(s.sold) < shelf:
		return change{"sell", 0, secs}
	case n < 8:
		return change{"edit", ids[0], secs}
	}
	return change{"delete", ids[0], 0}
}

// does one change.
func (s *shop) does(d *daemon) error {
	c := s.next()
	var v soldSession
	var err error
	switch c.verb {
	case "sell":
		_, err = d.ask("POST", "/devices/"+s.mac+"/sessions", fmt.Sprintf(seconds, c.secs), &v)
	case "edit":
		_, err = d.ask("PATCH", fmt.Sprintf("/sessions/%d", c.id), fmt.Sprintf(`{"time_secs":%d}`, c.secs), &v)
	case "delete":
		_, err = d.ask("DELETE", fmt.Sprintf("/sessions/%d", c.id), "", nil)
	}
	if err != nil {
		if !unheard(err) {
			s.doubt = &c
		}
		return err
	}
	switch s.acked++; c.verb {
	case "sell", "edit":
		s.sold[v.ID] = c.secs
	case "delete":
		delete(s.sold, c.id)
	}
	if s.acked%2 == 0 {
		return s.adds(d)
	}
	return nil
}

// unheard says that a call was answered by nobody, because nobody was there to hear it.
func unheard(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

// adds adds a device.
func (s *shop) adds(d *daemon) error {
	var v device
	mac := fmt.Sprintf("02:01:%s:%02x:%02x:%02x", s.mac[15:], byte(s.acked>>16), byte(s.acked>>8), byte(s.acked))
	if _, err := d.ask("POST", "/devices", `{"mac":"`+mac+`","hostname":"`+long+`"}`, &v); err != nil {
		return err
	}
	s.added = append(s.added[max(0, len(s.added)-noticed):], v)
	return nil
}

// sell has the shops work until the result is called.
func (o *outage) sell() (stop func()) {
	var working sync.WaitGroup
	done := make(chan struct{})
	d := o.d
	for _, s := range o.shops {
		working.Go(func() {
			for s.failed = nil; s.failed == nil; {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					s.failed = s.does(d)
				}
			}
		})
	}
	return func() { close(done); working.Wait() }
}

// has looks for all that was acknowledged, and for what nobody bought.
func (s *shop) has(d *daemon) {
	t := d.t
	t.Helper()
	there := map[int64]uint{}
	for _, v := range list[soldSession](d, "/devices/"+s.mac+"/sessions") {
		there[v.ID] = v.TimeSecs
	}
	in := change{}
	if s.doubt != nil {
		in = *s.doubt
	}
	for id, secs := range s.sold {
		now, ok := there[id]
		switch {
		case !ok && !(in.verb == "delete" && in.id == id):
			t.Errorf("session %d was acknowledged and is not there", id)
		case ok && now != secs && !(in.verb == "edit" && in.id == id && now == in.secs):
			t.Errorf("session %d was acknowledged with %d s and has %d", id, secs, now)
		}
	}
	more := 0
	for id, secs := range there {
		if _, ok := s.sold[id]; ok {
			continue
		}
		if more++; more > 1 || in.verb != "sell" || secs != in.secs {
			t.Errorf("session %d of %d s is there; it was deleted or never sold", id, secs)
		}
	}
	for _, v := range s.added {
		if now := d.device(v.MAC); now != v {
			t.Errorf("device %+v was acknowledged, and is %+v", v, now)
		}
	}
	s.sold, s.doubt = there, nil
	s.added = nil
}

// list returns all items of a list of the API.
func list[T any](d *daemon, path string) (all []T) {
	d.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		d.must(http.MethodGet, path+"?limit=1000&cursor="+cursor, "", &page)
		if all = append(all, page.Items...); page.Next == "" {
			return all
		}
		cursor = page.Next
	}
}
