// Command gatewayd turns a Linux box into a hotspot gateway, and asks the one
// that runs: commands and flags only, the work is package gateway's.
//
// run, check and demo work by themselves. Every other command is one or more
// HTTP calls on the daemon's socket (--socket) and prints the answer in human
// units, or unchanged with --json. The order of a command's life:
//
//  1. In a child process gateway.Child never returns, and nothing below happens.
//  2. Flags are read; what does not fit is misuse, with the usage line and the
//     nearest name that exists.
//  3. The daemon is asked, and its refusal printed as it said it.
//  4. The exit code tells a script: 0 done, 1 refused, 2 misuse, 3 the daemon
//     cannot be reached.
package main
