package sessions

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"gatewayd/store/client"
)

// Keys. Numbers in them are big-endian, so that they sort.
//
//	d/<device 8>            device record
//	m/<MAC 6>               id of the device with that MAC, 8 bytes
//	a/<IPv4 4>              id of the device that had the address last, 8 bytes, if its record says so too
//	s/<device 8><session 8> session record
//	i/<session 8>           id of the session's device, 8 bytes
//	l/<session 8><line 4>   line of a session's ledger: see ledger_line.go
//	o/<session 8>           device, 8 bytes, and provider of a session whose source is to hear of it
//	p/<device 8><session 8> the session is paused in place
//	c/<generation><part>    packed checkpoint
//	ids                     ids reserved
//	ids/before              ids reserved before the newest restore
//	restore                 which restore of a backup, or damage of the store, was the newest: a number that no other one has, 8 bytes
//	clock                   the newest stamp
//	t/<since 8>             by how much a clock that was not trusted since then, ns, was behind, ns, 8 bytes
const (
	deviceKeys     = "d/"
	sessionKeys    = "s/"
	openKeys       = "o/"
	pausedKeys     = "p/"
	checkpointKeys = "c/"
	moveKeys       = "t/"
	macKeys        = "m/"
)

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func numberOf(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("number of %d bytes: want 8", len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func deviceKey(id int64) []byte { return append([]byte(deviceKeys), number(id)...) }
func macKey(mac uint64) []byte  { return append([]byte(macKeys), number(int64(mac))[2:]...) }
func addressKey(ip uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte("a/"), ip)
}
func sessionKey(device, id int64) []byte {
	return append(append([]byte(sessionKeys), number(device)...), number(id)...)
}
func pausedKey(device, id int64) []byte {
	return append(append([]byte(pausedKeys), number(device)...), number(id)...)
}
func moveKey(since time.Time) []byte {
	return append([]byte(moveKeys), number(since.UnixNano())...)
}
func openKey(id int64) []byte  { return append([]byte(openKeys), number(id)...) }
func indexKey(id int64) []byte { return append([]byte("i/"), number(id)...) }

var (
	idsKey     = []byte("ids")
	beforeKey  = []byte("ids/before")
	restoreKey = []byte("restore")
	clockKey   = []byte("clock")
)

// deviceRecord is a device on disk.
type deviceRecord struct {
	ID        int64     `json:"id"`
	MAC       string    `json:"mac"`
	IP        string    `json:"ip,omitempty"`
	Hostname  string    `json:"hostname,omitempty"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

// sessionRecord is a session on disk. Consumption is what grants counted;
// edits of it stand beside. It is packed as packed.go says.
type sessionRecord struct {
	Type      Type          `json:"type"`
	Time      time.Duration `json:"time,omitempty"` // ns, sold
	Data      int64         `json:"data,omitempty"` // bytes, sold
	ExpDays   *uint         `json:"exp_days,omitempty"`
	Down      int           `json:"down,omitempty"` // Mbit
	Up        int           `json:"up,omitempty"`
	Global    bool          `json:"global,omitempty"`
	Created   time.Time     `json:"created"`
	Started   time.Time     `json:"started,omitzero"`
	Unsure    time.Time     `json:"unsure,omitzero"`   // Started is by a clock that was not trusted since then
	UsedUp    uint64        `json:"used_up,omitempty"` // bytes
	UsedDown  uint64        `json:"used_down,omitempty"`
	UsedTime  time.Duration `json:"used_time,omitempty"` // ns
	TimeEdit  time.Duration `json:"time_edit,omitempty"`
	DataEdit  int64         `json:"data_edit,omitempty"`
	Running   bool          `json:"running,omitempty"`
	Paused    pauseReason   `json:"paused,omitempty"`
	Spent     bool          `json:"spent,omitempty"`
	Sequenced uint64        `json:"checkpoint,omitempty"` // sequence of the newest checkpoint when it was written
	Lines     uint32        `json:"lines,omitempty"`      // of its ledger, beside consumption since
	Open      bool          `json:"open,omitempty"`       // the ledger's last stretch is not closed
	Closed    int64         `json:"closed,omitempty"`     // ns since 1970; grants that started until then have their end in it
	Origin    *origin       `json:"origin,omitempty"`     // of a provider's session
	Weight    int           `json:"weight,omitempty"`     // 0: 1
	SlowDown  int64         `json:"slow_down,omitempty"`  // bits a second once it is used up; 0: it is cut off
	SlowUp    int64         `json:"slow_up,omitempty"`
	Slowed    int64         `json:"slowed,omitempty"` // ns since 1970; grants at its throttle that started until then have their line
}

func write(key []byte, v any) client.Record {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sessions: encode %q: %v", key, err)) // records hold nothing that JSON cannot
	}
	return client.Record{Key: key, Value: b}
}

func writeSession(key []byte, v sessionRecord) client.Record {
	if b := packSession(v); b != nil {
		return client.Record{Key: key, Value: b}
	}
	return write(key, v)
}

func remove(key []byte) client.Record { return client.Record{Key: key, Delete: true} }

// records returns a session's record, behind the lines of its ledger that
// wait, and its index entry when that may be missing. u is what was used.
func (s *session) records(u use, checkpoint uint64) []client.Record {
	rs := append(s.ledger.records(s.id), writeSession(sessionKey(s.device, s.id), sessionRecord{
		Type: s.kind, Time: s.timeLimit, Data: s.dataLimit, ExpDays: s.expDays,
		Down: s.downMbits, Up: s.upMbits, Global: s.global, Created: s.createdAt, Started: s.startedAt, Unsure: s.unsure,
		UsedUp: u.up, UsedDown: u.down, UsedTime: u.time, TimeEdit: s.timeEdit, DataEdit: s.dataEdit,
		Running: s.running, Paused: s.paused, Spent: s.spent, Sequenced: checkpoint,
		Lines: s.ledger.next, Open: s.ledger.open, Closed: s.ledger.closed, Origin: s.origin,
		Weight: s.weight, SlowDown: s.throttle.down, SlowUp: s.throttle.up, Slowed: s.ledger.slowed,
	}))
	if s.paused != 0 {
		rs = append(rs, client.Record{Key: pausedKey(s.device, s.id), Value: []byte{}})
	} else if s.marked {
		rs = append(rs, remove(pausedKey(s.device, s.id)))
	}
	if s.unindexed {
		rs = append(rs, client.Record{Key: indexKey(s.id), Value: number(s.device)})
	}
	if s.origin != nil && s.open(u) {
		rs = append(rs, client.Record{Key: openKey(s.id), Value: append(number(s.device), s.origin.Provider...)})
	} else if s.origin != nil {
		rs = append(rs, remove(openKey(s.id)))
	}
	return rs
}

// readSession decodes a session record.
func readSession(r client.Record) (*session, error) {
	const at = len(sessionKeys)
	if len(r.Key) != at+16 {
		return nil, fmt.Errorf("session key %q: %d bytes", r.Key, len(r.Key))
	}
	device, _ := numberOf(r.Key[at : at+8])
	id, _ := numberOf(r.Key[at+8:])
	v, err := unpackSession(r.Value)
	if err != nil {
		return nil, fmt.Errorf("session %d of device %d: %w", id, device, err)
	}
	s := &session{
		id: id, device: device, kind: v.Type, timeLimit: v.Time, dataLimit: v.Data, expDays: v.ExpDays,
		downMbits: v.Down, upMbits: v.Up, global: v.Global, createdAt: v.Created, startedAt: v.Started, unsure: v.Unsure,
		settled: use{v.UsedUp, v.UsedDown, v.UsedTime}, timeEdit: v.TimeEdit, dataEdit: v.DataEdit,
		running: v.Running, paused: v.Paused, marked: v.Paused != 0, spent: v.Spent, origin: v.Origin,
		weight: v.Weight, throttle: throttle{v.SlowDown, v.SlowUp},
		ledger: ledger{next: v.Lines, open: v.Open, closed: v.Closed, slowed: v.Slowed},
	}
	if s.origin != nil {
		s.origin.said = consumptionOf(s)
	}
	return s, nil
}

// deviceRecords returns a device's record and its entries in the indexes by MAC
// and by address. An address is left out until it is known that no other
// device has it on disk: see inherit. m.mu is held.
func (m *Manager) deviceRecords(d *device) []client.Record {
	ip := cmp.Or(d.ip, d.lastIP)
	if ip != d.ownIP {
		ip = 0
	}
	rs := []client.Record{
		write(deviceKey(d.id), deviceRecord{d.id, macText(d.mac), ipText(ip), d.hostname, d.firstSeen, d.lastSeen}),
		{Key: macKey(d.mac), Value: number(d.id)},
	}
	if ip != 0 {
		rs = append(rs, client.Record{Key: addressKey(ip), Value: number(d.id)})
	}
	return rs
}

// address is the one of a device's record; 0: none.
func (v *deviceRecord) address() uint32 {
	a, err := netip.ParseAddr(v.IP)
	if err != nil || !a.Is4() {
		return 0
	}
	return packIP(a)
}

func readDevice(value []byte) (v deviceRecord, mac uint64, err error) {
	if err = json.Unmarshal(value, &v); err == nil {
		mac, err = parseMAC(v.MAC)
	}
	if err != nil {
		return v, 0, fmt.Errorf("device record: %w", err)
	}
	return v, mac, nil
}
