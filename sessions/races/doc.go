// Package races holds what was done at once to devices against a model of one
// device: is there an order, one at a time, in which all that was answered and
// all that passed is right, and was the time that is billed the time in which
// packets could pass?
//
// # Nouns
//
// A call is what one writer asks for, or one packet; an answer is what came of
// it. What time does by itself, the end of a session's time and its expiry, is a
// call, too, that nobody makes.
//
// A history is calls with their answers, each from a moment to a moment of the
// test's own clock. It is linear when each call can be given a moment within its
// bounds so that the model, which is written from the contract and shares no code
// with the gateway, answers the same (Herlihy and Wing, 1990; porcupine looks for
// the order).
//
// The histories are made of the manager with a forwarder of the tests
// (sessions/race_test.go) and of the real program with real packets
// (gateway/races_netns_test.go). Only tests import the package.
package races
