// Package limiter holds clients to the rates of their plans, and shares what all of them may have together.
//
// # Nouns
//
// A [Rate] is bytes per second. A [Bucket] is a client's allowance in one direction: it fills at the rate, holds at most
// the burst, and a packet that may pass takes its bytes out. Bytes are those of layer 3 on the wire. A side is one
// direction of one client's traffic: a bucket in front of flow queues. A [Shaper] has all sides of a worker. A frame is
// one wire packet, or a super-packet of several; it leaves whole or in pieces.
//
// # Life of a frame
//
//  1. [Shaper.Pass]: nothing waits at its side and it conforms to its bucket, and to the total if there is one: it
//     passes, uncopied. Nothing else is asked of a client that keeps below its rate.
//  2. Else [Shaper.Add] gives it memory in the queue of its flow. What finds no room has [Shaper.Victim] go first, from
//     the head of the longest queue. Conversations for which there is no flow share their side's last resort. A side
//     holds 400 ms of its rate at most, 64 KiB at least; all together what New was told.
//  3. [Shaper.Next] says what leaves, and charges it. Flows of a side take turns (deficit round robin); one that has not
//     had its turn of late is fresh, and goes first (RFC 8290); one of small packets has two turns. A super-packet leaves
//     in pieces of what the rate serves in a millisecond, at least one wire packet; above 500 Mbit/s it leaves whole.
//  4. Of a flow whose packets have waited too long for too long (CoDel, RFC 8289), one goes now and then: it is marked if
//     its sender understands that (RFC 3168), else dropped. At slow rates too long is four packets' time, and two of each
//     flow, as sch_cake has it; of clients that share a total it is 40 ms, what its bucket saves up twice.
//  5. What does not conform yet waits in a timing wheel, and [Shaper.Due] is when to come again. Where nothing waits, no
//     timer runs.
//
// With a total, sides take turns in the same way, by weight: a client of many flows has no more of it than one of one,
// and what somebody leaves the others get. Traffic that is not held back at all is charged to the total by [Shaper.Spend].
//
// A new rate holds from the next packet on, also for what waits; [Bucket.Set] keeps what is in the bucket, up to the new
// burst, so that changing a rate back and forth gains nothing.
//
// Every decision on a rate is golang.org/x/time/rate's. What is added is that the clock never goes back: handed a time older
// than its last one, rate.Limiter would count the same moments twice.
//
// # What it does not do
//
// It reads no clock, knows no header and sends nothing; its tables lie outside the heap and point nowhere. Nothing is
// shared: a Shaper belongs to one goroutine.
package limiter
