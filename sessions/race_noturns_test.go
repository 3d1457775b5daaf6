//go:build noturns

package sessions

import (
	"testing"

	"gatewayd/sessions/races"
)

// TestWithoutTurnsHistoriesAreRefused is of a manager built without the lock of a
// device (turn_all.go): if porcupine found nothing wrong with it, TestRacesAreLinear
// would say nothing about the one that has it.
func TestWithoutTurnsHistoriesAreRefused(t *testing.T) {
	const most = 30 // one is refused as a rule at once
	for _, seed := range seeds(t, 10*most) {
		w := onDisk(t).boots().runs()
		r := newRace(w, seed)
		r.runs()
		verdict, why := r.Judge(patience)
		w.end()
		if verdict == races.Refused {
			t.Logf("seed %d: in no order: %s", seed, why)
			return
		}
	}
	t.Errorf("%d histories of a manager without turns are all linear: the check would not notice", most)
}
