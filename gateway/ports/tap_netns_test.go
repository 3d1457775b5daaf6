//go:build netns

package ports

import (
	"os/exec"
	"testing"
)

// A child that is started meanwhile must not hold the device's first
// descriptor, which is not close-on-exec.
func TestATapOpensWhileChildrenStart(t *testing.T) {
	newLab(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = exec.Command("true").Run() // what it does is nothing
			}
		}
	}()
	for range 50 {
		tap, err := OpenTap("gw-test", false)
		if err != nil {
			t.Error(err)
			break
		}
		must(t, tap.Close())
	}
	close(stop)
	<-stopped
}
