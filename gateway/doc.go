// Package gateway is the assembly: it wires the rooms by hand, supervises the
// processes, starts every goroutine and stops them in reverse.
//
// # Nouns
//
// The keeper is the one privileged process: it parses the config, opens the
// ports, makes the shared memory, and starts the others again when they end.
// Control decides: sessions, API. The forwarder forwards. The store is Badger.
// Each child is this same binary run again with its word as first argument and
// one socket to the keeper as descriptor 3; messages.go lists all that is said
// on it.
//
// # Life of a gateway
//
//  1. The ports are looked at; a conflict ends the start with the command that
//     mends it, before anything is changed.
//  2. The client table, the bells and the API's socket are made.
//  3. Store and control start; the API answers.
//  4. The ports are opened, the host link made, the forwarder started: ready.
//  5. A child that dies is started again, at once the first time, then with a
//     growing pause. The table outlives them all.
//  6. At the end the forwarder stops first, so that all counters are final;
//     control writes a last checkpoint; the store closes.
//
// A child whose keeper is gone ends by itself in the same order.
//
// # Embedding
//
// A program that calls New and Run is keeper and control in one process; the
// forwarder and the store are its own binary run again, which is why Child
// must be the first line of its main.
package gateway
