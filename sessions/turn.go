package sessions

import "context"

// turn is a lock that can be waited for with a context: it is held by who has
// put something in.
type turn chan struct{}

// newTurn makes the turn of a device.
func newTurn() turn { return make(turn, holders) }

// newLock makes one that is not a device's.
func newLock() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) done() { <-t }
