// Package sessions is control's brain: who a client is, what it bought, and
// whether it may pass.
//
// # Nouns
//
// A device is a client by its MAC. It has an id that is never given away
// again, and while it is in the forwarder's table a slot with its address, the
// binding.
//
// Its address is that binding, and while it has none its last one, which is on
// disk and indexed, so that it names the device also after a restart. Another
// device that is bound to the address by its packet has it from then on, and
// once that one is on disk, the disk says so, too.
//
// A session is what a device bought: time, data or both, speeds, and days
// until it expires. A device has any number of them and uses one at a time.
//
// A grant is a session's rest as the forwarder holds it: see
// forwarder/clients. The manager publishes the grant of the session in use
// and, ahead, that of the next one.
//
// The books are the store's records: a record for each device and session,
// written when their state changes, and one packed checkpoint of what all
// running sessions have used.
//
// A ledger is a session's history: a line for whatever began, paused, changed
// or ended its use, with the counters of that moment. Lines go to disk in one
// batch with the session's record.
//
// A turn is a device's lock. Whoever changes its sessions or grants holds it,
// over disk and forwarder. Manager.mu guards memory and control's half of the
// table; nobody waits while holding it.
//
// # The life of a session
//
//  1. Create has it on disk, then in memory. It is available.
//  2. Connect picks the best available session of the device: started before
//     not started, then the earlier expiry, then the oldest. Its start is on
//     disk before its grant is published.
//  3. The forwarder takes the grant in and acknowledges; Connect returns. The
//     next session's grant is published behind it, so that the forwarder goes
//     on by itself at the byte or the second.
//  4. Rounds read what the forwarder did: a grant started or ended, a client
//     came. Memory follows; what changed is written soon after.
//  5. Every few seconds the checkpoint is written.
//  6. Disconnect revokes, waits for the acknowledgement, reads the final
//     counters and has them on disk. The session is available again with its
//     rest. A grant that ended by itself leaves it consumed or expired.
//  7. When the end of a grant is on disk its record in the table is free.
//
// Each of these is a line of the session's ledger. One ledger is open while a
// grant of the session is not settled; what the forwarder began and ended by
// itself, also while control was away, has the forwarder's moments.
//
// # Throttle
//
// A session with a throttle that is used up goes on at it, without a limit of bytes or
// time, while nothing else is available: that is one more grant of the same session,
// published ahead. What takes over from it, also the same session after a top-up, is
// published before it is revoked. It is throttled because it is used up and in use, or
// expires one day; nothing more is written down.
//
// # Pause in place
//
// A paused device counts as connected and has its session, but no grant:
// nothing passes and no time is billed; expiry runs on. That is on disk, with
// an index of the devices so paused, and in the device's slot, which the control
// after one that was killed goes by: the slot says as well that nothing is paused
// any more, which the disk may not know yet. What ends the session while it is paused has
// the device go on to its next one, still paused, as chaining does for a
// running device; the next one starts when the device resumes. Providers are asked
// for it as its expiry comes near, and once more when nothing is known that follows.
//
// Some pauses begin and end by themselves. A client that has sent nothing for
// IdlePause is paused until its next packet; what it was silent until then is
// billed. While the WAN is away (its port has no carrier, or the next router
// was not heard for PauseOnSilence while the forwarder went round to hear it)
// sessions with time are paused; they go on when it is back and the next router
// was heard. One that somebody pauses meanwhile stays paused. Rounds do this,
// and wait neither for the forwarder nor for the disk: the moment is in the
// table, the rest follows.
//
// # Restarts
//
// A manager that finds a table in use takes it over: sessions go on from the
// base in their grants, and the counters are in the table, so nothing is lost
// and nothing counted twice. With a new table the checkpoint is folded into
// the records, and a device that was connected is admitted again with its
// first packet. If its session has ended meanwhile it goes on with its next one,
// for which its providers are asked first, in the background.
//
// A store that had to make a damaged database anew may have gone back in time, as
// after the restore of a backup: what it says is owed to a source may have been
// delivered since. It is taken for delivered if the source holds something else
// than then, in the customer's favour.
//
// # Without the store
//
// What is in memory is served; a list in which some may be missing says so. A change that must be on disk is refused with
// ErrUnavailable; what may be there all the same is overwritten with what
// memory has before anything else is written. Disconnect still cuts; what the
// device used is written when the store is back, and until then it is in the
// table and its grant record is not reused.
//
// # Events
//
// Who follows a device gets its events by a channel, who follows all of them by
// a reader of the history, which holds the newest of each kind. Neither is
// waited for: who is slow loses some and is told how many. Ids of events only
// grow; the newest one's is in the table and a block of them reserved on disk,
// so that none is given twice. How far a slot's grants have been told of is in
// the table, too, so that a restart tells what the forwarder did meanwhile, and
// tells nothing again. What was under way when control ended may be untold;
// readers from before are told of that.
//
// # Time
//
// Wall time is read once at the start and goes on with the time since boot: a
// step of the wall clock expires and revives nothing. One that is behind the
// newest stamp on disk is not believed: time goes on from that stamp, and what
// starts meanwhile says so on disk. Once the clock is set, in this boot or a
// later one, those starts are moved with it.
//
// # Providers
//
// A session that a provider keeps is a shadow here: a session with an id and a
// record of its own, so that grants, checkpoints and restarts are as for any
// other. Who wants one asks the providers first, in order; it waits for them,
// without a lock, for 1.5 s in all. What they answer is the device's offers,
// and best picks from them before the local ones. While one does not answer,
// its last offers stand. What comes after the running session is asked for
// when it begins and when its end is near, in the background.
//
// What was used goes to the source in visits, in the background: when a session
// starts and stops, and every ten minutes between; every 30 s it is read anew,
// so that a top-up there reaches the running grant. A visit reads what the source
// holds, writes a letter {base, delta, intended} into the session's record, and
// saves the sum. The letter stays until it is known to have arrived, over
// restarts. A source that takes sequences is sent it again, and knows. Of another,
// one that holds the base has not got it; else it has, in the customer's favour. A session
// that runs as its provider goes away runs on to its end, also after a restart
// and if the provider is not registered any more; it is not offered again then.
//
// # What it does not do
//
// It does not see packets, open ports, speak HTTP, or know about the disk.
package sessions
