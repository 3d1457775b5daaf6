//go:build netns

package gateway_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"testing"
	"time"
)

// The power goes while gatewayd makes its store, or with the answer to the first sale.
func TestAPowerCutAtTheFirstStart(t *testing.T) {
	t.Parallel()
	const ways = 3
	rounds, random := tries(t, 10*ways)
	l := newLab(t)
	m := l.newMains("ext4")
	for n := range rounds {
		m.remove()
		m.system = [...]string{"ext4", "xfs"}[n/ways%2]
		m.format()
		m.insert()
		var sold []session
		switch n % ways {
		case 0:
			d := l.start()
			sold = append(sold, d.sell(anHour))
			m.cut(d)
		case 1:
			check(t, os.Mkdir(m.card("store"), 0o700))
			w := m.watch()
			d := l.launch()
			w.until("", 1+random.IntN(12), time.Second)
			m.cut(d)
			t.Logf("cut after %v", w.heard)
			w.close()
		case 2:
			d := l.launch()
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
			m.cut(d)
		}
		d := l.start()
		d.sound()
		for _, v := range sold {
			if now := d.session(v.ID); now.RemainingTime != v.RemainingTime {
				t.Errorf("%+v was sold, and is %+v", v, now)
			}
		}
		d.admit(anHour)
		s := l.stream(time.Millisecond, 100)
		s.flows()
		s.end()
		d.stop()
	}
}

// The power goes while a backup is restored: what is there afterwards is all of one or
// all of the other, and no id is given twice.
func TestAPowerCutDuringARestore(t *testing.T) {
	t.Parallel()
	moments := []struct {
		name string // of the file that changes
		n    int    // how often
	}{{"rebuilding", 3}, {"restore.partial", 1}, {"rebuilding", 1}, {"snapshot.partial", 1}, {"snapshot-", 1}, {"", 0}, {"", 0}, {"", 0}}
	rounds, random := tries(t, 20)
	l := newLab(t)
	m := l.newMains([...]string{"ext4", "xfs"}[random.IntN(2)])
	d := l.start()
	d.admit(anHour)
	shop := newShop(d, 0, random)
	sell := func(n int) {
		for range n {
			check(t, shop.does(d))
		}
	}
	sell(20)
	for n := range rounds {
		l.gateway.run(gatewaydPath(t), "backup", l.dir+"/saved", "--socket", l.dir+"/gatewayd.sock")
		saved := maps.Clone(shop.sold)
		sell(150) // more than the ids that are reserved at once
		last := d.sell(anHour)
		w := m.watch()
		restored := make(chan error, 1)
		go func() {
			_, err := l.gateway.try(gatewaydPath(t), "restore", l.dir+"/saved", "--socket", l.dir+"/gatewayd.sock")
			restored <- err
		}()
		at := moments[n%len(moments)]
		if at.n == 0 {
			at.n = 1 + random.IntN(30)
		}
		w.until(at.name, at.n, 2*time.Second)
		m.cut(d)
		w.close()
		err := <-restored

		d = l.start()
		d.sound()
		there := map[int64]uint{}
		for _, v := range list[soldSession](d, "/devices/"+shop.mac+"/sessions") {
			there[v.ID] = v.TimeSecs
		}
		code, _ := d.ask("GET", fmt.Sprintf("/sessions/%d", last.ID), "", nil)
		before := code == http.StatusOK
		t.Logf("cut after %v: restore says %v; what was before it is there: %v", w.heard, err, before)
		want := saved
		if before {
			want = shop.sold
		}
		if before && err == nil || !maps.Equal(there, want) {
			t.Errorf("restore says %v, and %v is there, want %v", err, there, want)
		}
		if next := d.sell(anHour); next.ID <= last.ID {
			t.Errorf("id %d was given away before the restore, up to %d", next.ID, last.ID)
		}
		s := l.stream(time.Millisecond, 100)
		s.flows()
		s.end()
		shop.sold = there
	}
}
