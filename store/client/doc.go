// Package client speaks to the store process: the narrow protocol and its
// caller's side. It holds no database and imports none.
//
// Nouns. A record is a key and a value, or a key to delete. A batch is records
// that are all written or none. A request carries an operation and an id; its
// answer carries the same id. A line is one connection to one store process; a
// Client outlives its lines.
//
// The life of a call:
//
//  1. The caller's context gets a deadline, DefaultTimeout from now if it had none.
//  2. The request is checked against the size limits and encoded.
//  3. It takes an id on the line and waits its turn to be written. A call that
//     ends before its turn is never sent.
//  4. The store answers, in any order. An answer whose call has ended is dropped.
//  5. When the line ends first (the store died, sent nonsense, or Attach put
//     another line in its place), the call returns ErrAway.
//
// A Batch that returned nil is on the disk. A Batch that returned ErrFull or
// ErrTooLarge was not done. Any other error of a Batch leaves it in doubt: it may
// be on the disk, now or soon. Records are therefore absolute and a caller in
// doubt writes them, or what replaces them, again. Batches take effect in the
// order in which they were sent, over all lines of one Client.
//
// # Frames
//
// Numbers are big-endian. A frame is the number of bytes that follow (4 bytes, at
// most MaxFrame), an id (8), an operation (1), and, in an answer, a status (1);
// then
//
//	request   Get       the key
//	          Scan      limit (4), length of the prefix (4), prefix, after
//	          Batch     number of records (4), records
//	          Backup    from its beginning (1)
//	          Restore   step (1), a part of the backup or, at the end, number of records (4), records
//	          Health    nothing
//	answer    Get       found (1), the value
//	          Scan      more (1), number of records (4), records
//	          Backup    more (1), the next part
//	          Health    ok (1), free bytes (8), length of why (4), why not, notice
//	          others    nothing; any with a status other than done: the reason, as text
//	record              delete (1), length of key (2), length of value (4), key, value
//
// What it does not do: it does not retry, queue for a store that is away, or
// cache; and it does not find or start the store process.
package client
