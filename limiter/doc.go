// Package limiter holds a client to the rate of its plan.
//
// # Nouns
//
// A [Rate] is bytes per second. A [Bucket] is one client's allowance in one direction: it fills at the rate, holds at
// most the burst, and a packet that may pass takes its bytes out. Bytes are those of layer 3 on the wire.
//
// # Life of a bucket
//
//  1. The first Set makes it, full.
//  2. The worker that owns the client reads the clock once a batch and calls Take for each packet; what Take refuses
//     does not pass, and costs nothing.
//  3. A super-packet that Take refuses, or that is larger than the burst and so could never pass, is cut to what
//     Available says.
//  4. Set changes the rate while running: what is in the bucket stays, up to the new burst, so that changing a rate
//     back and forth gains nothing.
//
// Every decision is golang.org/x/time/rate's. What is added is that the clock never goes back: handed a time older than
// its last one, rate.Limiter would count the same moments twice.
//
// # What it does not do
//
// It has no queue and no timer, and it is not shared: a bucket belongs to one goroutine.
package limiter
