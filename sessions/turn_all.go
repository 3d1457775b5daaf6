//go:build noturns

package sessions

// holders without the lock: everybody holds a device's turn at once. No program is
// built so; the tests build it to see that they would notice (race_test.go).
const holders = 1 << 30
