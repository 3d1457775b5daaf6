//go:build !noturns

package sessions

// holders is how many may hold a device's turn at once.
const holders = 1
