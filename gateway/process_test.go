package gateway

import (
	"context"
	"testing"
)

func TestNoChildIsStartedAfterTheEnd(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	for range 100 { // what is left to chance would be seen
		p := &process{word: wordForward}
		if p.rest(ended) {
			t.Fatal("a child may be started although all has ended")
		}
	}
}
