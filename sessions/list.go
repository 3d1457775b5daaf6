package sessions

import (
	"context"
	"encoding/hex"
	"fmt"
)

// Bounds of a page.
const (
	defaultPage = 100
	maxPage     = 1000
	maxScans    = 20 // of the store for one page
)

func pageSize(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

// reading prepares a call that changes nothing: it does not wait long for
// the store.
func (m *Manager) reading(ctx context.Context) (context.Context, context.CancelFunc, error) {
	return m.enter(ctx, readTime)
}

// readCursor decodes a cursor of n bytes; nil when it is empty.
func readCursor(cursor string, n int) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(cursor)
	if err != nil || len(b) != n {
		return nil, fmt.Errorf("%w: %q: want the next of the page before", ErrBadCursor, cursor)
	}
	return b, nil
}
