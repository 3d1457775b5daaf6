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
// The config is read again when somebody asks (reload.go): the keeper reads and checks
// it, and tells each process what it can change. What cannot change stays as it is.
//
// A child whose keeper is gone ends by itself in the same order. Signals are the
// keeper's to act on; a service manager is told of all of this (report.go).
//
// # Privileges
//
// Only the keeper has any. A child is started by a thread that first gives up
// what an exec could pass on (privilege.go), as the user gatewayd or, where
// nobody made it, as user and group 65530 (identity.go). The descriptors it is
// handed go on working; what could not be opened without privileges, the keeper
// opened. Then:
//
//  1. The child sees that it has no capability and cannot gain one, or ends.
//  2. It opens what is its own to open, and shuts the door: a list of system calls
//     (filter_calls.go) for all threads. Forward and control can open no file and
//     no socket; the store no socket, and by Landlock, where the kernel has it, no
//     file but its own (landlock.go).
//  3. It says that it serves, and what could not be shut; the status says it on.
//
// The store's directory is made and given to its user by the keeper (storage.go),
// in whatever place, and reached through its descriptor.
//
// # Embedding
//
// A program that calls New and Run is keeper and control in one process; the
// forwarder and the store are its own binary run again, which is why Child
// must be the first line of its main. New has the store running and the API
// usable; Run adds ports and forwarder; Close, which may be deferred right after
// New, gives back whatever of this there is; Reload changes the config of one that
// runs. Signals and the service manager's
// socket are the program's own: under systemd it is a service of Type=exec,
// without WatchdogSec=, or says READY=1 and WATCHDOG=1 itself.
package gateway
