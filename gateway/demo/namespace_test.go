package demo

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheFirstThreadStaysWhereItIs: what it enters, the whole process seems to be
// in for good.
func TestTheFirstThreadStaysWhereItIs(t *testing.T) {
	errFirst := errors.New("it is the process's first thread")
	var all sync.WaitGroup
	for range 2000 {
		all.Go(func() {
			if err := onThread(func() error {
				if unix.Gettid() == unix.Getpid() {
					return errFirst
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
