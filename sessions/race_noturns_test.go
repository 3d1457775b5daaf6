//go:build noturns

package sessions

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// TestWithoutTurnsHistoriesAreRefused is of a manager built without the lock of a
// device (turn_all.go): if porcupine found nothing wrong with it, TestRacesAreLinear
// would say nothing about the one that has it.
func TestWithoutTurnsHistoriesAreRefused(t *testing.T) {
	const most = 30 // one is refused as a rule at once
	for _, seed := range seeds(t, 10*most) {
		refused := false
		w := newWorld(t).boots().runs()
		k := newTrack(w, seed)
		history := k.race()
		if verdict, why := k.judge(); verdict == porcupine.Illegal {
			refused = true
			t.Logf("seed %d: of %d calls these are in no order:%s", seed, len(history), why)
		}
		w.end()
		if refused {
			return
		}
	}
	t.Errorf("%d histories of a manager without turns are all linear: the check would not notice", most)
}
