package sessions

import (
	"context"
	"fmt"
	"time"

	"gatewayd/store/client"
)

// ids is a block of ids that the disk knows as used.
type ids struct {
	next, end int64 // next is free; end is the first that is not reserved
	block     int64
	filled    time.Duration // since boot
}

// Kinds of ids.
const (
	deviceIDs = iota
	sessionIDs
	eventIDs // given by the hub, which does not wait
	numIDs
)

const (
	smallBlock = 64
	largeBlock = 1 << 14
	eventBlock = 1 << 20
)

// idsRecord says from which ids on none was given away.
type idsRecord struct {
	Devices  int64 `json:"devices"`
	Sessions int64 `json:"sessions"`
	Events   int64 `json:"events"`
}

func (r idsRecord) most(o idsRecord) idsRecord {
	return idsRecord{max(r.Devices, o.Devices), max(r.Sessions, o.Sessions), max(r.Events, o.Events)}
}

// ends are the first ids that are not reserved.
func (b *books) ends() idsRecord {
	return idsRecord{b.ids[deviceIDs].end, b.ids[sessionIDs].end, b.ids[eventIDs].end}
}

// reserved reads from which ids on none was given away, also not before a backup was
// restored.
func (m *Manager) reserved(ctx context.Context) (idsRecord, error) {
	ids, before := idsRecord{1, 1, 1}, idsRecord{}
	err := m.getJSON(ctx, idsKey, &ids)
	if err == nil {
		err = m.getJSON(ctx, beforeKey, &before)
	}
	return ids.most(before).most(idsRecord{Events: 1}), err
}

// newID takes an id that was never given away; a new block is reserved on
// disk when there is none left.
func (m *Manager) newID(ctx context.Context, kind int) (int64, error) {
	b := &m.books
	if err := b.idsTurn.take(ctx); err != nil {
		return 0, unavailable("reserve ids", err)
	}
	defer b.idsTurn.done()
	if b.ids[kind].next >= b.ids[kind].end {
		if err := m.reserve(ctx, kind); err != nil {
			return 0, err
		}
	}
	b.ids[kind].next++
	return b.ids[kind].next - 1, nil
}

// reserve adds a block to a kind's ids, larger while blocks do not last a
// minute. idsTurn is held.
func (m *Manager) reserve(ctx context.Context, kind int) error {
	b := &m.books
	now := m.opt.Boot()
	i := &b.ids[kind]
	block := int64(smallBlock)
	if i.block > 0 && now-i.filled < time.Minute {
		block = min(2*i.block, largeBlock)
	}
	if kind == eventIDs {
		block = eventBlock
	}
	before := i.end
	i.end = max(i.next, i.end) + block
	if err := m.save(ctx, []client.Record{write(idsKey, b.ends())}); err != nil {
		i.end = before
		return fmt.Errorf("reserve ids: %w", err)
	}
	i.block, i.filled = block, now
	return nil
}

// reserveEvents keeps ids of events reserved ahead, so that none is given again
// after a power cut. Those of this process begin when the first block is on
// disk. idsTurn is held, or the books are being opened.
func (m *Manager) reserveEvents(ctx context.Context) error {
	i := &m.books.ids[eventIDs]
	if newest := int64(m.hub.newest()); newest != 0 {
		i.next = newest + 1
	}
	if i.end-i.next >= eventBlock/2 {
		return nil
	}
	if err := m.reserve(ctx, eventIDs); err != nil {
		return err
	}
	m.hub.start(uint64(i.next))
	return nil
}
